locals {
  metrics_namespace = "Firemain"
  of_group          = { Group = local.group }

  alarm_actions = concat(var.alarm_actions, aws_sns_topic.alarms[*].arn)
  page_actions  = distinct(concat(local.alarm_actions, var.page_actions))

  # As docs/metrics.md, What to be woken by, has them; what to do is in docs/runbook.md. With `page` somebody gets up.
  alarms = {
    lag = {
      description = "Reading does not keep up: the shard that is furthest behind is over ${var.lag_alarm_seconds} s behind. Runbook: Lag grows."
      metric      = "KinesisMillisBehindLatest", statistic = "Maximum", threshold = var.lag_alarm_seconds * 1000
      period      = 60, periods = 10, missing = "ignore", page = false
    }
    retention = {
      description = "Data is about to be lost: records wait for over ${var.retention_alarm_percent} % of the stream's retention. Runbook: Lag grows; increase the retention first."
      metric      = "KinesisMillisBehindLatest", statistic = "Maximum"
      threshold   = var.stream_retention_hours * 36000 * var.retention_alarm_percent
      period      = 60, periods = 5, missing = "ignore", page = true
    }
    freshness = {
      description = "What was read is not delivered: over three flush intervals old. Runbook: S3 denies."
      metric      = "DeliveryToS3.DataFreshness", statistic = "Maximum", threshold = 3 * var.flush_interval_seconds
      period      = 60, periods = 5, missing = "ignore", page = false
    }
    loss = {
      description = "The stream's retention has passed what nobody had read: it is lost. Runbook: Lag grows, its end."
      metric      = "PositionsExpired", statistic = "Sum", threshold = 0
      period      = 300, periods = 1, missing = "notBreaching", page = true
    }
    backlog = {
      description = "Committed packs are not published: the lake lags behind the state. Runbook: S3 denies."
      metric      = "PackBacklog", statistic = "Maximum", threshold = var.pack_backlog_alarm
      period      = 60, periods = 10, missing = "ignore", page = false
    }
  }

  error_kinds = ["throttled", "server", "timeout", "connection", "denied", "refused", "credentials"]

  # Counted by a further dimension, which alarms have to name value by value.
  sums = {
    rejections = {
      description = "More rejections than are usual. Runbook: A poison producer, or A bad deploy is rolled back."
      metric      = "Rejections", dimension = "Code", values = local.rejection_codes, threshold = var.rejections_alarm, periods = 1
    }
    stream = {
      description = "The stream can't be read: access, throttling or the network. Runbook: Lag grows."
      metric      = "KinesisErrors", dimension = "Kind", values = local.error_kinds, threshold = var.kinesis_errors_alarm, periods = 2
    }
  }

  alarm_arns = concat(
    [for alarm in aws_cloudwatch_metric_alarm.this : alarm.arn],
    [for alarm in aws_cloudwatch_metric_alarm.sums : alarm.arn],
    [aws_cloudwatch_metric_alarm.nothing.arn, aws_cloudwatch_metric_alarm.restarts.arn],
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = local.metrics_namespace
  metric_name         = each.value.metric
  dimensions          = local.of_group
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = each.value.page ? local.page_actions : local.alarm_actions
  ok_actions          = each.value.page ? local.page_actions : local.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "sums" {
  for_each = local.sums

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "all"
    expression  = "SUM(METRICS())"
    label       = each.value.metric
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.values

    content {
      id = "m${metric_query.key}"

      metric {
        namespace   = local.metrics_namespace
        metric_name = each.value.metric
        dimensions  = merge(local.of_group, { (each.value.dimension) = metric_query.value })
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

# A worker tells its counters each minute, also when they are 0: no sample is no worker.
resource "aws_cloudwatch_metric_alarm" "nothing" {
  alarm_name          = "${var.name}-nothing"
  alarm_description   = "No worker has told anything for 15 minutes: nothing is delivered. Runbook: First look."
  namespace           = local.metrics_namespace
  metric_name         = "DeliveryToS3.Records"
  dimensions          = local.of_group
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = 3
  treat_missing_data  = "breaching"
  alarm_actions       = local.page_actions
  ok_actions          = local.page_actions
  tags                = var.tags

  lifecycle {
    precondition {
      condition     = length(var.alarm_emails) == 0 || var.create_sns_topic
      error_message = "alarm_emails get what comes to the topic that create_sns_topic makes: set that to true."
    }
  }

  # Not before there is a worker that could.
  depends_on = [aws_ecs_service.this]
}

resource "aws_cloudwatch_metric_alarm" "restarts" {
  alarm_name          = "${var.name}-restarts"
  alarm_description   = "Tasks end by themselves, or don't start: why is in ${local.events_log_group_name}. Runbook: A worker does not stay."
  namespace           = "AWS/Events"
  metric_name         = "TriggeredRules"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.stopped.name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.restarts_alarm
  period              = 900
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

resource "aws_sns_topic" "alarms" {
  count = var.create_sns_topic ? 1 : 0

  name              = "${var.name}-alarms"
  kms_master_key_id = local.has_key ? local.kms_key_arn : null
  tags              = var.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = var.create_sns_topic ? 1 : 0

  arn = aws_sns_topic.alarms[0].arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${local.account_id}:alarm:${var.name}-*" }
        }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.create_sns_topic ? toset(var.alarm_emails) : []

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = each.value
}
