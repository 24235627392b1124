output "head_role_name" {
  description = "Role of the head."
  value       = aws_iam_role.node["head"].name
}

output "worker_role_arn" {
  description = "Role of the workers, which the head may hand to them."
  value       = aws_iam_role.node["worker"].arn
}

output "head_profile_arn" {
  description = "Instance profile of the head."
  value       = aws_iam_instance_profile.node["head"].arn
}

output "worker_profile_arn" {
  description = "Instance profile of the workers."
  value       = aws_iam_instance_profile.node["worker"].arn
}

output "pods_role_arn" {
  description = "Role of KubeRay's pods; null without EKS."
  value       = one(aws_iam_role.pods[*].arn)
}

output "ci_role_arn" {
  description = "Role that CI takes to push images; null without CI."
  value       = one(aws_iam_role.ci[*].arn)
}

output "token_parameter" {
  description = "Name of the parameter that holds Ray's token."
  value       = aws_ssm_parameter.token.name
}
