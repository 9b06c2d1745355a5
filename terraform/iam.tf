# What each part may do. Roles are of the whole account, so their names have the region. There are three: the task's, which Firemain itself has; the execution role, by which ECS
# starts it; and that by which CloudWatch Logs puts onto the stream.
#
# `actions` is all that the code calls (docs/configuration.md, AWS): tests/compare.py compares the two.
locals {
  actions = {
    stream   = ["kinesis:DescribeStreamSummary", "kinesis:ListShards"]
    polling  = ["kinesis:GetRecords", "kinesis:GetShardIterator"]
    consumer = ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"]
    list     = ["s3:ListBucket"]
    # Packs are put in parts when they are large, as objects of tables are.
    state   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    publish = ["s3:AbortMultipartUpload", "s3:PutObject"]
    catalog = ["glue:BatchCreatePartition", "glue:GetTable"]
    decrypt = ["kms:Decrypt"]
    # S3 calls both for a put in parts.
    encrypt = ["kms:Decrypt", "kms:GenerateDataKey"]

    # Of the commands that an operator runs with the role of the task, beside what the service has.
    check_objects = ["s3:DeleteObject", "s3:GetObject"]
    check_bucket = [
      "s3:GetBucketLocation",
      "s3:GetBucketOwnershipControls",
      "s3:GetBucketPublicAccessBlock",
      "s3:GetBucketVersioning",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
    ]
    check_catalog = ["glue:GetDatabase"]
    verify        = ["s3:GetObject"]
    replay        = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
  }

  glue_arn         = "arn:${local.partition}:glue:${local.region}:${local.account_id}"
  registers        = var.partitions == "registered"
  glue_tables_arns = [for name in sort(concat(keys(local.table_schemas), ["errors"])) : "${local.glue_arn}:table/${var.glue_database_name}/${name}"]

  # The folders of the lake that rows come into.
  row_prefixes = [for name in sort(concat(keys(local.table_schemas), ["errors"])) : "${var.prefix}/${name}"]

  commands   = var.operator_commands
  may_status = contains(local.commands, "status")
  may_check  = contains(local.commands, "check")
  may_verify = contains(local.commands, "verify")
  may_replay = contains(local.commands, "replay")

  # verify lists all of the lake, replay the error prefix; the service and check only the state.
  listed_prefixes = concat(
    ["${local.state_prefix}/*", "${var.prefix}/_firemain/"],
    local.may_verify ? ["${var.prefix}/*"] : [],
    local.may_replay ? ["${local.errors_prefix}/*", "${var.prefix}/replayed/*", "${var.prefix}/_firemain/.replay/*"] : [],
  )

  service_statements = concat(
    [
      {
        Sid      = "Stream"
        Effect   = "Allow"
        Action   = concat(local.actions.stream, var.fan_out && !local.may_status ? [] : local.actions.polling)
        Resource = [local.stream_arn]
      },
    ],
    var.fan_out ? [
      {
        Sid      = "Consumer"
        Effect   = "Allow"
        Action   = local.actions.consumer
        Resource = [aws_kinesis_stream_consumer.this[0].arn]
      },
    ] : [],
    [
      {
        Sid      = "ListState"
        Effect   = "Allow"
        Action   = local.actions.list
        Resource = [local.bucket_arn]
        # IfExists lets it list the names in the bucket where it asks without a prefix. A get of an object that is gone has none either, and without leave to list it would be answered by 403,
        # which means a refusal, in place of 404, which means that another worker was faster.
        Condition = { StringLikeIfExists = { "s3:prefix" = local.listed_prefixes } }
      },
      {
        Sid      = "State"
        Effect   = "Allow"
        Action   = local.actions.state
        Resource = ["${local.bucket_arn}/${local.state_prefix}/*"]
      },
      {
        # Neither read nor deleted: who has this role can't take a row out of the lake, nor see one.
        Sid      = "Publish"
        Effect   = "Allow"
        Action   = local.actions.publish
        Resource = [for prefix in local.row_prefixes : "${local.bucket_arn}/${prefix}/*"]
      },
    ],
    local.registers ? [
      {
        Sid      = "Catalog"
        Effect   = "Allow"
        Action   = local.actions.catalog
        Resource = concat(["${local.glue_arn}:catalog", "${local.glue_arn}:database/${var.glue_database_name}"], local.glue_tables_arns)
      },
    ] : [],
    length(local.stream_key_arns) == 0 ? [] : [
      {
        Sid       = "StreamKey"
        Effect    = "Allow"
        Action    = local.actions.decrypt
        Resource  = local.stream_key_arns
        Condition = { StringEquals = { "kms:ViaService" = "kinesis.${local.region}.${local.dns_suffix}" } }
      },
    ],
    length(local.bucket_key_arns) == 0 ? [] : [
      {
        Sid       = "BucketKey"
        Effect    = "Allow"
        Action    = local.actions.encrypt
        Resource  = local.bucket_key_arns
        Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" } }
      },
    ],
  )

  # Nobody has to allow sts:GetCallerIdentity, which check asks too.
  operator_statements = concat(
    local.may_check ? [
      {
        # Its probes alone, which it deletes again.
        Sid      = "CheckProbes"
        Effect   = "Allow"
        Action   = local.actions.check_objects
        Resource = [for prefix in local.row_prefixes : "${local.bucket_arn}/${prefix}/.check-*"]
      },
      {
        Sid      = "CheckBucket"
        Effect   = "Allow"
        Action   = local.actions.check_bucket
        Resource = [local.bucket_arn]
      },
    ] : [],
    local.may_check && local.registers ? [
      {
        Sid      = "CheckCatalog"
        Effect   = "Allow"
        Action   = local.actions.check_catalog
        Resource = ["${local.glue_arn}:catalog", "${local.glue_arn}:database/${var.glue_database_name}"]
      },
    ] : [],
    local.may_verify ? [
      {
        Sid      = "VerifyReads"
        Effect   = "Allow"
        Action   = local.actions.verify
        Resource = ["${local.bucket_arn}/${var.prefix}/*"]
      },
    ] : [],
    local.may_replay ? [
      {
        Sid    = "ReplayMoves"
        Effect = "Allow"
        Action = local.actions.replay
        Resource = [
          for prefix in [local.errors_prefix, "${var.prefix}/replayed", "${var.prefix}/_firemain/.replay"] : "${local.bucket_arn}/${prefix}/*"
        ]
      },
    ] : [],
  )

  task_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.service_statements, local.operator_statements)
  })

  # Of this account's own, so that nobody elsewhere can have the service act with the role: the confused deputy.
  assumed_by_ecs = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = "ecs-tasks.amazonaws.com" }
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account_id}:*" }
        }
      },
    ]
  })
}

