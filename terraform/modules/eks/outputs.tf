output "cluster_name" {
  description = "Name of the Kubernetes cluster, for `aws eks update-kubeconfig`."
  value       = aws_eks_cluster.this.name
}

output "endpoint" {
  description = "Address of the Kubernetes API."
  value       = aws_eks_cluster.this.endpoint
}
