data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.name
  dns_suffix = data.aws_partition.current.dns_suffix

  # Metrics are told apart by the group alone: two services in one account have two.
  group = coalesce(var.group, var.name)

  # The lake: s3://BUCKET/PREFIX, and what is below it. The names are those of the service.
  destination   = "s3://${local.bucket_name}/${var.prefix}"
  state_prefix  = "${var.prefix}/_firemain/${local.group}"
  errors_prefix = "${var.prefix}/errors"

  # Rules that name log_events are rows of the table that is there anyway; several rules may share a table.
  rule_tables   = { for rule in var.tables : coalesce(rule.name, rule.schema) => rule.schema... }
  table_schemas = merge({ log_events = "log_events" }, { for name, schemas in local.rule_tables : name => schemas[0] })
}
