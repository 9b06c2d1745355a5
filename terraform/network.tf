locals {
  # What a worker calls, beside S3, which has a gateway.
  endpoint_services = {
    kinesis        = "kinesis-streams"
    logs           = "logs"
    glue           = "glue"
    ecr_api        = "ecr.api"
    ecr_dkr        = "ecr.dkr"
    secretsmanager = "secretsmanager"
    ssm            = "ssm"
  }
  interface_endpoints = { for name, service in local.endpoint_services : name => service if contains(var.vpc_endpoints, name) }
}

# Nothing comes in: the status page is for the task itself.
resource "aws_security_group" "task" {
  name        = "${var.name}-task"
  description = "Firemain ${var.name}: tasks, which nobody connects to"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-task" })
}

# Names are resolved by the VPC's own resolver, which security groups don't concern.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = toset(var.egress_cidr_blocks)

  security_group_id = aws_security_group.task.id
  description       = "APIs of AWS and the registry of the image"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value
  tags              = var.tags
}

resource "aws_vpc_endpoint" "s3" {
  count = contains(var.vpc_endpoints, "s3") ? 1 : 0

  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
  tags              = merge(var.tags, { Name = "${var.name}-s3" })

  lifecycle {
    precondition {
      condition     = length(var.route_table_ids) > 0
      error_message = "The gateway of S3 is reached by routes: give route_table_ids, those of subnet_ids."
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

# With private DNS the endpoints answer for everybody in the VPC, so everybody has to be let in.
data "aws_vpc" "this" {
  count = length(local.interface_endpoints) > 0 ? 1 : 0

  id = var.vpc_id
}

resource "aws_security_group" "endpoints" {
  count = length(local.interface_endpoints) > 0 ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "Firemain ${var.name}: endpoints, which tasks connect to"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = length(local.interface_endpoints) > 0 ? 1 : 0

  security_group_id = aws_security_group.endpoints[0].id
  description       = "All of the VPC, which the names of these services lead to them"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = data.aws_vpc.this[0].cidr_block
  tags              = var.tags
}

# The gateway of S3 keeps the public addresses of S3.
resource "aws_vpc_security_group_egress_rule" "s3" {
  count = contains(var.vpc_endpoints, "s3") ? 1 : 0

  security_group_id = aws_security_group.task.id
  description       = "S3 by its gateway"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = aws_vpc_endpoint.s3[0].prefix_list_id
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  count = length(local.interface_endpoints) > 0 ? 1 : 0

  security_group_id            = aws_security_group.task.id
  description                  = "Endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints[0].id
  tags                         = var.tags
}
