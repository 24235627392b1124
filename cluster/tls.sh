#!/usr/bin/env bash
# Certificates for TLS between Ray's nodes: an authority of the cluster's own, and one certificate a node.
#   tls.sh ca DIR            makes DIR/ca.crt and DIR/ca.key; DIR/ca.pem holds both, for the parameter store
#   tls.sh node DIR [IP...]  makes DIR/node.crt and DIR/node.key, signed by that authority, for these addresses and the loopback one
#   tls.sh unpack DIR        takes ca.crt and ca.key out of DIR/ca.pem
# A node needs ca.crt, node.crt and node.key. Who has ca.key can join the cluster as a node, as far as TLS goes.
set -euo pipefail
umask 077

fail() {
  echo "tls.sh: $1" >&2
  exit 2
}

command=${1:-}
dir=${2:-}
[[ -n $dir ]] || fail 'say `tls.sh ca DIR`, `tls.sh node DIR [IP...]` or `tls.sh unpack DIR`'
mkdir -p "$dir"
days=${EQR_TLS_DAYS:-90}

case "$command" in
  ca)
    [[ ! -e $dir/ca.key ]] || fail "$dir/ca.key is there already; remove it to make another authority, and start every node again"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$days" -subj '/CN=eqr-ray authority' \
      -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign \
      -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
    cat "$dir/ca.crt" "$dir/ca.key" > "$dir/ca.pem"
    ;;
  node)
    [[ -s $dir/ca.crt && -s $dir/ca.key ]] || fail "$dir has no ca.crt and ca.key; make them with \`tls.sh ca $dir\`"
    names=DNS:localhost,IP:127.0.0.1
    for ip in "${@:3}"; do
      [[ $ip =~ ^[0-9a-fA-F.:]+$ ]] || fail "an address must be an IP, got '$ip'"
      names+=,IP:$ip
    done
    request=$(mktemp)
    trap 'rm -f "$request"' EXIT
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=eqr-ray node' \
      -keyout "$dir/node.key" -out "$request" 2>/dev/null
    openssl x509 -req -in "$request" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days "$days" -out "$dir/node.crt" \
      -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names") 2>/dev/null
    ;;
  unpack)
    [[ -s $dir/ca.pem ]] || fail "$dir/ca.pem is missing"
    openssl x509 -in "$dir/ca.pem" -out "$dir/ca.crt"
    openssl pkey -in "$dir/ca.pem" -out "$dir/ca.key"
    ;;
  *) fail "the command must be ca, node or unpack, got '$command'" ;;
esac
