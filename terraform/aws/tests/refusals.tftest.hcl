# What must not be built: the least stack while it sleeps is built for free, and these are refused with a sentence.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region    = "us-east-1"
  ray_token = "0123456789abcdef0123456789abcdef"
  awake     = false
}

run "nothing_is_billed_by_the_hour_while_asleep" {
  command = plan

  assert {
    condition     = output.ray == null && output.kubernetes == null
    error_message = "no cluster parts were asked for"
  }
}

run "a_region_must_be_one_and_workers_equals" {
  command = plan

  variables {
    region       = "us-east-1a"
    worker_types = ["g6.xlarge", "p5.48xlarge"]
  }

  expect_failures = [var.region, var.worker_types]
}

run "a_short_token_and_a_starred_subject_are_refused" {
  command = plan

  module {
    source = "../modules/identity"
  }

  variables {
    name            = "eqr-ray"
    bucket_arn      = "arn:aws:s3:::bucket"
    repository_arn  = "arn:aws:ecr:us-east-1:123456789012:repository/eqr-ray"
    session_manager = true
    pods            = false
    token           = "short"
    token_version   = 1
    ci = {
      provider_arn = "arn:aws:iam::123456789012:oidc-provider/ci.example.org"
      issuer       = "ci.example.org"
      audience     = "sts.amazonaws.com"
      subject      = "repo:you/*"
    }
  }

  expect_failures = [var.token, var.ci]
}

run "network_wants_a_private_range" {
  command = plan

  module {
    source = "../modules/network"
  }

  variables {
    name   = "eqr-ray"
    region = "us-east-1"
    cidr   = "8.8.0.0/16"
    zones  = ["us-east-1a", "us-east-1b"]
    awake  = false
  }

  expect_failures = [var.cidr]
}
