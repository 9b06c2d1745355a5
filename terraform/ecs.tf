locals {
  cluster_arn = var.create_cluster ? aws_ecs_cluster.this[0].arn : var.cluster_arn
  # arn:…:cluster/NAME
  cluster_name = var.create_cluster ? aws_ecs_cluster.this[0].name : element(split("/", coalesce(var.cluster_arn, "/")), 1)

  # Inline tables of TOML; its basic strings are those of JSON.
  table_rules = [
    for rule in var.tables : join(", ", compact([
      "schema = ${jsonencode(rule.schema)}",
      "log_groups = ${jsonencode(rule.log_groups)}",
      rule.name == null ? "" : "name = ${jsonencode(rule.name)}",
      rule.on_mismatch == null ? "" : "on_mismatch = ${jsonencode(rule.on_mismatch)}",
      rule.fields == null ? "" : "fields = ${jsonencode(rule.fields)}",
    ]))
  ]

  # docs/configuration.md; what is not here has its default.
  settings = { for name, value in {
    AWS_REGION                             = local.region
    FIREMAIN_GROUP                         = local.group
    FIREMAIN_DESTINATION                   = local.destination
    FIREMAIN_SHUTDOWN_TIMEOUT              = "110s"
    FIREMAIN_SCHEMAS_DIR                   = var.image_schemas_dir
    FIREMAIN_SOURCE__KINESIS__STREAM       = local.stream_arn
    FIREMAIN_SOURCE__KINESIS__START        = var.start
    FIREMAIN_SOURCE__KINESIS__MODE         = var.fan_out ? "fan_out" : "polling"
    FIREMAIN_SOURCE__KINESIS__CONSUMER_ARN = var.fan_out ? aws_kinesis_stream_consumer.this[0].arn : null
    FIREMAIN_FLUSH__INTERVAL               = "${var.flush_interval_seconds}s"
    FIREMAIN_FLUSH__BUFFER_BYTES           = "${var.buffer_mebibytes}MiB"
    FIREMAIN_FORMAT__KIND                  = var.format
    FIREMAIN_TABLE                         = length(var.tables) == 0 ? null : "[${join(", ", [for rule in local.table_rules : "{${rule}}"])}]"
    FIREMAIN_MASK__FIELDS                  = length(var.mask_fields) == 0 ? null : jsonencode(var.mask_fields)
    FIREMAIN_MASK__PATTERNS                = length(var.mask_patterns) == 0 ? null : jsonencode(var.mask_patterns)
    FIREMAIN_MASK__REGEXES                 = length(var.mask_regexes) == 0 ? null : jsonencode(var.mask_regexes)
    FIREMAIN_CATALOG__GLUE__DATABASE       = local.registers ? var.glue_database_name : null
    FIREMAIN_HTTP__LISTEN                  = "127.0.0.1:9464"
    FIREMAIN_METRICS__EMF                  = "on"
  } : name => value if value != null }

  # Where the Dockerfile puts it.
  program = "/usr/local/bin/firemain"

  container = {
    name      = "firemain"
    image     = var.image
    essential = true

    # As the image has it: said here, so that another image can't mean something else.
    entryPoint = [local.program]
    command    = ["run", "--log-format", "json"]

    environment = [for name, value in merge(local.settings, var.environment) : { name = name, value = value }]
    secrets     = local.container_secrets

    readonlyRootFilesystem = true
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters        = { capabilities = { add = [], drop = ["ALL"] } }

    # The most that Fargate gives. Of these 110 are for what is buffered.
    stopTimeout = 120

    # The status page is on the task's own loopback: nothing listens outside.
    healthCheck = {
      command     = ["CMD", local.program, "health"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 60
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "firemain"
        # Blocking would make delivery wait for CloudWatch Logs; non-blocking loses lines past the buffer.
        mode            = "non-blocking"
        max-buffer-size = "10m"
      }
    }
  }
}

locals {
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
  fargate_memory = {
    256   = { least = 512, most = 2048 }
    512   = { least = 1024, most = 4096 }
    1024  = { least = 2048, most = 8192 }
    2048  = { least = 4096, most = 16384 }
    4096  = { least = 8192, most = 30720 }
    8192  = { least = 16384, most = 61440 }
    16384 = { least = 32768, most = 122880 }
  }
}

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65:Container Insights costs by the task; the alarms here need none of it. container_insights turns it on
  count = var.create_cluster ? 1 : 0

  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }

  tags = var.tags
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode([local.container])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # The only place that can be written to, on the task's ephemeral disk; the image makes it its user's (VOLUME).
  volume {
    name = "scratch"
  }

  tags = var.tags

  lifecycle {
    precondition {
      condition     = var.buffer_mebibytes + 200 <= var.task_memory
      error_message = "A worker takes up to 200 MiB beyond buffer_mebibytes: give task_memory more, or buffer_mebibytes less."
    }
    precondition {
      condition = (
        contains(keys(local.fargate_memory), tostring(var.task_cpu)) &&
        var.task_memory >= local.fargate_memory[var.task_cpu].least && var.task_memory <= local.fargate_memory[var.task_cpu].most
      )
      error_message = "Fargate takes task_memory from ${local.fargate_memory[var.task_cpu].least} to ${local.fargate_memory[var.task_cpu].most} with a task_cpu of ${var.task_cpu}."
    }
    precondition {
      condition     = (var.image_schemas_dir == null) == (var.schemas_dir == null)
      error_message = "Schemas of your own are said twice: schemas_dir is the folder here, image_schemas_dir that in the image."
    }
    precondition {
      condition     = var.create_stream || var.stream_arn != null
      error_message = "create_stream is false: give stream_arn."
    }
    precondition {
      condition     = var.create_bucket || var.bucket_name != null
      error_message = "create_bucket is false: give bucket_name."
    }
    precondition {
      condition     = var.create_cluster || var.cluster_arn != null
      error_message = "create_cluster is false: give cluster_arn."
    }
    precondition {
      condition     = !(var.create_kms_key && var.kms_key_arn != null)
      error_message = "kms_key_arn has no use while create_kms_key is true: set that to false."
    }
  }
}

resource "aws_ecs_service" "this" {
  name             = var.name
  cluster          = local.cluster_arn
  task_definition  = aws_ecs_task_definition.this.arn
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  desired_count    = var.min_tasks
  propagate_tags   = "SERVICE"

  # A zone that comes back gets its share of the workers again.
  availability_zone_rebalancing = "ENABLED"

  # New workers start beside the old ones and share the shards with them, each owned by one: so there are never none.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  wait_for_steady_state              = var.wait_for_steady_state

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.task.id]
    assign_public_ip = var.assign_public_ip
  }

  tags = var.tags

  lifecycle {
    # Autoscaling's.
    ignore_changes = [desired_count]

    precondition {
      condition     = var.min_tasks <= var.max_tasks
      error_message = "min_tasks is larger than max_tasks."
    }
    # To the provider a deployment that was rolled back has gone well.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.this.arn
      error_message = "The deployment was rolled back: its tasks did not get well. Why is in their logs, and in the log group of stopped tasks."
    }
  }

  # A worker that may not yet, or reaches nothing yet, ends; and its way out stays until the last one has committed.
  depends_on = [
    aws_iam_role_policy.task,
    aws_iam_role_policy.execution,
    aws_vpc_endpoint.s3,
    aws_vpc_endpoint.interface,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.s3,
    aws_vpc_security_group_egress_rule.endpoints,
    aws_vpc_security_group_ingress_rule.endpoints,
  ]
}
