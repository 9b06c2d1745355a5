locals {
  # Null: no key of one's own. The stream then has the account's aws/kinesis, the bucket SSE-S3.
  kms_key_arn = var.create_kms_key ? aws_kms_key.this[0].arn : var.kms_key_arn

  # The keys of what is read and written, for policies: those of existing resources are said separately.
  stream_key_arns = var.create_stream ? (local.has_key ? [local.kms_key_arn] : []) : compact([var.stream_kms_key_arn])
  bucket_key_arns = var.create_bucket ? (local.has_key ? [local.kms_key_arn] : []) : compact([var.bucket_kms_key_arn])

  # Known while planning, which the ARN of a key that is still to be made is not.
  has_key = var.create_kms_key || var.kms_key_arn != null
}

# One key for the stream, the bucket, the log groups and the topic: they hold the same logs.
resource "aws_kms_key" "this" {
  count = var.create_kms_key ? 1 : 0

  description             = "Firemain ${var.name}: the stream, the lake, its own log"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_window_days

  # In a key's policy "*" is this key, and nothing else.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "PoliciesOfTheAccountDecide"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "OwnLogGroups"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.${local.dns_suffix}" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = [
              for name in local.own_log_groups : "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:${name}"
            ]
          }
        }
      },
      {
        Sid       = "AlarmsToTheTopic"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
      },
    ]
  })

  tags = var.tags
}

resource "aws_kms_alias" "this" {
  count = var.create_kms_key ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}
