# Nodes talk to each other and to nobody else. GCS (6379), dashboard (8265) and client server (10001) are remote code execution
# for whoever reaches them, and GCS listens on all interfaces whatever it is told: this group is the wall in front of it.

resource "aws_security_group" "nodes" {
  name        = "${var.name}-nodes"
  description = "Ray nodes of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-nodes" }
}

resource "aws_vpc_security_group_ingress_rule" "among_nodes" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "Ray between its nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "tcp"
  from_port                    = 0
  to_port                      = 65535
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_cidrs)

  security_group_id = aws_security_group.nodes.id
  description       = "SSH from a named network"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "among_nodes" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "Ray between its nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "tcp"
  from_port                    = 0
  to_port                      = 65535
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.nodes.id
  description       = "AWS interfaces and the image registry"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
