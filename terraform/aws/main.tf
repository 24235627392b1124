# One stack: network, results, registry, identities, and one or both kinds of Ray cluster on top.

locals {
  tags = merge({ Project = var.name, ManagedBy = "terraform" }, var.tags)

  kubernetes = { namespace = "eqr-ray", service_account = "eqr-ray" }
}

data "aws_caller_identity" "this" {}

data "aws_availability_zones" "open" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

# AWS's deep-learning base image: Ubuntu, Docker, NVIDIA driver and container toolkit, AWS command line.
data "aws_ssm_parameter" "image" {
  count = var.ssh_public_key == null || var.image_id != null ? 0 : 1
  name  = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
}

module "network" {
  source = "../modules/network"

  name   = var.name
  region = var.region
  cidr   = var.cidr
  zones  = slice(data.aws_availability_zones.open.names, 0, min(var.zones, length(data.aws_availability_zones.open.names)))
  awake  = var.awake
}

module "results" {
  source = "../modules/results"

  bucket                 = coalesce(var.bucket, "${var.name}-results-${data.aws_caller_identity.this.account_id}-${var.region}")
  kms_key_arn            = var.kms_key_arn
  keep_old_versions_days = var.keep_old_versions_days
  destroy_with_contents  = var.destroy_results
}

module "registry" {
  source = "../modules/registry"

  name = var.name
}

module "identity" {
  source = "../modules/identity"

  name            = var.name
  bucket_arn      = module.results.bucket_arn
  kms_key_arn     = var.kms_key_arn
  repository_arn  = module.registry.arn
  session_manager = length(var.ssh_cidrs) == 0
  pods            = var.eks
  token           = var.ray_token
  token_version   = var.token_version
  ci              = var.ci
}

module "ray_ec2" {
  source = "../modules/ray-ec2"
  count  = var.ssh_public_key == null ? 0 : 1

  name               = var.name
  region             = var.region
  account_id         = data.aws_caller_identity.this.account_id
  vpc_id             = module.network.vpc_id
  subnet_arns        = module.network.private_subnet_arns
  image_id           = var.image_id != null ? var.image_id : nonsensitive(data.aws_ssm_parameter.image[0].value)
  warm_container     = var.warm_tag == null ? null : "${module.registry.url}:${var.warm_tag}"
  repository_arn     = module.registry.arn
  builder_subnet_id  = module.network.private_subnet_ids[0]
  ssh_public_key     = var.ssh_public_key
  ssh_cidrs          = var.ssh_cidrs
  head_role_name     = module.identity.head_role_name
  head_profile_arn   = module.identity.head_profile_arn
  worker_role_arn    = module.identity.worker_role_arn
  worker_profile_arn = module.identity.worker_profile_arn
  tags               = local.tags
}

module "eks" {
  source = "../modules/eks"
  count  = var.eks ? 1 : 0

  name               = var.name
  kubernetes_version = var.kubernetes_version
  subnet_ids         = module.network.private_subnet_ids
  api_cidrs          = var.api_cidrs
  namespace          = local.kubernetes.namespace
  service_account    = local.kubernetes.service_account
  pods_role_arn      = module.identity.pods_role_arn
}

module "budget" {
  source = "../modules/budget"
  count  = length(var.budget_emails) > 0 ? 1 : 0

  name        = var.name
  monthly_usd = var.budget_usd
  emails      = var.budget_emails
}
