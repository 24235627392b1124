#!/usr/bin/env bash
# Starts one Ray node with token authentication. cluster/local.py, the file for `ray up` and a person by hand all start nodes with it.
#   start-node.sh head [options of `ray start`]
#   start-node.sh worker HEAD_IP:PORT [options of `ray start`]
# The dashboard, which is also the job server, listens on the loopback interface; reach it through SSH or `ray dashboard`.
#
# RAY_AUTH_TOKEN_PATH  file with the token; ~/.ray/auth_token if not set
# EQR_TOKEN_PARAMETER  take the token from this parameter of AWS's parameter store first
# EQR_TLS_DIR          TLS between nodes, with ca.crt, node.crt and node.key of this folder (cluster/tls.sh makes them)
# EQR_TLS_PARAMETER    TLS between nodes; certificate and key of the authority come from this parameter, the node signs its own
# EQR_NODE_IP          address that other nodes reach this one at; found out if not set
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  echo "start-node.sh: $1" >&2
  exit 2
}

usage='say `start-node.sh head` or `start-node.sh worker HEAD_IP:PORT`'
role=${1:-}
shift || fail "$usage"
case "$role" in
  head) place=(--head --dashboard-host=127.0.0.1) ;;
  worker)
    [[ ${1:-} =~ ^[A-Za-z0-9.:_-]+:[0-9]+$ ]] || fail "the head's address must be HOST:PORT, got '${1:-}'; $usage"
    place=("--address=$1")
    shift
    ;;
  *) fail "the role must be head or worker, got '$role'; $usage" ;;
esac

# The default of the token's place, in one line for Ray and for us.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
if [[ -n ${EQR_TOKEN_PARAMETER:-} ]]; then
  python "$here/fetch_parameter.py" "$EQR_TOKEN_PARAMETER" "$RAY_AUTH_TOKEN_PATH"
fi
[[ -n ${RAY_AUTH_TOKEN:-} || -s $RAY_AUTH_TOKEN_PATH ]] \
  || fail "there is no token in $RAY_AUTH_TOKEN_PATH; make one with \`ray get-auth-token --generate\` or set EQR_TOKEN_PARAMETER"

ip=${EQR_NODE_IP:-$(hostname -I | awk '{print $1}')}
if [[ -n ${EQR_TLS_PARAMETER:-} ]]; then
  EQR_TLS_DIR=$HOME/.eqr-tls
  python "$here/fetch_parameter.py" "$EQR_TLS_PARAMETER" "$EQR_TLS_DIR/ca.pem"
  "$here/tls.sh" unpack "$EQR_TLS_DIR"
  "$here/tls.sh" node "$EQR_TLS_DIR" "$ip"
  # What signs certificates is not needed any more.
  rm -f "$EQR_TLS_DIR/ca.pem" "$EQR_TLS_DIR/ca.key"
fi
if [[ -n ${EQR_TLS_DIR:-} ]]; then
  for file in ca.crt node.crt node.key; do
    [[ -s $EQR_TLS_DIR/$file ]] || fail "$EQR_TLS_DIR/$file is missing; make it with cluster/tls.sh"
  done
  export RAY_USE_TLS=1 RAY_TLS_CA_CERT=$EQR_TLS_DIR/ca.crt RAY_TLS_SERVER_CERT=$EQR_TLS_DIR/node.crt RAY_TLS_SERVER_KEY=$EQR_TLS_DIR/node.key
fi

exec ray start "${place[@]}" --node-ip-address="$ip" --disable-usage-stats "$@"
