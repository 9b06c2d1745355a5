# Tasks that ended by themselves, did not start, or were not well. Deployments and scaling stop tasks too, and are not meant.
# ECS forgets the reasons within an hour: the events are kept.
resource "aws_cloudwatch_event_rule" "stopped" {
  name        = "${var.name}-stopped"
  description = "Tasks of Firemain ${var.name} that nobody stopped"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [local.cluster_arn]
      group      = ["service:${var.name}"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { stopCode = ["EssentialContainerExited", "TaskFailedToStart"] },
        { stoppedReason = [{ prefix = "Task failed container health checks" }] },
      ]
    }
  })
}

# EventBridge delivers to log groups that are called so.
resource "aws_cloudwatch_log_group" "stopped" {
  # checkov:skip=CKV_AWS_338:As the service's own log
  name              = local.events_log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = local.has_key ? local.kms_key_arn : null
  tags              = var.tags
}

resource "aws_cloudwatch_log_resource_policy" "stopped" {
  policy_name = "${var.name}-stopped"

  policy_document = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = ["events.amazonaws.com", "delivery.logs.amazonaws.com"] }
        Action    = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource  = "${aws_cloudwatch_log_group.stopped.arn}:*"
      },
    ]
  })
}

resource "aws_cloudwatch_event_target" "stopped" {
  rule      = aws_cloudwatch_event_rule.stopped.name
  target_id = "log"
  arn       = aws_cloudwatch_log_group.stopped.arn

  depends_on = [aws_cloudwatch_log_resource_policy.stopped]
}
