# CI pushes images, without a stored key: it proves who it is with the OpenID token of its run.

locals {
  # Pushing an image reads what is there first, so the pull permissions are part of it.
  push_image = concat(local.pull_image, [{
    Sid      = "PushImage"
    Effect   = "Allow"
    Action   = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
    Resource = [var.repository_arn]
  }])
}

resource "aws_iam_role" "ci" {
  count = var.ci == null ? 0 : 1

  name                 = "${var.name}-ci"
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = var.ci.provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${var.ci.issuer}:aud" = var.ci.audience
          "${var.ci.issuer}:sub" = var.ci.subject
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "ci" {
  count = var.ci == null ? 0 : 1

  name   = "push-image"
  role   = aws_iam_role.ci[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.push_image })
}
