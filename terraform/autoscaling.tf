resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${local.cluster_name}/${aws_ecs_service.this.name}"
  min_capacity       = var.min_tasks
  # Further ones than shards would own nothing.
  max_capacity = var.max_tasks
  tags         = var.tags
}

# Both track a target: tasks are added when one of the two asks for it, and taken away when both can do with fewer.
resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.cpu_target_percent
    scale_out_cooldown = 60
    scale_in_cooldown  = 600

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# Of the shard that is furthest behind, as its worker says: a worker that falls behind alone is seen, an average hides it.
resource "aws_appautoscaling_policy" "lag" {
  name               = "${var.name}-lag"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value = var.lag_target_seconds * 1000
    # A new worker has its share of the shards after a minute or so.
    scale_out_cooldown = 180
    scale_in_cooldown  = 600

    customized_metric_specification {
      namespace   = local.metrics_namespace
      metric_name = "KinesisMillisBehindLatest"
      statistic   = "Maximum"
      unit        = "Milliseconds"

      dimensions {
        name  = "Group"
        value = local.group
      }
    }
  }
}
