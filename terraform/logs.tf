locals {
  log_group_name        = "/firemain/${var.name}"
  events_log_group_name = "/aws/events/${var.name}-stopped-tasks"
  # What Firemain writes must not come back to it: each delivery would make lines that are to be delivered.
  own_log_groups = [local.log_group_name, local.events_log_group_name]

  created_log_groups = { for name, group in var.log_groups : name => group if group.create }
}

# Firemain's own log. Of the class STANDARD, the only one that makes metrics of EMF lines.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:It is read when something is wrong; a year of it is bought by log_retention_days
  name              = local.log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = local.has_key ? local.kms_key_arn : null
  tags              = var.tags
}

# Log groups that this module is to make, or has been given by an import block: so their retention is set.
resource "aws_cloudwatch_log_group" "subscribed" {
  # checkov:skip=CKV_AWS_158:They are other people's log groups: a key would have to let their writers and readers in
  for_each = local.created_log_groups

  name              = each.key
  retention_in_days = each.value.retention_days
  tags              = var.tags
  # The logs in them are not this module's: what it forgets stays.
  skip_destroy = true
}

resource "aws_cloudwatch_log_subscription_filter" "this" {
  for_each = var.log_groups

  name            = var.name
  log_group_name  = each.value.create ? aws_cloudwatch_log_group.subscribed[each.key].name : each.key
  filter_pattern  = each.value.filter_pattern
  destination_arn = local.stream_arn
  role_arn        = aws_iam_role.logs[0].arn
  # By log stream a single busy one would fill one shard.
  distribution = var.distribution

  # CloudWatch Logs puts a test message with the role at once, which IAM needs some seconds to know everywhere: by the time that the
  # workers are well it does. And what nobody reads need not be put.
  depends_on = [aws_iam_role_policy.logs, aws_ecs_service.this]
}

resource "aws_cloudwatch_log_account_policy" "this" {
  count = var.subscribe_account ? 1 : 0

  policy_name = var.name
  policy_type = "SUBSCRIPTION_FILTER_POLICY"
  scope       = "ALL"

  policy_document = jsonencode({
    DestinationArn = local.stream_arn
    RoleArn        = aws_iam_role.logs[0].arn
    FilterPattern  = var.account_filter_pattern
    Distribution   = var.distribution
  })

  # Its syntax is a list of JSON: LogGroupName NOT IN ["/a","/b"]. What has a subscription of its own would come twice.
  selection_criteria = "LogGroupName NOT IN ${jsonencode(distinct(concat(local.own_log_groups, sort(keys(var.log_groups)), var.exclude_log_groups)))}"

  depends_on = [aws_iam_role_policy.logs, aws_ecs_service.this]
}
