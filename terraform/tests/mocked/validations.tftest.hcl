# What must be refused, while planning.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image      = "ghcr.io/firemain/firemain:0.1.0"
  vpc_id     = "vpc-0a1b2c3d"
  subnet_ids = ["subnet-0a1b2c3d"]
}

# Each of these values is wrong, and has to be told: one that is taken fails the run.
run "values_that_are_wrong" {
  command = plan

  variables {
    name                           = "Firemain_"
    group                          = ".hidden"
    tags                           = { "aws:x" = "y" }
    image                          = "firemain:latest"
    cpu_architecture               = "arm"
    stream_name                    = "a b"
    stream_arn                     = "app-logs"
    stream_kms_key_arn             = "alias/x"
    stream_mode                    = "on-demand"
    shard_count                    = 0
    stream_retention_hours         = 23
    start                          = "yesterday"
    log_groups                     = { "/firemain/firemain" = {} }
    exclude_log_groups             = ["/aws/*"]
    distribution                   = "random"
    bucket_name                    = "My_Lake"
    bucket_kms_key_arn             = "key"
    prefix                         = "logs/"
    tiering_days                   = -1
    tiering_storage_class          = "GLACIER"
    expiration_days                = 0
    errors_expiration_days         = 0
    kms_key_arn                    = "alias/mine"
    kms_deletion_window_days       = 1
    mask_hash_key_arn              = "0123456789abcdef"
    mask_hash_key_kms_key_arn      = "x"
    tables                         = [{ schema = "apache_access", log_groups = [] }]
    schemas_dir                    = "./nowhere"
    image_schemas_dir              = "schemas"
    mask_fields                    = [""]
    mask_patterns                  = ["passwords"]
    mask_regexes                   = [""]
    format                         = "orc"
    flush_interval_seconds         = 3601
    buffer_mebibytes               = 0
    environment                    = { PATH = "/" }
    cluster_arn                    = "shared"
    container_insights             = "on"
    task_cpu                       = 1000
    task_memory                    = 1500
    min_tasks                      = 0
    max_tasks                      = 0
    cpu_target_percent             = 100
    lag_target_seconds             = 1
    permissions_boundary_arn       = "x"
    operator_commands              = ["run"]
    vpc_id                         = "mine"
    subnet_ids                     = []
    egress_cidr_blocks             = ["everywhere"]
    vpc_endpoints                  = ["dynamodb"]
    route_table_ids                = ["main"]
    glue_database_name             = "my-logs"
    partitions                     = "both"
    projection_days                = 0
    athena_scan_limit_gibibytes    = 0.5
    athena_results_expiration_days = 0
    log_retention_days             = 2
    alarm_emails                   = ["nobody"]
    alarm_actions                  = ["mail"]
    page_actions                   = ["mail"]
    lag_alarm_seconds              = 1
    retention_alarm_percent        = 100
    rejections_alarm               = -1
    kinesis_errors_alarm           = -1
    pack_backlog_alarm             = 0
    restarts_alarm                 = 0
    account_filter_pattern         = join("", [for n in range(1024) : "xx"])
  }

  expect_failures = [
    var.name,
    var.group,
    var.tags,
    var.image,
    var.cpu_architecture,
    var.stream_name,
    var.stream_arn,
    var.stream_kms_key_arn,
    var.stream_mode,
    var.shard_count,
    var.stream_retention_hours,
    var.start,
    var.log_groups,
    var.exclude_log_groups,
    var.distribution,
    var.bucket_name,
    var.bucket_kms_key_arn,
    var.prefix,
    var.tiering_days,
    var.tiering_storage_class,
    var.expiration_days,
    var.errors_expiration_days,
    var.kms_key_arn,
    var.kms_deletion_window_days,
    var.mask_hash_key_arn,
    var.mask_hash_key_kms_key_arn,
    var.tables,
    var.schemas_dir,
    var.image_schemas_dir,
    var.mask_fields,
    var.mask_patterns,
    var.mask_regexes,
    var.format,
    var.flush_interval_seconds,
    var.buffer_mebibytes,
    var.environment,
    var.cluster_arn,
    var.container_insights,
    var.task_cpu,
    var.task_memory,
    var.min_tasks,
    var.max_tasks,
    var.cpu_target_percent,
    var.lag_target_seconds,
    var.permissions_boundary_arn,
    var.operator_commands,
    var.vpc_id,
    var.subnet_ids,
    var.egress_cidr_blocks,
    var.vpc_endpoints,
    var.route_table_ids,
    var.glue_database_name,
    var.partitions,
    var.projection_days,
    var.athena_scan_limit_gibibytes,
    var.athena_results_expiration_days,
    var.log_retention_days,
    var.alarm_emails,
    var.alarm_actions,
    var.page_actions,
    var.lag_alarm_seconds,
    var.retention_alarm_percent,
    var.rejections_alarm,
    var.kinesis_errors_alarm,
    var.pack_backlog_alarm,
    var.restarts_alarm,
    var.account_filter_pattern,
  ]
}

