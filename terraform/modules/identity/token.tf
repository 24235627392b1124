# The token that opens Ray. Written to the parameter store and nowhere else: an ephemeral value enters neither state nor plan.

resource "aws_ssm_parameter" "token" {
  name             = "/${var.name}/ray-auth-token"
  description      = "Shared secret of the Ray cluster ${var.name}: who has it can run code on every node."
  type             = "SecureString"
  value_wo         = var.token
  value_wo_version = var.token_version
}
