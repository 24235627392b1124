# Pods of KubeRay get the results, and nothing else, through EKS Pod Identity; nodes pull images themselves, KubeRay makes the token.

resource "aws_iam_role" "pods" {
  count = var.pods ? 1 : 0

  name = "${var.name}-pods"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
    }]
  })
}

resource "aws_iam_role_policy" "pods" {
  count = var.pods ? 1 : 0

  name = "run-puzzles"
  role = aws_iam_role.pods[0].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.results, local.results_key)
  })
}
