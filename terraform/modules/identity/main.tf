# Who may do what. The head additionally starts and ends workers: that permission stands in ray-ec2, beside what it names.

locals {
  nodes = toset(["head", "worker"])

  # Objects' names are not known beforehand: the star stands for them and for nothing else.
  results = [
    {
      Sid      = "ListResults"
      Effect   = "Allow"
      Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
      Resource = [var.bucket_arn]
    },
    {
      Sid    = "ReadAndWriteResults"
      Effect = "Allow"
      Action = [
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
      ]
      Resource = ["${var.bucket_arn}/*"]
    },
  ]

  results_key = var.kms_key_arn == null ? [] : [{
    Sid      = "UseTheKeyOfTheResults"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }]

  pull_image = [
    {
      # AWS knows no resource for this action: every registry login needs it on "*".
      Sid      = "LogInToRegistry"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = ["*"]
    },
    {
      Sid      = "PullImage"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = [var.repository_arn]
    },
  ]

  # The authority of TLS between nodes is put beside the token by whoever wants TLS; docs/security.md.
  read_secrets = [{
    Sid      = "ReadRaySecrets"
    Effect   = "Allow"
    Action   = ["ssm:GetParameter"]
    Resource = [aws_ssm_parameter.token.arn, "${trimsuffix(aws_ssm_parameter.token.arn, "ray-auth-token")}tls-authority"]
  }]
}

resource "aws_iam_role" "node" {
  for_each = local.nodes

  name = "${var.name}-${each.key}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "node" {
  for_each = local.nodes

  name = "${var.name}-${each.key}"
  role = aws_iam_role.node[each.key].name
}

resource "aws_iam_role_policy" "node" {
  for_each = local.nodes

  name = "run-puzzles"
  role = aws_iam_role.node[each.key].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.results, local.results_key, local.pull_image, local.read_secrets)
  })
}

# Session Manager reaches a head without any open port. The policy is AWS's own: its actions cannot be tied to one instance.
resource "aws_iam_role_policy_attachment" "sessions" {
  count = var.session_manager ? 1 : 0

  role       = aws_iam_role.node["head"].name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}
