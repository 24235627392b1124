# What a node of the Ray cluster is made from. `ray up` and its autoscaler start the nodes; nothing here runs by itself.

locals {
  kinds = {
    head   = { profile = var.head_profile_arn, disk_gb = var.head_disk_gb }
    worker = { profile = var.worker_profile_arn, disk_gb = var.worker_disk_gb }
  }
}

resource "aws_key_pair" "ray" {
  key_name   = var.name
  public_key = var.ssh_public_key
}

resource "aws_launch_template" "node" {
  for_each = local.kinds

  name                   = "${var.name}-${each.key}"
  description            = "Ray ${each.key} of ${var.name}"
  image_id               = local.image_id
  key_name               = aws_key_pair.ray.key_name
  vpc_security_group_ids = [aws_security_group.nodes.id]
  update_default_version = true

  iam_instance_profile {
    arn = each.value.profile
  }

  # Tokens only, and not through a router: Ray's container shares the host's network, so one hop is enough.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = var.root_device

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      volume_size           = each.value.disk_gb
      delete_on_termination = true
    }
  }

  # Nodes are not made by Terraform, so its default tags do not reach them.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(var.tags, { Name = "${var.name}-${each.key}" })
    }
  }
}
