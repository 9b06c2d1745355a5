# What is made when little is said.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image      = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/firemain:0.1.0"
  vpc_id     = "vpc-0a1b2c3d"
  subnet_ids = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
  log_groups = { "/ecs/web" = { filter_pattern = "?error" } }
}

run "stream_and_subscription" {
  assert {
    condition     = aws_kinesis_stream.this[0].stream_mode_details[0].stream_mode == "ON_DEMAND" && aws_kinesis_stream.this[0].encryption_type == "KMS" && aws_kinesis_stream.this[0].retention_period == 72
    error_message = "an on-demand stream, encrypted, that keeps records for three days"
  }
  assert {
    condition     = aws_kinesis_stream.this[0].kms_key_id == aws_kms_key.this[0].arn && aws_kms_key.this[0].enable_key_rotation
    error_message = "the stream has the key that is made"
  }
  assert {
    condition     = aws_cloudwatch_log_subscription_filter.this["/ecs/web"].distribution == "Random" && aws_cloudwatch_log_subscription_filter.this["/ecs/web"].filter_pattern == "?error"
    error_message = "subscriptions are spread at random, and filter"
  }
  assert {
    condition     = length(aws_cloudwatch_log_account_policy.this) == 0 && length(aws_cloudwatch_log_group.subscribed) == 0 && length(aws_kinesis_stream_consumer.this) == 0
    error_message = "nothing is made that was not asked for"
  }
  assert {
    condition = alltrue([
      for condition in [jsondecode(aws_iam_role.logs[0].assume_role_policy).Statement[0].Condition] :
      condition.StringEquals["aws:SourceAccount"] == "123456789012" &&
      condition.StringLike["aws:SourceArn"] == "arn:aws:logs:eu-west-1:123456789012:*"
    ])
    error_message = "CloudWatch Logs has the role for this account alone"
  }
}

run "bucket" {
  assert {
    condition     = aws_s3_bucket.this[0].bucket == "firemain-123456789012-eu-west-1" && !aws_s3_bucket.this[0].force_destroy
    error_message = "a bucket of its own, that is not deleted with its logs"
  }
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls, aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls, aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "all four blocks of public access"
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled && one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "encrypted with a key, and a bucket key"
  }
  assert {
    condition     = aws_s3_bucket_ownership_controls.this[0].rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs are off"
  }
  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Disabled"
    error_message = "versioning is off"
  }
  assert {
    condition = [for statement in jsondecode(aws_s3_bucket_policy.this[0].policy).Statement : jsonencode([statement.Effect, statement.Principal, statement.Action, statement.Condition])] == [
      jsonencode(["Deny", "*", "s3:*", { Bool = { "aws:SecureTransport" = "false" } }]),
      jsonencode(["Deny", "*", "s3:*", { NumericLessThan = { "s3:TlsVersion" = "1.2" } }]),
    ]
    error_message = "only TLS; the policy allows nobody anything"
  }
  assert {
    condition = toset([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : coalesce(try(one(rule.filter).prefix, null), "all of the bucket")
      if length(rule.expiration) + length(rule.transition) > 0
    ]) == toset(["athena-results/", "logs/errors/", "logs/replayed/"])
    error_message = "only results, rejections and what was replayed expire: a group whose state is gone delivers twice"
  }
  assert {
    condition     = anytrue([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : try(rule.abort_incomplete_multipart_upload[0].days_after_initiation == 1, false)])
    error_message = "incomplete uploads go after a day"
  }
}

run "tasks" {
  assert {
    condition = jsonencode({ for key, value in one(jsondecode(aws_ecs_task_definition.this.container_definitions)) : key => value if key != "environment" }) == jsonencode({
      name                   = "firemain"
      image                  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/firemain:0.1.0"
      essential              = true
      entryPoint             = ["/usr/local/bin/firemain"]
      command                = ["run", "--log-format", "json"]
      secrets                = []
      readonlyRootFilesystem = true
      mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
      linuxParameters        = { capabilities = { add = [], drop = ["ALL"] } }
      stopTimeout            = 120
      healthCheck = {
        command  = ["CMD", "/usr/local/bin/firemain", "health"]
        interval = 30, timeout = 10, retries = 3, startPeriod = 60
      }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group = "/firemain/firemain", awslogs-region = "eu-west-1", awslogs-stream-prefix = "firemain"
          mode          = "non-blocking", max-buffer-size = "10m"
        }
      }
    })
    error_message = "a container that writes to scratch alone, has no port, is asked for its health, and has as long to stop as Fargate gives"
  }
  assert {
    condition = { for each in one(jsondecode(aws_ecs_task_definition.this.container_definitions)).environment : each.name => each.value } == {
      AWS_REGION                       = "eu-west-1"
      FIREMAIN_CATALOG__GLUE__DATABASE = "logs"
      FIREMAIN_DESTINATION             = "s3://firemain-123456789012-eu-west-1/logs"
      FIREMAIN_FLUSH__BUFFER_BYTES     = "512MiB"
      FIREMAIN_FLUSH__INTERVAL         = "300s"
      FIREMAIN_FORMAT__KIND            = "parquet"
      FIREMAIN_GROUP                   = "firemain"
      FIREMAIN_HTTP__LISTEN            = "127.0.0.1:9464"
      FIREMAIN_METRICS__EMF            = "on"
      FIREMAIN_SHUTDOWN_TIMEOUT        = "110s"
      FIREMAIN_SOURCE__KINESIS__MODE   = "polling"
      FIREMAIN_SOURCE__KINESIS__START  = "trim_horizon"
      FIREMAIN_SOURCE__KINESIS__STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/firemain"
    }
    error_message = "these settings and no others"
  }
  assert {
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64"
    error_message = "ARM64"
  }
  assert {
    condition = (
      aws_ecs_service.this.desired_count == 1 && aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200 &&
      aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    )
    error_message = "never without workers; a bad deployment is rolled back"
  }
  assert {
    condition     = aws_appautoscaling_target.this.min_capacity == 1 && aws_appautoscaling_target.this.max_capacity == 4
    error_message = "one to four workers"
  }
  assert {
    condition = (
      one(aws_appautoscaling_policy.lag.target_tracking_scaling_policy_configuration).target_value == 60000 &&
      one(one(aws_appautoscaling_policy.lag.target_tracking_scaling_policy_configuration).customized_metric_specification).statistic == "Maximum"
    )
    error_message = "the shard that is furthest behind counts, and a minute is too far"
  }
  assert {
    condition     = length(aws_security_group.task.ingress) == 0 && length(aws_vpc_security_group_ingress_rule.endpoints) == 0
    error_message = "nothing comes in"
  }
}

run "catalogue_and_alarms" {
  assert {
    condition     = toset(keys(aws_glue_catalog_table.this)) == toset(["errors", "log_events"])
    error_message = "two tables"
  }
  assert {
    condition     = !anytrue([for table in aws_glue_catalog_table.this : can(table.parameters["projection.enabled"])])
    error_message = "registered tables project nothing"
  }
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 107374182400 && aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration
    error_message = "a limit of 100 GiB that nobody leads around"
  }
  assert {
    condition     = one(one(aws_athena_workgroup.this.configuration[0].result_configuration).encryption_configuration).encryption_option == "SSE_KMS"
    error_message = "results have the bucket's key"
  }
  assert {
    condition     = toset(keys(aws_athena_named_query.this)) == toset(["delivery-delay", "errors-by-group", "one-request", "rejections-by-code", "slowest-requests-log-events", "top-talkers"])
    error_message = "six queries"
  }
}
