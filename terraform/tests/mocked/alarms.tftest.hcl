# What is told, when, and to whom.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image        = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/firemain:0.1.0"
  vpc_id       = "vpc-0a1b2c3d"
  subnet_ids   = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
  page_actions = ["arn:aws:sns:eu-west-1:123456789012:page"]
}

run "alarms" {
  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:tell"]
  }

  assert {
    condition     = output.alarm_names == tolist([for name in ["backlog", "freshness", "lag", "loss", "nothing", "rejections", "restarts", "retention", "stream"] : "firemain-${name}"])
    error_message = "all alarms of docs/metrics.md"
  }
  assert {
    condition = {
      for alarm in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.sums), [aws_cloudwatch_metric_alarm.nothing, aws_cloudwatch_metric_alarm.restarts]) :
      trimprefix(alarm.alarm_name, "firemain-") => join(" ", [alarm.comparison_operator, alarm.threshold, alarm.evaluation_periods, alarm.treat_missing_data])
      } == {
      backlog    = "GreaterThanThreshold 10 10 ignore"
      freshness  = "GreaterThanThreshold 900 5 ignore"
      lag        = "GreaterThanThreshold 600000 10 ignore"
      loss       = "GreaterThanThreshold 0 1 notBreaching"
      nothing    = "LessThanThreshold 1 3 breaching"
      rejections = "GreaterThanThreshold 0 1 notBreaching"
      restarts   = "GreaterThanOrEqualToThreshold 2 1 notBreaching"
      # Half of 72 hours, in milliseconds.
      retention = "GreaterThanThreshold 129600000 5 ignore"
      stream    = "GreaterThanThreshold 5 2 notBreaching"
    }
    error_message = "when each alarm is raised"
  }
  assert {
    condition = {
      for alarm in concat(values(aws_cloudwatch_metric_alarm.this), [aws_cloudwatch_metric_alarm.nothing, aws_cloudwatch_metric_alarm.restarts]) :
      trimprefix(alarm.alarm_name, "firemain-") => "${alarm.statistic} of ${alarm.period} s"
      } == {
      backlog   = "Maximum of 60 s"
      freshness = "Maximum of 60 s"
      lag       = "Maximum of 60 s"
      loss      = "Sum of 300 s"
      nothing   = "SampleCount of 300 s"
      restarts  = "Sum of 900 s"
      retention = "Maximum of 60 s"
    }
    error_message = "of what each alarm is raised"
  }
  assert {
    condition = {
      for alarm in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.sums), [aws_cloudwatch_metric_alarm.nothing, aws_cloudwatch_metric_alarm.restarts]) :
      trimprefix(alarm.alarm_name, "firemain-") => join(" ", sort([for action in alarm.alarm_actions : element(split(":", action), 5)]))
      } == {
      backlog    = "tell"
      freshness  = "tell"
      lag        = "tell"
      loss       = "page tell"
      nothing    = "page tell"
      rejections = "tell"
      restarts   = "tell"
      retention  = "page tell"
      stream     = "tell"
    }
    error_message = "who is told, and for what somebody gets up"
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.stopped.event_pattern) == {
      source      = ["aws.ecs"]
      detail-type = ["ECS Task State Change"]
      detail = {
        clusterArn = ["arn:aws:ecs:eu-west-1:123456789012:cluster/firemain"]
        group      = ["service:firemain"]
        lastStatus = ["STOPPED"]
        "$or" = [
          { stopCode = ["EssentialContainerExited", "TaskFailedToStart"] },
          { stoppedReason = [{ prefix = "Task failed container health checks" }] },
        ]
      }
    }
    error_message = "tasks that nobody stopped"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.restarts.dimensions == tomap({ RuleName = "firemain-stopped" })
    error_message = "restarts are counted by that rule"
  }
}

run "topic" {
  command = apply

  variables {
    create_sns_topic = true
    alarm_emails     = ["oncall@example.com"]
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["lag"].alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:firemain-alarms"])
    error_message = "all alarms go to the topic"
  }
  assert {
    condition = jsondecode(aws_sns_topic_policy.alarms[0].policy).Statement == [{
      Sid      = "Alarms", Effect = "Allow", Action = "sns:Publish", Principal = { Service = "cloudwatch.amazonaws.com" }
      Resource = "arn:aws:sns:eu-west-1:123456789012:firemain-alarms"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firemain-*" }
      }
    }]
    error_message = "only these alarms publish to it"
  }
  assert {
    condition     = aws_sns_topic.alarms[0].kms_master_key_id == aws_kms_key.this[0].arn && one(values(aws_sns_topic_subscription.email)).endpoint == "oncall@example.com"
    error_message = "encrypted, and mailed"
  }
}
