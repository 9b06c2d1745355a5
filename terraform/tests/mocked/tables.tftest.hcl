# Rules, tables and queries.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image      = "ghcr.io/firemain/firemain@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  vpc_id     = "vpc-0a1b2c3d"
  subnet_ids = ["subnet-0a1b2c3d"]
  tables = [
    { schema = "apache_access", log_groups = ["/ecs/web/*"] },
    { schema = "apache_access", log_groups = ["/ecs/shop/*"] },
    { schema = "alb_access", log_groups = ["/alb/*"] },
    { schema = "app_json", log_groups = ["/app/*"], on_mismatch = "log_events" },
    { schema = "cloudtrail", log_groups = ["/trail"] },
    { schema = "lambda_platform", log_groups = ["/aws/lambda/*"], on_mismatch = "log_events" },
    { schema = "lambda_platform_json", log_groups = ["/json/*"] },
    { schema = "vpc_flow", log_groups = ["/vpc/egress"], name = "vpc_flow_egress", fields = ["version", "log-status"] },
  ]
}

run "registered" {
  assert {
    condition     = length(aws_glue_catalog_table.this) == 9
    error_message = "a table for each that rules name, log_events and errors"
  }
  assert {
    condition = alltrue([
      for name, table in aws_glue_catalog_table.this : table.storage_descriptor[0].location == "s3://firemain-123456789012-eu-west-1/logs/${name}/"
    ])
    error_message = "each in its folder"
  }
  assert {
    condition     = aws_glue_catalog_table.this["vpc_flow_egress"].parameters["firemain.schema"] == "vpc_flow"
    error_message = "a table by another name than its schema's"
  }
  assert {
    condition     = { for each in one(jsondecode(aws_ecs_task_definition.this.container_definitions)).environment : each.name => each.value }["FIREMAIN_TABLE"] == "[{schema = \"apache_access\", log_groups = [\"/ecs/web/*\"]}, {schema = \"apache_access\", log_groups = [\"/ecs/shop/*\"]}, {schema = \"alb_access\", log_groups = [\"/alb/*\"]}, {schema = \"app_json\", log_groups = [\"/app/*\"], on_mismatch = \"log_events\"}, {schema = \"cloudtrail\", log_groups = [\"/trail\"]}, {schema = \"lambda_platform\", log_groups = [\"/aws/lambda/*\"], on_mismatch = \"log_events\"}, {schema = \"lambda_platform_json\", log_groups = [\"/json/*\"]}, {schema = \"vpc_flow\", log_groups = [\"/vpc/egress\"], name = \"vpc_flow_egress\", fields = [\"version\",\"log-status\"]}]"
    error_message = "rules in their order, as TOML"
  }
  assert {
    condition     = length([for name in keys(aws_athena_named_query.this) : name if startswith(name, "slowest-requests-")]) == 5
    error_message = "slowest requests of each table that knows how long they took"
  }
}

run "projected" {
  variables {
    partitions      = "projected"
    projection_days = 7
    log_groups      = { "/ecs/web/a" = {} }
  }

  assert {
    condition     = aws_glue_catalog_table.this["log_events"].parameters["projection.log_group.type"] == "injected" && aws_glue_catalog_table.this["log_events"].parameters["projection.dt.range"] == "NOW-7DAYS,NOW+1DAYS"
    error_message = "log groups by name, seven days"
  }
  assert {
    condition     = aws_glue_catalog_table.this["errors"].parameters["projection.error.type"] == "enum" && !can(aws_glue_catalog_table.this["errors"].parameters["projection.log_group.type"])
    error_message = "rejections by code"
  }
  assert {
    condition     = !anytrue([for each in one(jsondecode(aws_ecs_task_definition.this.container_definitions)).environment : each.name == "FIREMAIN_CATALOG__GLUE__DATABASE"])
    error_message = "nothing is registered"
  }
  assert {
    condition     = !anytrue([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : anytrue([for action in statement.Action : startswith(action, "glue:")])])
    error_message = "so that nothing of Glue is allowed"
  }
  assert {
    condition     = alltrue([for name, query in aws_athena_named_query.this : name == "rejections-by-code" || strcontains(query.query, "log_group IN ('/ecs/web/a')")])
    error_message = "queries name their log groups"
  }
}

run "json_and_lifecycle" {
  variables {
    format                 = "json"
    tiering_days           = 30
    expiration_days        = 400
    errors_expiration_days = null
  }

  assert {
    condition     = alltrue([for table in aws_glue_catalog_table.this : one(one(table.storage_descriptor).ser_de_info).serialization_library == "org.openx.data.jsonserde.JsonSerDe"])
    error_message = "JSON everywhere"
  }
  assert {
    condition     = toset([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : one(rule.filter).prefix if length(rule.transition) > 0]) == toset([for name in keys(aws_glue_catalog_table.this) : "logs/${name}/" if name != "errors"])
    error_message = "each table's rows are moved, and nothing else"
  }
  assert {
    condition = toset([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : one(rule.filter).prefix if length(rule.expiration) > 0]) == toset(
      concat(["athena-results/"], [for name in keys(aws_glue_catalog_table.this) : "logs/${name}/" if name != "errors"])
    )
    error_message = "rows expire, and nothing of the state"
  }
}
