# cluster/render.py reads these with `terraform output -json` and writes the cluster files from them.

output "name" {
  description = "Name of the stack and of the clusters."
  value       = var.name
}

output "region" {
  description = "AWS region."
  value       = var.region
}

output "bucket" {
  description = "Bucket of puzzles and results."
  value       = module.results.bucket
}

output "registry" {
  description = "Address of the container repository, without a tag."
  value       = module.registry.url
}

output "token_parameter" {
  description = "Name of the parameter that holds Ray's token."
  value       = module.identity.token_parameter
}

output "ci_role_arn" {
  description = "Role that CI takes to push images; null without CI."
  value       = module.identity.ci_role_arn
}

output "ray" {
  description = "What `ray up` needs; null without an SSH key."
  value = length(module.ray_ec2) == 0 ? null : {
    head_template_id   = module.ray_ec2[0].head_template_id
    worker_template_id = module.ray_ec2[0].worker_template_id
    metadata_options   = module.ray_ec2[0].metadata_options
    security_group_id  = module.ray_ec2[0].security_group_id
    subnet_ids         = module.network.private_subnet_ids
    session_manager    = length(var.ssh_cidrs) == 0
    head_type          = var.head_type
    worker_types       = var.worker_types
    max_workers        = var.max_workers
    idle_minutes       = var.idle_minutes
  }
}

output "kubernetes" {
  description = "What the KubeRay manifests need; null without EKS."
  value = length(module.eks) == 0 ? null : {
    cluster_name    = module.eks[0].cluster_name
    namespace       = local.kubernetes.namespace
    service_account = local.kubernetes.service_account
    worker_types    = var.worker_types
    max_workers     = var.max_workers
    idle_minutes    = var.idle_minutes
  }
}

output "warm_image_id" {
  description = "Machine image made here, which `terraform destroy` leaves behind; null if none was."
  value       = one(module.ray_ec2[*].warm_image_id)
}
