# What the head's autoscaler may do: start workers from the one template, in these subnets, with this role, and end its own.

locals {
  ec2      = "arn:aws:ec2:${var.region}:${var.account_id}"
  own_tag  = { StringEquals = { "aws:ResourceTag/ray-cluster-name" = var.name } }
  born_tag = { StringEquals = { "aws:RequestTag/ray-cluster-name" = var.name } }
}

resource "aws_iam_role_policy" "launching" {
  name = "launch-workers"
  role = var.head_role_name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # The ids of machines to come are not known; the conditions say what they must be.
        Sid      = "StartWorkers"
        Effect   = "Allow"
        Action   = ["ec2:RunInstances"]
        Resource = ["${local.ec2}:instance/*"]
        Condition = merge(local.born_tag, {
          ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.node["worker"].arn }
        })
      },
      {
        Sid    = "FromTheseParts"
        Effect = "Allow"
        Action = ["ec2:RunInstances"]
        Resource = concat(var.subnet_arns, [
          "arn:aws:ec2:${var.region}::image/${local.image_id}",
          "${local.ec2}:image/${local.image_id}",
          aws_key_pair.ray.arn,
          aws_launch_template.node["worker"].arn,
          aws_security_group.nodes.arn,
        ])
      },
      {
        Sid    = "WithDisksAndCards"
        Effect = "Allow"
        Action = ["ec2:RunInstances"]
        Resource = [
          "${local.ec2}:network-interface/*", "${local.ec2}:spot-instances-request/*", "${local.ec2}:volume/*",
        ]
        Condition = { ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.node["worker"].arn } }
      },
      {
        Sid       = "TagAtBirth"
        Effect    = "Allow"
        Action    = ["ec2:CreateTags"]
        Resource  = ["${local.ec2}:instance/*", "${local.ec2}:volume/*"]
        Condition = { StringEquals = { "ec2:CreateAction" = "RunInstances" } }
      },
      {
        Sid       = "TagAndEndItsOwn"
        Effect    = "Allow"
        Action    = ["ec2:CreateTags", "ec2:TerminateInstances"]
        Resource  = ["${local.ec2}:instance/*"]
        Condition = local.own_tag
      },
      {
        Sid       = "GiveWorkersTheirRole"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [var.worker_role_arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
      },
      {
        # AWS ties none of these to a resource: they must be allowed on "*".
        Sid    = "LookAround"
        Effect = "Allow"
        Action = [
          "ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions",
          "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        ]
        Resource = ["*"]
      },
    ]
  })
}
