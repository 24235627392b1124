# A machine image that holds the container already: a worker is then ready in about the time EC2 needs to boot it, and pulls nothing.
# EC2 Image Builder starts one machine, pulls, takes the image, ends the machine. Destroying leaves the image: docs/clusters.md, "Down".

locals {
  warm        = var.warm_container == null ? {} : { image = var.warm_container }
  image_id    = var.warm_container == null ? var.image_id : one(flatten([for image in aws_imagebuilder_image.warm : [for out in image.output_resources : [for ami in out.amis : ami.image]]]))
  warm_parent = "arn:aws:iam::aws:policy"
}

resource "aws_iam_role" "builder" {
  for_each = local.warm

  name = "${var.name}-image-builder"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# AWS's own policies for machines that Image Builder drives.
resource "aws_iam_role_policy_attachment" "builder" {
  for_each = var.warm_container == null ? toset([]) : toset(["EC2InstanceProfileForImageBuilder", "AmazonSSMManagedInstanceCore"])

  role       = aws_iam_role.builder["image"].name
  policy_arn = "${local.warm_parent}/${each.key}"
}

resource "aws_iam_role_policy" "builder" {
  for_each = local.warm

  name = "pull-image"
  role = aws_iam_role.builder["image"].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # AWS knows no resource for this action.
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
  })
}

resource "aws_iam_instance_profile" "builder" {
  for_each = local.warm

  name = "${var.name}-image-builder"
  role = aws_iam_role.builder["image"].name
}

resource "aws_imagebuilder_component" "pull" {
  for_each = local.warm

  name     = "${var.name}-pull"
  platform = "Linux"
  version  = "1.0.0"

  data = yamlencode({
    schemaVersion = "1.0"
    phases = [{
      name = "build"
      steps = [{
        name   = "PullContainer"
        action = "ExecuteBash"
        inputs = {
          commands = [
            "set -euo pipefail",
            "aws ecr get-login-password --region ${var.region} | docker login --username AWS --password-stdin ${split("/", each.value)[0]}",
            "docker pull ${each.value}",
            "docker logout ${split("/", each.value)[0]}",
          ]
        }
      }]
    }]
  })
}

resource "aws_imagebuilder_image_recipe" "warm" {
  for_each = local.warm

  name         = "${var.name}-warm"
  version      = "1.0.0"
  parent_image = var.image_id

  component {
    component_arn = aws_imagebuilder_component.pull["image"].arn
  }

  block_device_mapping {
    device_name = var.root_device

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      volume_size           = var.worker_disk_gb
      delete_on_termination = true
    }
  }

}

# Terraform does not keep the machine image, so it bears the stack's tags: what is left over is found by them.
resource "aws_imagebuilder_distribution_configuration" "warm" {
  for_each = local.warm

  name = "${var.name}-warm"

  distribution {
    region = var.region

    ami_distribution_configuration {
      name     = "${var.name}-warm-{{ imagebuilder:buildDate }}"
      ami_tags = var.tags
    }
  }
}

# Image Builder would make this group itself, keep it for ever and leave it behind.
resource "aws_cloudwatch_log_group" "builder" {
  for_each = local.warm

  name              = "/aws/imagebuilder/${var.name}-warm"
  retention_in_days = 30
}

resource "aws_imagebuilder_infrastructure_configuration" "warm" {
  for_each = local.warm

  name                          = "${var.name}-warm"
  instance_profile_name         = aws_iam_instance_profile.builder["image"].name
  instance_types                = ["m7i.large"]
  subnet_id                     = var.builder_subnet_id
  security_group_ids            = [aws_security_group.nodes.id]
  terminate_instance_on_failure = true

  instance_metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

resource "aws_imagebuilder_image" "warm" {
  for_each = local.warm

  image_recipe_arn                 = aws_imagebuilder_image_recipe.warm["image"].arn
  infrastructure_configuration_arn = aws_imagebuilder_infrastructure_configuration.warm["image"].arn
  distribution_configuration_arn   = aws_imagebuilder_distribution_configuration.warm["image"].arn
  tags                             = var.tags

  image_tests_configuration {
    image_tests_enabled = false
  }

  depends_on = [aws_cloudwatch_log_group.builder]
}
