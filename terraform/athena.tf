locals {
  # Projected tables want their log groups named; registered ones take any condition.
  example_log_groups = length(var.log_groups) > 0 ? sort(keys(var.log_groups)) : ["/aws/lambda/my-function"]
  in_log_groups      = local.registers ? "" : "\n  AND log_group IN (${join(", ", [for name in local.example_log_groups : "'${replace(name, "'", "''")}'"])})"

  # Days are texts: a text of yesterday bounds what is looked at before the time itself does.
  since_yesterday = "dt >= cast(cast(current_date - interval '1' day AS date) AS varchar)"

  row_tables = sort(keys(local.table_schemas))

  # What says how long a request took, in milliseconds, by schema. Of other tables JSON is looked into.
  durations = {
    alb_access           = { value = "target_processing_time * 1000", where = "target_processing_time >= 0" }
    lambda_platform      = { value = "duration_ms", where = "duration_ms IS NOT NULL" }
    lambda_platform_json = { value = "duration_ms", where = "duration_ms IS NOT NULL" }
    app_json             = { value = "try_cast(duration_ms AS double)", where = "try_cast(duration_ms AS double) IS NOT NULL" }
    log_events = {
      value = "try_cast(json_extract_scalar(message, '$.duration_ms') AS double)"
      where = "try_cast(json_extract_scalar(message, '$.duration_ms') AS double) IS NOT NULL"
    }
  }

  named_queries = merge(
    {
      errors-by-group = {
        description = "Messages of the last hour that look like errors, by log group, with one of them"
        query       = <<-SQL
          SELECT log_group, count(*) AS errors, max("timestamp") AS latest, max_by(message, "timestamp") AS example
          FROM log_events
          WHERE ${local.since_yesterday}
            AND "timestamp" > current_timestamp - interval '1' hour${local.in_log_groups}
            AND (lower(message) LIKE '%error%' OR lower(message) LIKE '%exception%' OR lower(message) LIKE '%fatal%' OR lower(message) LIKE '%panic%')
          GROUP BY log_group
          ORDER BY errors DESC
        SQL
      }
      top-talkers = {
        description = "Who logs most since yesterday: events and characters, by log group and stream"
        query       = <<-SQL
          SELECT log_group, log_stream, count(*) AS events, sum(length(message)) AS characters
          FROM log_events
          WHERE ${local.since_yesterday}${local.in_log_groups}
          GROUP BY log_group, log_stream
          ORDER BY characters DESC
          LIMIT 100
        SQL
      }
      one-request = {
        description = "All that was logged about one request since yesterday, in the order of time; ? is its id, in single quotes"
        query       = <<-SQL
          SELECT * FROM (
          ${join("\nUNION ALL\n", [for name in local.row_tables : "  SELECT '${name}' AS table_name, log_group, log_stream, \"timestamp\", message FROM ${name}\n  WHERE ${local.since_yesterday}${local.in_log_groups}"])}
          )
          WHERE strpos(message, ?) > 0
          ORDER BY "timestamp"
        SQL
      }
      delivery-delay = {
        description = "How long after an event its record was on the stream, by log group; what comes after that is the metric DataFreshness"
        query       = <<-SQL
          SELECT log_group, count(*) AS events,
            approx_percentile(date_diff('millisecond', "timestamp", ingested_at), 0.5) AS median_ms,
            approx_percentile(date_diff('millisecond', "timestamp", ingested_at), 0.99) AS p99_ms,
            max(date_diff('millisecond', "timestamp", ingested_at)) AS longest_ms
          FROM log_events
          WHERE ${local.since_yesterday}${local.in_log_groups}
          GROUP BY log_group
          ORDER BY p99_ms DESC
        SQL
      }
      rejections-by-code = {
        description = "What could not be delivered since yesterday, by code and hour, with one reason"
        query       = <<-SQL
          SELECT error, dt, hour, count(*) AS rejections, max(errormessage) AS example
          FROM errors
          WHERE ${local.since_yesterday}
          GROUP BY error, dt, hour
          ORDER BY dt DESC, hour DESC, rejections DESC
        SQL
      }
    },
    {
      for name in local.row_tables : "slowest-requests-${replace(name, "_", "-")}" => {
        description = "The hundred slowest requests since yesterday that ${name} knows of"
        query       = <<-SQL
          SELECT "timestamp", log_group, ${local.durations[local.table_schemas[name]].value} AS duration_in_ms, message
          FROM ${name}
          WHERE ${local.since_yesterday}${local.in_log_groups}
            AND ${local.durations[local.table_schemas[name]].where}
          ORDER BY duration_in_ms DESC
          LIMIT 100
        SQL
      } if contains(keys(local.durations), local.table_schemas[name])
    },
  )
}

resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "Queries of the logs in ${local.destination}"
  force_destroy = var.bucket_force_destroy
  tags          = var.tags

  configuration {
    # So that nobody's settings lead around the limit or the key.
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.athena_scan_limit_gibibytes * 1024 * 1024 * 1024

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location = "s3://${local.bucket_name}/${local.athena_prefix}/"

      encryption_configuration {
        encryption_option = length(local.bucket_key_arns) > 0 ? "SSE_KMS" : "SSE_S3"
        kms_key_arn       = length(local.bucket_key_arns) > 0 ? local.bucket_key_arns[0] : null
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each = local.named_queries

  name        = each.key
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this.name
  query       = each.value.query
}
