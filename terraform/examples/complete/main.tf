# All of it: a network without a way out but endpoints, tables of their own, masks by a hash, alarms by mail, the whole account.

provider "aws" {
  region = var.region

  default_tags {
    tags = { project = "firemain", managed_by = "terraform" }
  }
}

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:The first two of any; a zone that comes is behind them
  state = "available"
}

# Two private subnets, which reach AWS by endpoints alone.
resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11:Flow logs of an example; with them, send them through Firemain: the schema vpc_flow is there
  # checkov:skip=CKV2_AWS_12:Nothing is in the default security group
  cidr_block           = "10.64.0.0/24"
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_subnet" "private" {
  count = 2

  vpc_id            = aws_vpc.this.id
  availability_zone = data.aws_availability_zones.available.names[count.index]
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 2, count.index)
  tags              = { Name = "${var.name}-private-${count.index}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  count = 2

  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

locals {
  operator_commands = ["status", "check", "verify", "replay"]
}

module "firemain" {
  source = "../.."

  name  = var.name
  image = var.image

  # A provisioned stream that is read by fan-out, and keeps records over a weekend.
  stream_mode            = "PROVISIONED"
  shard_count            = 4
  stream_retention_hours = 96
  fan_out                = true

  # The whole account, and two groups that are made here with what each is kept for.
  subscribe_account  = var.subscribe_account
  exclude_log_groups = ["/aws/codebuild/chatter"]
  log_groups = var.subscribe_account ? {} : {
    "/ecs/web"             = { create = true, retention_days = 7 }
    "/aws/lambda/checkout" = { create = true, retention_days = 14 }
  }

  tables = [
    { schema = "apache_access", log_groups = ["/ecs/web"], on_mismatch = "log_events" },
    { schema = "lambda_platform", log_groups = ["/aws/lambda/*"], on_mismatch = "log_events" },
    { schema = "vpc_flow", name = "vpc_flow_egress", log_groups = ["/vpc/egress"], fields = ["version", "srcaddr", "dstaddr", "bytes", "start", "end", "action", "log-status"] },
  ]

  mask_fields       = ["password", "authorization"]
  mask_patterns     = ["aws_access_key", "bearer_token", "jwt"]
  mask_regexes      = ["TAN: (?P<secret>[0-9]{6})"]
  mask_hash_key_arn = var.mask_hash_key_arn

  tiering_days           = 30
  expiration_days        = 400
  errors_expiration_days = 60
  bucket_force_destroy   = var.force_destroy

  min_tasks             = 2
  max_tasks             = 4
  wait_for_steady_state = var.wait_for_steady_state
  operator_commands     = local.operator_commands
  environment           = { FIREMAIN_FORMAT__BLOOM_FILTERS = "[\"log_stream\"]" }

  vpc_id             = aws_vpc.this.id
  subnet_ids         = aws_subnet.private[*].id
  route_table_ids    = [aws_route_table.private.id]
  vpc_endpoints      = ["s3", "kinesis", "logs", "glue", "ecr_api", "ecr_dkr", "secretsmanager"]
  egress_cidr_blocks = []

  athena_scan_limit_gibibytes = 50

  create_sns_topic = true
  alarm_emails     = var.alarm_emails
}
