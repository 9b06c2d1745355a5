# Tables as `firemain schema glue` prints them, from the same files: tests/compare.py holds one against the other.
locals {
  built_in_dir = "${path.module}/../schemas"
  schemas = merge(
    { for file in fileset(local.built_in_dir, "*.json") : trimsuffix(file, ".json") => jsondecode(file("${local.built_in_dir}/${file}")) },
    # What counts of a file of one's own is the name inside. The service does not let it replace these two.
    {
      for schema in [for file in(var.schemas_dir == null ? [] : fileset(var.schemas_dir, "*.json")) : jsondecode(file("${var.schemas_dir}/${file}"))] :
      schema.name => schema if !contains(["errors", "log_events"], schema.name)
    },
  )

  glue_tables = merge(
    { for name, schema in local.table_schemas : name => { schema = local.schemas[schema], format = var.format } if contains(keys(local.schemas), schema) },
    # Rejections are lines of JSON always.
    { errors = { schema = local.schemas["errors"], format = "json" } },
  )

  hive = "org.apache.hadoop.hive.ql.io"
  storage = {
    parquet = {
      input  = "${local.hive}.parquet.MapredParquetInputFormat"
      output = "${local.hive}.parquet.MapredParquetOutputFormat"
      serde  = "${local.hive}.parquet.serde.ParquetHiveSerDe"
    }
    json = {
      input  = "org.apache.hadoop.mapred.TextInputFormat"
      output = "${local.hive}.HiveIgnoreKeyTextOutputFormat"
      serde  = "org.openx.data.jsonserde.JsonSerDe"
    }
  }

  # Only what a query names is looked at. No storage.location.template: with one, values would stand in paths as they are,
  # and keys have them escaped.
  projection_of_time = {
    "projection.enabled"          = "true"
    "projection.dt.type"          = "date"
    "projection.dt.format"        = "yyyy-MM-dd"
    "projection.dt.range"         = "NOW-${var.projection_days}DAYS,NOW+1DAYS"
    "projection.dt.interval"      = "1"
    "projection.dt.interval.unit" = "DAYS"
    "projection.hour.type"        = "integer"
    "projection.hour.range"       = "0,23"
    "projection.hour.digits"      = "2"
  }
  rejection_codes = [
    "Record.NotDecodable", "Record.TooLarge", "Payload.Invalid", "Event.Invalid", "Partition.TooLong", "Table.Mismatch",
  ]
  projections = {
    log_group = { "projection.log_group.type" = "injected" }
    error     = { "projection.error.type" = "enum", "projection.error.values" = join(",", local.rejection_codes) }
  }

  # Without what Athena's DDL might take for its own, and as long as Glue takes it.
  comments = {
    for text in toset(flatten([
      for table in values(local.glue_tables) : [
        try(table.schema.description, ""),
        [for column in concat(table.schema.columns, table.schema.partitions) : try(column.description, "")],
      ]
    ])) :
    text => substr(replace(replace(replace(replace(text, "/['`]/", "’"), "\"", "”"), ";", ","), "\\", "/"), 0, 255)
  }
}

resource "aws_glue_catalog_database" "this" {
  name        = var.glue_database_name
  description = "Logs that Firemain ${var.name} delivers to ${local.destination}"
  tags        = var.tags
}

resource "aws_glue_catalog_table" "this" {
  for_each = local.glue_tables

  database_name = aws_glue_catalog_database.this.name
  name          = each.key
  description   = local.comments[try(each.value.schema.description, "")]
  table_type    = "EXTERNAL_TABLE"

  parameters = merge(
    {
      EXTERNAL                  = "TRUE"
      classification            = each.value.format
      "firemain.schema"         = each.value.schema.name
      "firemain.schema.version" = tostring(each.value.schema.version)
    },
    local.registers ? {} : merge(local.projection_of_time, local.projections[each.value.schema.partitions[0].name]),
  )

  storage_descriptor {
    location      = "${local.destination}/${each.key}/"
    input_format  = local.storage[each.value.format].input
    output_format = local.storage[each.value.format].output

    ser_de_info {
      serialization_library = local.storage[each.value.format].serde
    }

    dynamic "columns" {
      for_each = each.value.schema.columns

      content {
        name    = columns.value.name
        type    = replace(columns.value.type, "timestamp(3)", "timestamp")
        comment = try(local.comments[columns.value.description], null)
      }
    }
  }

  dynamic "partition_keys" {
    for_each = each.value.schema.partitions

    content {
      name    = partition_keys.value.name
      type    = partition_keys.value.type
      comment = try(local.comments[partition_keys.value.description], null)
    }
  }
}

# A rule may name a schema that is nowhere: better here than when the service starts.
check "schemas" {
  assert {
    condition     = alltrue([for schema in values(local.table_schemas) : contains(keys(local.schemas), schema)])
    error_message = "tables names a schema that is neither built in nor in schemas_dir; there are: ${join(", ", sort(keys(local.schemas)))}."
  }
}
