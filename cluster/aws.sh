#!/usr/bin/env bash
# From terraform/aws/terraform.tfvars to a running cluster, and back. Every command is shown before it runs.
#   aws.sh up [TAG]   network, bucket, registry, roles; both images; then `ray up`, KubeRay, or both, as terraform.tfvars says
#   aws.sh sleep      end the clusters and what is billed by the hour; bucket, images and roles stay
#   aws.sh destroy    remove everything; a bucket with results in it stays unless destroy_results = true was applied before
# TAG names the images and is the commit if left out. After a failure run it again: what is done is found done. Terraform asks before it
# changes anything, unless EQR_YES=1. What it writes lies in build/; with EKS it sets kubectl's context as well.
# EQR_TLS_PARAMETER turns TLS between nodes on; docs/security.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=terraform/aws

fail() {
  echo "aws.sh: $1" >&2
  exit 2
}

need() {
  for program in "$@"; do
    command -v "$program" > /dev/null || fail "$program is not installed; docs/clusters.md says what is needed"
  done
}

run() {
  printf '+ %s\n' "${*@Q}" >&2
  "$@"
}

apply() {
  # Looked at when the parameter is made, or token_version raised; otherwise any value will do.
  export TF_VAR_ray_token=${TF_VAR_ray_token:-$(openssl rand -hex 32)}
  run terraform -chdir=$root "$@" ${EQR_YES:+-auto-approve}
}

output() {
  terraform -chdir=$root output -raw "$1"
}

images() {
  local registry=$1 region=$2 tag=$3 variant
  # A tag never changes what it names, so an image that is there is the right one.
  for variant in cpu cuda; do
    if aws ecr describe-images --region "$region" --repository-name "${registry#*/}" --image-ids "imageTag=$tag-$variant" > /dev/null 2>&1; then
      continue
    fi
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "${registry%%/*}"
    run docker build --platform linux/amd64 -f cluster/Dockerfile --build-arg "VARIANT=$variant" -t "$registry:$tag-$variant" .
    run docker push "$registry:$tag-$variant"
  done
}

up() {
  local tag=${1:-} region
  if [[ -z $tag ]]; then
    [[ -z $(git status --porcelain 2>&1) ]] || fail "there are changes that no commit names; commit them, or give a tag: aws.sh up TAG"
    tag=$(git rev-parse --short=12 HEAD)
  fi
  [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}$ ]] || fail "a tag is of letters, digits, '.', '_' and '-', got '$tag'"
  run terraform -chdir=$root init -input=false
  apply apply
  mkdir -p build
  terraform -chdir=$root output -json > build/outputs.json
  region=$(output region)
  images "$(output registry)" "$region" "$tag"
  rm -rf build/cluster
  run python cluster/render.py --outputs build/outputs.json --tag "$tag" --out build/cluster ${EQR_TLS_PARAMETER:+--tls-parameter "$EQR_TLS_PARAMETER"}
  {
    echo "export REGION=$region BUCKET=$(output bucket)"
    echo "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$PWD/build/cluster/token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265"
  } > build/cluster/env.sh
  if [[ -d build/cluster/aws ]]; then
    (umask 077 && aws ssm get-parameter --region "$region" --name "$(output token_parameter)" --with-decryption \
      --query Parameter.Value --output text > build/cluster/token)
    # SSH goes through it unless a network is named.
    if grep -q 'aws ssm start-session' build/cluster/aws/ray-cluster.yaml; then need session-manager-plugin; fi
    run ray up --yes build/cluster/aws/ray-cluster.yaml
    echo 'Next: `ray dashboard build/cluster/aws/ray-cluster.yaml` in another shell, and here `source build/cluster/env.sh`.'
  fi
  if [[ -d build/cluster/kuberay ]]; then
    need kubectl helm
    run aws eks update-kubeconfig --region "$region" --name "$(output name)"
    run helm repo add --force-update kuberay https://ray-project.github.io/kuberay-helm/
    run helm upgrade --install kuberay-operator kuberay/kuberay-operator --namespace kuberay-operator --create-namespace
    run kubectl apply -f build/cluster/kuberay/namespace.yaml -f build/cluster/kuberay/eks.yaml
    echo 'Next: `kubectl apply -f build/cluster/kuberay/ray-job-evaluate.yaml`.'
  fi
}

end_clusters() {
  if [[ -f build/cluster/aws/ray-cluster.yaml ]]; then
    run ray down --yes build/cluster/aws/ray-cluster.yaml
  fi
  if [[ -d build/cluster/kuberay ]]; then
    # Their machines are started by Kubernetes: Terraform does not know them.
    run kubectl delete -f build/cluster/kuberay/namespace.yaml --ignore-not-found
    run kubectl delete -f build/cluster/kuberay/eks.yaml --ignore-not-found
  fi
  rm -rf build/cluster
}

case "${1:-}" in up | sleep | destroy) ;; *) fail 'say `aws.sh up [TAG]`, `aws.sh sleep` or `aws.sh destroy`' ;; esac
need terraform openssl
[[ -f $root/terraform.tfvars ]] || fail "$root/terraform.tfvars is missing; copy $root/terraform.tfvars.example and set region and key in it"
case "$1" in
  up)
    need aws docker git python ray
    up "${2:-}"
    ;;
  sleep)
    end_clusters
    apply apply -var awake=false -var eks=false
    ;;
  destroy)
    end_clusters
    apply destroy
    ;;
esac
