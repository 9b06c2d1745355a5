locals {
  bucket_name = var.create_bucket ? aws_s3_bucket.this[0].bucket : coalesce(var.bucket_name, "-")
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"

  athena_prefix = "athena-results"
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:Who reads is in CloudTrail's data events; access logs would be one more lake of logs
  # checkov:skip=CKV_AWS_21:Off on purpose, see aws_s3_bucket_versioning
  # checkov:skip=CKV_AWS_144:One region, as the stream; who needs a second copy adds a replication of their own
  # checkov:skip=CKV2_AWS_62:Nobody here waits for objects: Glue is told by the service
  count = var.create_bucket ? 1 : 0

  bucket        = coalesce(var.bucket_name, "${var.name}-${local.account_id}-${local.region}")
  force_destroy = var.bucket_force_destroy
  tags          = var.tags

  # A destroy that stops at a bucket with logs in it must not have taken their key.
  depends_on = [aws_kms_key.this]
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    # One call of KMS serves many objects.
    bucket_key_enabled = local.has_key

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.has_key ? "aws:kms" : "AES256"
      kms_master_key_id = local.has_key ? local.kms_key_arn : null
    }
  }
}

# Objects are put once, under names that never come again; heartbeats and snapshots are replaced and deleted all day, and
# each would stay as a version. What masks were too late for must be gone when it is deleted.
resource "aws_s3_bucket_versioning" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  versioning_configuration {
    status = "Disabled"
  }
}

# Nothing below _firemain/ may ever expire: a group whose state is gone reads the stream again, and delivers twice. Firemain
# itself deletes there what is no longer needed.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    id     = "incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "athena-results"
    status = "Enabled"

    filter {
      prefix = "${local.athena_prefix}/"
    }

    expiration {
      days = var.athena_results_expiration_days
    }
  }

  dynamic "rule" {
    for_each = var.errors_expiration_days == null ? {} : {
      # What replays have delivered moves from the first to the second.
      errors   = "${local.errors_prefix}/"
      replayed = "${var.prefix}/replayed/"
    }

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = rule.value
      }

      expiration {
        days = var.errors_expiration_days
      }
    }
  }

  # A rule a table: one for the whole prefix would take the state with it.
  dynamic "rule" {
    for_each = var.tiering_days == null && var.expiration_days == null ? {} : local.table_schemas

    content {
      id     = "table-${rule.key}"
      status = "Enabled"

      filter {
        prefix = "${var.prefix}/${rule.key}/"
      }

      dynamic "transition" {
        for_each = compact([var.tiering_days])

        content {
          days          = transition.value
          storage_class = var.tiering_storage_class
        }
      }

      dynamic "expiration" {
        for_each = compact([var.expiration_days])

        content {
          days = expiration.value
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = var.tiering_days == null || var.expiration_days == null || try(var.tiering_days < var.expiration_days, false)
      error_message = "tiering_days has to be less than expiration_days."
    }
    precondition {
      condition     = !contains(["STANDARD_IA", "ONEZONE_IA"], var.tiering_storage_class) || try(var.tiering_days >= 30, true)
      error_message = "S3 moves objects to STANDARD_IA and ONEZONE_IA after 30 days at the earliest: tiering_days has to be 30 or more."
    }
  }

  # A bucket takes one change of its settings at a time.
  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "OnlyTls12AndLater"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
