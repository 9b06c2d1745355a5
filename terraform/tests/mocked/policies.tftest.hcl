# Least rights: no wildcard where an action or a resource can be named, and exactly the actions that the code calls.
# tests/compare.py holds these against the source too.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image      = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/firemain:0.1.0"
  vpc_id     = "vpc-0a1b2c3d"
  subnet_ids = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
}

run "least" {
  command = apply

  variables {
    log_groups = { "/ecs/web" = {} }
  }

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
    ]))
    error_message = "an action of the task's role has a wildcard"
  }
  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : [
        for resource in statement.Resource : can(regex("^arn:aws:[a-z0-9]+:[a-z0-9-]*:[0-9]*:[^*]{3,}", resource)) && (
          # Only of objects, whose names come with the logs, below a folder that is named.
          !strcontains(resource, "*") || can(regex("^arn:aws:s3:::[a-z0-9-]+/logs/[^*]+/\\*$", resource))
        )
      ]
    ]))
    error_message = "a resource of the task's role is open"
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Effect == "Allow" && !can(statement.NotAction) && !can(statement.NotResource)])
    error_message = "only what is allowed is said"
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Action])) == toset([
      "kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords",
      "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
      "glue:GetTable", "glue:BatchCreatePartition", "kms:Decrypt", "kms:GenerateDataKey",
    ])
    error_message = "exactly the actions of docs/configuration.md, AWS"
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement :
      !contains(statement.Action, "s3:DeleteObject") && !contains(statement.Action, "s3:GetObject") ||
      statement.Resource == ["arn:aws:s3:::firemain-123456789012-eu-west-1/logs/_firemain/firemain/*"]
    ])
    error_message = "the service reads and deletes in its own state alone"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Condition.StringLikeIfExists["s3:prefix"] if contains(statement.Action, "s3:ListBucket")] == [
      ["logs/_firemain/firemain/*", "logs/_firemain/"],
    ]
    error_message = "it lists its own state alone, where it says what"
  }
  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : [
        for resource in statement.Resource : resource != "*" || statement.Action == ["ecr:GetAuthorizationToken"]
      ]
    ]))
    error_message = "of the execution role only the registry's token has no resource"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource[0] if statement.Sid == "Image"] == ["arn:aws:ecr:eu-west-1:123456789012:repository/firemain"]
    error_message = "the image's repository"
  }
  assert {
    condition = alltrue([
      for role in [aws_iam_role.task, aws_iam_role.execution] : jsondecode(role.assume_role_policy).Statement == [{
        Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" }
        Condition = {
          StringEquals = { "aws:SourceAccount" = "123456789012" }
          ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-west-1:123456789012:*" }
        }
      }]
    ])
    error_message = "only ECS of this account has the roles"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Condition.StringEquals["kms:ViaService"] if startswith(statement.Action[0], "kms:")] == [
      "kinesis.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com",
    ]
    error_message = "keys are used by Kinesis and S3 alone"
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Action])) == toset([
      "logs:CreateLogStream", "logs:PutLogEvents", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
      "ecr:GetAuthorizationToken",
    ])
    error_message = "the execution role starts tasks, and does nothing else"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.logs[0].policy).Statement == [
      {
        Sid      = "Put", Effect = "Allow", Action = ["kinesis:PutRecord", "kinesis:PutRecords"]
        Resource = ["arn:aws:kinesis:eu-west-1:123456789012:stream/firemain"]
      },
      {
        Sid       = "StreamKey", Effect = "Allow", Action = ["kms:GenerateDataKey"]
        Resource  = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
        Condition = { StringEquals = { "kms:ViaService" = "kinesis.eu-west-1.amazonaws.com" } }
      },
    ]
    error_message = "CloudWatch Logs puts onto this stream, with its key, and does nothing else"
  }
  assert {
    condition = [for statement in jsondecode(aws_kms_key.this[0].policy).Statement : jsonencode([statement.Principal, try(statement.Condition, null)])] == [
      jsonencode([{ AWS = "arn:aws:iam::123456789012:root" }, null]),
      jsonencode([{ Service = "logs.eu-west-1.amazonaws.com" }, {
        ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = [
          "arn:aws:logs:eu-west-1:123456789012:log-group:/firemain/firemain",
          "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/events/firemain-stopped-tasks",
        ] }
      }]),
      jsonencode([{ Service = "cloudwatch.amazonaws.com" }, { StringEquals = { "aws:SourceAccount" = "123456789012" } }]),
    ]
    error_message = "the key is the account's, of its own log groups and of alarms"
  }
}

