# The whole stack against a mocked AWS. The state of the run "everything" is also what the Python tests render and inspect.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region         = "us-east-1"
  ray_token      = "0123456789abcdef0123456789abcdef"
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0 eqr-ray"
  budget_emails  = ["you@example.org"]
  eks            = true
  api_cidrs      = ["203.0.113.7/32"]
  ci = {
    provider_arn = "arn:aws:iam::123456789012:oidc-provider/ci.example.org"
    issuer       = "ci.example.org"
    audience     = "sts.amazonaws.com"
    subject      = "repo:you/eqr-ray:ref:refs/heads/main"
  }
}

run "everything" {
  command = apply

  variables {
    warm_tag = "1-cuda"
  }

  assert {
    condition     = length(output.ray.subnet_ids) == 3
    error_message = "three zones must give three subnets"
  }

  assert {
    condition     = output.ray.metadata_options.HttpTokens == "required"
    error_message = "nodes must use IMDSv2"
  }

  assert {
    condition     = output.ray.session_manager
    error_message = "without a named network the head must be reached through Session Manager"
  }
}
