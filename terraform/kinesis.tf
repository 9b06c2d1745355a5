locals {
  stream_arn  = var.create_stream ? aws_kinesis_stream.this[0].arn : var.stream_arn
  stream_name = var.create_stream ? aws_kinesis_stream.this[0].name : element(split("/", coalesce(var.stream_arn, "/")), 1)
}

resource "aws_kinesis_stream" "this" {
  count = var.create_stream ? 1 : 0

  name             = coalesce(var.stream_name, var.name)
  retention_period = var.stream_retention_hours
  encryption_type  = "KMS"
  kms_key_id       = local.has_key ? local.kms_key_arn : "alias/aws/kinesis"

  # On-demand streams count their shards themselves.
  shard_count = var.stream_mode == "PROVISIONED" ? var.shard_count : null

  stream_mode_details {
    stream_mode = var.stream_mode
  }

  tags = var.tags

  lifecycle {
    precondition {
      condition     = var.stream_mode == "ON_DEMAND" || var.max_tasks <= var.shard_count
      error_message = "max_tasks is larger than shard_count: a shard has one worker, so that further ones would do nothing."
    }
  }
}

resource "aws_kinesis_stream_consumer" "this" {
  count = var.fan_out ? 1 : 0

  name       = var.name
  stream_arn = local.stream_arn
}