resource "aws_iam_role" "task" {
  name                 = "${var.name}-task-${local.region}"
  description          = "Firemain ${var.name}: the service itself"
  assume_role_policy   = local.assumed_by_ecs
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "firemain"
  role   = aws_iam_role.task.id
  policy = local.task_policy
}

locals {
  # REGISTRY/REPOSITORY:TAG or @DIGEST; of ECR: ACCOUNT.dkr.ecr.REGION.SUFFIX
  ecr = try(regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<repository>[^:@]+)", var.image), null)

  execution_statements = concat(
    [
      {
        Sid      = "OwnLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:log-stream:*"]
      },
    ],
    local.ecr == null ? [] : [
      {
        Sid      = "Image"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = ["arn:${local.partition}:ecr:${local.ecr.region}:${local.ecr.account}:repository/${local.ecr.repository}"]
      },
      {
        # It has no resource: a token is of the whole registry.
        Sid      = "Registry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
    ],
    local.has_hash_key ? [
      {
        Sid      = "HashKey"
        Effect   = "Allow"
        Action   = [local.hash_key_action]
        Resource = [local.hash_key_arn]
      },
    ] : [],
    var.mask_hash_key_kms_key_arn == null ? [] : [
      {
        Sid       = "HashKeysKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.mask_hash_key_kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "${local.hash_key_service}.${local.region}.${local.dns_suffix}" } }
      },
    ],
  )
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution-${local.region}"
  description          = "Firemain ${var.name}: by which ECS starts its tasks"
  assume_role_policy   = local.assumed_by_ecs
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution_statements })
}

locals {
  subscribes = length(var.log_groups) > 0 || var.subscribe_account
}

resource "aws_iam_role" "logs" {
  count = local.subscribes ? 1 : 0

  name                 = "${var.name}-logs-${local.region}"
  description          = "Firemain ${var.name}: by which CloudWatch Logs puts onto the stream"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = "logs.${local.dns_suffix}" }
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          # As CloudWatch Logs says it, of one log group and of the whole account.
          StringLike = { "aws:SourceArn" = "arn:${local.partition}:logs:${local.region}:${local.account_id}:*" }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "logs" {
  count = local.subscribes ? 1 : 0

  name = "put"
  role = aws_iam_role.logs[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Put"
          Effect   = "Allow"
          Action   = ["kinesis:PutRecord", "kinesis:PutRecords"]
          Resource = [local.stream_arn]
        },
      ],
      length(local.stream_key_arns) == 0 ? [] : [
        {
          Sid       = "StreamKey"
          Effect    = "Allow"
          Action    = ["kms:GenerateDataKey"]
          Resource  = local.stream_key_arns
          Condition = { StringEquals = { "kms:ViaService" = "kinesis.${local.region}.${local.dns_suffix}" } }
        },
      ],
    )
  })
}