run "all" {
  command = apply

  variables {
    subscribe_account  = true
    log_groups         = { "/ecs/web" = {} }
    exclude_log_groups = ["/aws/codebuild/chatter"]
    fan_out            = true
    operator_commands  = ["status", "check", "verify", "replay"]
    mask_hash_key_arn  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:firemain/mask-AbCdEf:key::"
    tables             = [{ schema = "apache_access", log_groups = ["/ecs/*"], name = "web" }]
  }

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : concat(
        [for action in statement.Action : !strcontains(action, "*")],
        [for resource in statement.Resource : !strcontains(resource, "*") || can(regex("^arn:aws:s3:::[a-z0-9-]+/logs/", resource))],
      )
    ]))
    error_message = "no wildcard but of objects of the lake"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement if statement.Sid == "Consumer"] == [{
      Sid      = "Consumer", Effect = "Allow", Action = ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"]
      Resource = ["arn:aws:kinesis:eu-west-1:123456789012:stream/firemain/consumer/firemain:1711083600"]
    }]
    error_message = "fan-out as one consumer"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Action if statement.Sid == "Stream"] == [["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetRecords", "kinesis:GetShardIterator"]]
    error_message = "who is pushed to polls for status alone"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : join(" ", statement.Resource) if statement.Sid == "Catalog"] == [join(" ", [
      "arn:aws:glue:eu-west-1:123456789012:catalog", "arn:aws:glue:eu-west-1:123456789012:database/logs",
      "arn:aws:glue:eu-west-1:123456789012:table/logs/errors", "arn:aws:glue:eu-west-1:123456789012:table/logs/log_events",
      "arn:aws:glue:eu-west-1:123456789012:table/logs/web",
    ])]
    error_message = "the tables by their names"
  }
  assert {
    condition     = aws_cloudwatch_log_account_policy.this[0].selection_criteria == "LogGroupName NOT IN [\"/firemain/firemain\",\"/aws/events/firemain-stopped-tasks\",\"/ecs/web\",\"/aws/codebuild/chatter\"]"
    error_message = "Firemain does not feed on itself, and nothing comes twice"
  }
  assert {
    condition     = jsondecode(aws_cloudwatch_log_account_policy.this[0].policy_document).Distribution == "Random"
    error_message = "spread at random"
  }
  assert {
    condition     = one(one(jsondecode(aws_ecs_task_definition.this.container_definitions)).secrets) == { name = "FIREMAIN_MASK__HASH_KEY", valueFrom = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:firemain/mask-AbCdEf:key::" }
    error_message = "the key comes out of its store"
  }
  assert {
    condition     = !anytrue([for each in one(jsondecode(aws_ecs_task_definition.this.container_definitions)).environment : strcontains(each.name, "HASH_KEY")])
    error_message = "and is not in the plain environment"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if statement.Sid == "HashKey"] == [["arn:aws:secretsmanager:eu-west-1:123456789012:secret:firemain/mask-AbCdEf"]]
    error_message = "the secret without the member of its JSON"
  }
}

run "pushed" {
  variables {
    fan_out = true
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Action if statement.Sid == "Stream"] == [["kinesis:DescribeStreamSummary", "kinesis:ListShards"]]
    error_message = "who is pushed to does not poll"
  }
}

run "existing" {
  variables {
    create_stream      = false
    stream_arn         = "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs"
    stream_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/stream"
    create_bucket      = false
    bucket_name        = "my-lake"
    create_cluster     = false
    cluster_arn        = "arn:aws:ecs:eu-west-1:123456789012:cluster/shared"
    create_kms_key     = false
    mask_hash_key_arn  = "arn:aws:ssm:eu-west-1:123456789012:parameter/firemain/mask"
  }

  assert {
    condition     = length(aws_kinesis_stream.this) + length(aws_s3_bucket.this) + length(aws_ecs_cluster.this) + length(aws_kms_key.this) + length(aws_iam_role.logs) == 0
    error_message = "nothing is made that is there"
  }
  assert {
    condition     = output.stream_name == "app-logs" && output.destination == "s3://my-lake/logs" && output.cluster_name == "shared"
    error_message = "what is there is used"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Resource if startswith(statement.Action[0], "kms:")] == [["arn:aws:kms:eu-west-1:123456789012:key/stream"]]
    error_message = "of keys only that of the stream"
  }
  assert {
    condition     = aws_appautoscaling_target.this.resource_id == "service/shared/firemain"
    error_message = "the service of the cluster that is there"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Action if statement.Sid == "HashKey"] == [["ssm:GetParameters"]]
    error_message = "a parameter is read by SSM's action"
  }
}