run "what_else_is_wrong" {
  command = plan

  variables {
    image       = "firemain"
    log_groups  = { "/a" = { retention_days = 8 } }
    prefix      = ""
    tables      = [{ schema = "apache_access", log_groups = ["*"], name = "errors" }]
    environment = { FIREMAIN_MASK__HASH_KEY = "secret" }
  }

  expect_failures = [
    var.image,
    var.log_groups,
    var.prefix,
    var.tables,
    var.environment,
  ]
}

run "what_else_is_wrong_again" {
  command = plan

  variables {
    log_groups  = { "a b" = {} }
    tables      = [{ schema = "apache_access", log_groups = ["*"], on_mismatch = "drop" }]
    environment = { FIREMAIN_GROUP = "other" }
  }

  expect_failures = [
    var.log_groups,
    var.tables,
    var.environment,
  ]
}

run "names_of_two_schemas" {
  command = plan

  variables {
    tables = [{ schema = "apache_access", log_groups = ["a"], name = "x" }, { schema = "vpc_flow", log_groups = ["b"], name = "x" }]
  }

  expect_failures = [
    var.tables,
  ]
}

# What is wrong together.
run "more_workers_than_shards" {
  command = plan

  variables {
    stream_mode = "PROVISIONED"
    shard_count = 2
    max_tasks   = 3
  }

  expect_failures = [aws_kinesis_stream.this]
}

run "a_buffer_larger_than_the_task" {
  command = plan

  variables {
    buffer_mebibytes = 2000
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "no_stream" {
  command = plan

  variables {
    create_stream = false
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "no_bucket" {
  command = plan

  variables {
    create_bucket = false
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "no_cluster" {
  command = plan

  variables {
    create_cluster = false
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "two_keys" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mine"
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "memory_that_fargate_has_not" {
  command = plan

  variables {
    task_cpu    = 256
    task_memory = 16384
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "expired_before_it_is_moved" {
  command = plan

  variables {
    tiering_days    = 60
    expiration_days = 30
  }

  expect_failures = [aws_s3_bucket_lifecycle_configuration.this]
}

run "moved_too_early" {
  command = plan

  variables {
    tiering_days          = 7
    tiering_storage_class = "STANDARD_IA"
  }

  expect_failures = [aws_s3_bucket_lifecycle_configuration.this]
}

run "mails_without_a_topic" {
  command = plan

  variables {
    alarm_emails = ["oncall@example.com"]
  }

  expect_failures = [aws_cloudwatch_metric_alarm.nothing]
}

run "schemas_in_one_place" {
  command = plan

  variables {
    schemas_dir = "../schemas"
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "fewer_at_most_than_at_least" {
  command = plan

  variables {
    min_tasks = 3
    max_tasks = 2
  }

  expect_failures = [aws_ecs_service.this]
}

run "a_gateway_without_routes" {
  command = plan

  variables {
    vpc_endpoints = ["s3"]
  }

  expect_failures = [aws_vpc_endpoint.s3]
}

run "a_schema_that_is_nowhere" {
  command = plan

  variables {
    tables = [{ schema = "nginx", log_groups = ["*"] }]
  }

  expect_failures = [check.schemas]
}
