output "head_template_id" {
  description = "Launch template of the head."
  value       = aws_launch_template.node["head"].id
}

output "worker_template_id" {
  description = "Launch template of the workers."
  value       = aws_launch_template.node["worker"].id
}

output "metadata_options" {
  description = "How nodes reach the instance metadata service, in the words of EC2's RunInstances."
  value = {
    for kind, template in aws_launch_template.node : kind => {
      HttpEndpoint            = template.metadata_options[0].http_endpoint
      HttpTokens              = template.metadata_options[0].http_tokens
      HttpPutResponseHopLimit = template.metadata_options[0].http_put_response_hop_limit
    }
  }["worker"]
}

output "security_group_id" {
  description = "The nodes' security group."
  value       = aws_security_group.nodes.id
}

output "key_name" {
  description = "Name of the SSH key pair."
  value       = aws_key_pair.ray.key_name
}

output "image_id" {
  description = "Machine image that nodes start from."
  value       = local.image_id
}

output "warm_image_id" {
  description = "The machine image that was made here, which `terraform destroy` leaves behind; null if none was."
  value       = var.warm_container == null ? null : local.image_id
}
