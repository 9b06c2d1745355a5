output "destination" {
  description = "The lake: `firemain status --destination` and the like."
  value       = local.destination
}

output "bucket_name" {
  description = "Its bucket."
  value       = local.bucket_name
}

output "stream_arn" {
  description = "The stream; what others are to deliver is put there."
  value       = local.stream_arn
}

output "stream_name" {
  description = "Its name."
  value       = local.stream_name
}

output "consumer_arn" {
  description = "The consumer of enhanced fan-out, if there is one."
  value       = one(aws_kinesis_stream_consumer.this[*].arn)
}

output "cluster_name" {
  description = "The cluster of the service."
  value       = local.cluster_name
}

output "service_name" {
  description = "The service: `aws ecs describe-services --cluster CLUSTER --services SERVICE`."
  value       = aws_ecs_service.this.name
}

output "task_definition_arn" {
  description = "The task definition that is deployed, with its revision: `aws ecs run-task` takes it for one-off commands."
  value       = aws_ecs_task_definition.this.arn
}

output "task_role_arn" {
  description = "The role of the service. A bucket or a key that is there already has to allow it what iam.tf says."
  value       = aws_iam_role.task.arn
}

output "execution_role_arn" {
  description = "The role that starts tasks."
  value       = aws_iam_role.execution.arn
}

output "security_group_id" {
  description = "The security group of the tasks."
  value       = aws_security_group.task.id
}

output "subnet_ids" {
  description = "Their subnets, for `aws ecs run-task`."
  value       = var.subnet_ids
}

output "log_group_name" {
  description = "Firemain's own log: `aws logs tail LOG_GROUP --follow`."
  value       = aws_cloudwatch_log_group.this.name
}

output "stopped_tasks_log_group_name" {
  description = "Why tasks ended that nobody stopped, as ECS says it."
  value       = aws_cloudwatch_log_group.stopped.name
}

output "logs_role_arn" {
  description = "The role by which CloudWatch Logs puts onto the stream, if anything is subscribed: for subscriptions of your own."
  value       = one(aws_iam_role.logs[*].arn)
}

output "kms_key_arn" {
  description = "The key of what is made here, if it has one."
  value       = local.kms_key_arn
}

output "glue_database_name" {
  description = "The database of Glue."
  value       = aws_glue_catalog_database.this.name
}

output "glue_table_names" {
  description = "Its tables."
  value       = sort(keys(aws_glue_catalog_table.this))
}

output "athena_workgroup_name" {
  description = "The workgroup: `aws athena start-query-execution --work-group WORKGROUP`."
  value       = aws_athena_workgroup.this.name
}

output "athena_named_query_ids" {
  description = "The named queries, by name: `aws athena get-named-query --named-query-id ID`."
  value       = { for name, query in aws_athena_named_query.this : name => query.id }
}

output "dashboard_name" {
  description = "The dashboard of CloudWatch."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "All alarms."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.sums : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.nothing.alarm_name, aws_cloudwatch_metric_alarm.restarts.alarm_name],
  ))
}

output "sns_topic_arn" {
  description = "The topic of the alarms, if one is made."
  value       = one(aws_sns_topic.alarms[*].arn)
}

output "environment" {
  description = "The settings of the service, as the task has them; without secrets. With them `firemain status` looks at the same group from elsewhere."
  value       = merge(local.settings, var.environment)
}
