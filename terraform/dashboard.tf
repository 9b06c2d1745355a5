locals {
  # A metric of the group, with how it adds up over workers: counters by Sum, gauges by Maximum.
  graphs = [
    { title = "Behind the tip of the stream (ms)", stat = "Maximum", metrics = ["KinesisMillisBehindLatest"] },
    { title = "Oldest record that is not visible yet (s)", stat = "Maximum", metrics = ["DeliveryToS3.DataFreshness"] },
    { title = "Records read and committed", stat = "Sum", metrics = ["DataReadFromKinesisStream.Records", "DeliveryToS3.Records"] },
    { title = "Events", stat = "Sum", metrics = ["Events"] },
    { title = "Bytes read, inflated and delivered", stat = "Sum", metrics = ["DataReadFromKinesisStream.Bytes", "DecodedBytes", "DeliveryToS3.Bytes"] },
    { title = "Objects", stat = "Sum", metrics = ["DeliveryToS3.ObjectCount"] },
    { title = "Puts that went well (1 is all)", stat = "Average", metrics = ["DeliveryToS3.Success"] },
    { title = "Commit (ms)", stat = "p99", metrics = ["CommitDuration"] },
    { title = "Packs that are not published", stat = "Maximum", metrics = ["PackBacklog"] },
    { title = "Buffered bytes, of the worker that has most", stat = "Maximum", metrics = ["BufferedBytes"] },
    { title = "Open partitions, and unregistered ones", stat = "Maximum", metrics = ["OpenPartitions", "UnregisteredPartitions"] },
    { title = "Throttled, fenced, expired", stat = "Sum", metrics = ["ThrottledGetRecords", "Fenced", "PositionsExpired"] },
  ]

  searches = [
    { title = "Rejections by code", schema = "Code,Group", metric = "Rejections" },
    { title = "Errors of Kinesis by kind", schema = "Group,Kind", metric = "KinesisErrors" },
    { title = "Errors of S3 by kind", schema = "Group,Kind", metric = "S3Errors" },
  ]

  # 24 columns wide: three graphs in a row.
  graph_widgets = concat(
    [for graph in local.graphs : {
      title   = graph.title
      stat    = graph.stat
      metrics = [for metric in graph.metrics : [local.metrics_namespace, metric, "Group", local.group]]
    }],
    [for search in local.searches : {
      title = search.title
      stat  = "Sum"
      metrics = [[{
        expression = "SEARCH('{${local.metrics_namespace},${search.schema}} MetricName=\"${search.metric}\" Group=\"${local.group}\"', 'Sum', 300)"
        id         = "all"
      }]]
    }],
    [
      {
        title   = "The stream: bytes in, and writes that were throttled"
        stat    = "Sum"
        metrics = [for metric in ["IncomingBytes", "WriteProvisionedThroughputExceeded"] : ["AWS/Kinesis", metric, "StreamName", local.stream_name]]
      },
      {
        title   = "CPU and memory of the tasks (%)"
        stat    = "Maximum"
        metrics = [for metric in ["CPUUtilization", "MemoryUtilization"] : ["AWS/ECS", metric, "ClusterName", local.cluster_name, "ServiceName", var.name]]
      },
      {
        title   = "Tasks that nobody stopped"
        stat    = "Sum"
        metrics = [["AWS/Events", "TriggeredRules", "RuleName", aws_cloudwatch_event_rule.stopped.name]]
      },
    ],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [
        {
          type       = "alarm"
          x          = 0
          y          = 0
          width      = 24
          height     = 3
          properties = { title = "Alarms", alarms = local.alarm_arns }
        },
      ],
      [
        for index, graph in local.graph_widgets : {
          type   = "metric"
          x      = index % 3 * 8
          y      = 3 + floor(index / 3) * 6
          width  = 8
          height = 6
          properties = {
            title   = graph.title
            region  = local.region
            view    = "timeSeries"
            stat    = graph.stat
            period  = 60
            metrics = graph.metrics
          }
        }
      ],
    )
  })
}
