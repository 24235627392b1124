# What each module must never lose.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "network" {
  command = plan

  module {
    source = "../modules/network"
  }

  variables {
    name   = "eqr-ray"
    region = "us-east-1"
    cidr   = "10.42.0.0/16"
    zones  = ["us-east-1a", "us-east-1b"]
    awake  = false
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : !subnet.map_public_ip_on_launch]) && !aws_subnet.public.map_public_ip_on_launch
    error_message = "no subnet may give out public addresses"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_eip.nat) == 0
    error_message = "asleep, the network must cost nothing by the hour"
  }
}

run "results" {
  command = plan

  module {
    source = "../modules/results"
  }

  variables {
    bucket                 = "eqr-ray-results"
    keep_old_versions_days = 30
    destroy_with_contents  = false
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.results.block_public_acls,
      aws_s3_bucket_public_access_block.results.block_public_policy,
      aws_s3_bucket_public_access_block.results.ignore_public_acls,
      aws_s3_bucket_public_access_block.results.restrict_public_buckets,
    ])
    error_message = "the bucket must refuse public access in all four ways"
  }

  assert {
    condition     = aws_s3_bucket_versioning.results.versioning_configuration[0].status == "Enabled"
    error_message = "the bucket must keep versions"
  }

  assert {
    condition = alltrue(flatten([
      for rule in aws_s3_bucket_server_side_encryption_configuration.results.rule :
      [for default in rule.apply_server_side_encryption_by_default : contains(["AES256", "aws:kms"], default.sse_algorithm)]
    ]))
    error_message = "the bucket must be encrypted"
  }

  assert {
    condition     = anytrue([for rule in aws_s3_bucket_lifecycle_configuration.results.rule : length(rule.abort_incomplete_multipart_upload) > 0])
    error_message = "unfinished uploads must not be billed for ever"
  }

  assert {
    condition     = !aws_s3_bucket.results.force_destroy
    error_message = "results must survive a destroy that did not ask for them"
  }
}

run "registry" {
  command = plan

  module {
    source = "../modules/registry"
  }

  variables {
    name = "eqr-ray"
  }

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "images must be scanned, and a tag must keep its meaning"
  }
}

run "nodes" {
  command = apply

  module {
    source = "../modules/ray-ec2"
  }

  variables {
    name               = "eqr-ray"
    region             = "us-east-1"
    account_id         = "123456789012"
    vpc_id             = "vpc-1"
    subnet_arns        = ["arn:aws:ec2:us-east-1:123456789012:subnet/subnet-1"]
    image_id           = "ami-0123456789abcdef0"
    repository_arn     = "arn:aws:ecr:us-east-1:123456789012:repository/eqr-ray"
    builder_subnet_id  = "subnet-1"
    warm_container     = "123456789012.dkr.ecr.us-east-1.amazonaws.com/eqr-ray:1-cuda"
    ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0"
    ssh_cidrs          = ["203.0.113.7/32"]
    head_role_name     = "head"
    head_profile_arn   = "arn:aws:iam::123456789012:instance-profile/head"
    worker_role_arn    = "arn:aws:iam::123456789012:role/worker"
    worker_profile_arn = "arn:aws:iam::123456789012:instance-profile/worker"
    tags               = { Project = "eqr-ray" }
  }

  assert {
    condition = alltrue(flatten([
      for template in aws_launch_template.node :
      [for device in template.block_device_mappings : [for disk in device.ebs : tobool(disk.encrypted) && tobool(disk.delete_on_termination)]]
    ]))
    error_message = "every disk of a node must be encrypted and go with it"
  }

  assert {
    condition = alltrue(flatten([
      for template in aws_launch_template.node :
      [for options in template.metadata_options : options.http_tokens == "required" && options.http_put_response_hop_limit == 1]
    ]))
    error_message = "nodes must use IMDSv2 with a hop limit of 1"
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.node : template.image_id == "ami-0fedcba9876543210"])
    error_message = "with a warm container the nodes must start from the image made of it"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.ssh : rule.from_port == 22 && rule.to_port == 22])
    error_message = "a named network may reach SSH and nothing else"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.among_nodes.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.among_nodes.cidr_ipv6 == null
    error_message = "Ray's ports must be open to the nodes' own group only"
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.launching.policy).Statement :
      alltrue([for action in statement.Action : !strcontains(action, "*")])
    ])
    error_message = "the head's policy must name every action"
  }
}

# A refusal that does not come ends the file, so this one stands last.

run "ssh_from_anywhere_is_refused" {
  command = plan

  module {
    source = "../modules/ray-ec2"
  }

  variables {
    name               = "eqr-ray"
    region             = "us-east-1"
    account_id         = "123456789012"
    vpc_id             = "vpc-1"
    subnet_arns        = []
    image_id           = "ami-0123456789abcdef0"
    repository_arn     = "arn:aws:ecr:us-east-1:123456789012:repository/eqr-ray"
    builder_subnet_id  = "subnet-1"
    ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0"
    ssh_cidrs          = ["0.0.0.0/0"]
    head_role_name     = "head"
    head_profile_arn   = "arn:aws:iam::123456789012:instance-profile/head"
    worker_role_arn    = "arn:aws:iam::123456789012:role/worker"
    worker_profile_arn = "arn:aws:iam::123456789012:instance-profile/worker"
    tags               = {}
  }

  expect_failures = [var.ssh_cidrs]
}
