# What a mocked AWS answers: values of the right form, where the provider or a policy reads them.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"] }
}

mock_data "aws_ssm_parameter" {
  defaults = { value = "ami-0123456789abcdef0" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
}

mock_resource "aws_iam_instance_profile" {
  defaults = { arn = "arn:aws:iam::123456789012:instance-profile/mocked" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mocked" }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:us-east-1:123456789012:repository/mocked"
    repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/eqr-ray"
  }
}

mock_resource "aws_subnet" {
  defaults = { arn = "arn:aws:ec2:us-east-1:123456789012:subnet/mocked", id = "subnet-0123456789abcdef0" }
}

mock_resource "aws_launch_template" {
  defaults = { arn = "arn:aws:ec2:us-east-1:123456789012:launch-template/mocked", id = "lt-0123456789abcdef0" }
}

mock_resource "aws_security_group" {
  defaults = { arn = "arn:aws:ec2:us-east-1:123456789012:security-group/mocked", id = "sg-0123456789abcdef0" }
}

mock_resource "aws_key_pair" {
  defaults = { arn = "arn:aws:ec2:us-east-1:123456789012:key-pair/mocked" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/mocked" }
}

mock_resource "aws_ssm_parameter" {
  defaults = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/mocked" }
}

mock_resource "aws_imagebuilder_component" {
  defaults = { arn = "arn:aws:imagebuilder:us-east-1:123456789012:component/mocked/1.0.0/1" }
}

mock_resource "aws_imagebuilder_image_recipe" {
  defaults = { arn = "arn:aws:imagebuilder:us-east-1:123456789012:image-recipe/mocked/1.0.0" }
}

mock_resource "aws_imagebuilder_infrastructure_configuration" {
  defaults = { arn = "arn:aws:imagebuilder:us-east-1:123456789012:infrastructure-configuration/mocked" }
}

mock_resource "aws_imagebuilder_distribution_configuration" {
  defaults = {
    arn = "arn:aws:imagebuilder:us-east-1:123456789012:distribution-configuration/mocked"
  }
}

mock_resource "aws_imagebuilder_image" {
  defaults = {
    arn              = "arn:aws:imagebuilder:us-east-1:123456789012:image/mocked/1.0.0/1"
    output_resources = [{ amis = [{ image = "ami-0fedcba9876543210" }] }]
  }
}
