# Who it is.

variable "name" {
  description = "Begins the name of everything that is made here, one for each service. Never change it of a service that has delivered: stream, bucket and group would be others."
  type        = string
  default     = "firemain"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,28}[a-z0-9]$", var.name))
    error_message = "name: 2 to 30 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "group" {
  description = "The group of workers, `group`, where it is not `name`: its state is in the lake under this name, and its metrics have it. Never change it of a service that has delivered: another group reads the stream anew."
  type        = string
  default     = null

  validation {
    condition     = var.group == null || can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$", var.group))
    error_message = "group: 1 to 128 letters (a to z), digits, dots, underscores and hyphens, not a dot first."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.tags : length(key) >= 1 && length(key) <= 128 && length(value) <= 256 && !startswith(lower(key), "aws:")])
    error_message = "tags: names of 1 to 128 characters that don't begin with aws:, values of at most 256."
  }
}

# The image.

variable "image" {
  description = "The image of Firemain, with a tag or a digest."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-zA-Z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST, and not the tag latest: what runs must be known, and a rollback must come back to it."
  }
}

variable "cpu_architecture" {
  description = "What the image is built for: ARM64 or X86_64."
  type        = string
  default     = "ARM64"
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture: ARM64 or X86_64."
  }
}

# The stream.

variable "create_stream" {
  description = "Make the stream; otherwise give stream_arn."
  type        = bool
  default     = true
  nullable    = false
}

variable "stream_name" {
  description = "The name of the stream that is made, where it is not `name`."
  type        = string
  default     = null

  validation {
    condition     = var.stream_name == null || can(regex("^[A-Za-z0-9_.-]{1,128}$", var.stream_name))
    error_message = "stream_name: 1 to 128 letters, digits, underscores, dots and hyphens."
  }
}

variable "stream_arn" {
  description = "The stream that is there already, if create_stream is false."
  type        = string
  default     = null

  validation {
    condition     = var.stream_arn == null || can(regex("^arn:[a-z0-9-]+:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}$", var.stream_arn))
    error_message = "stream_arn: arn:aws:kinesis:REGION:ACCOUNT:stream/NAME."
  }
}

variable "stream_kms_key_arn" {
  description = "The key of the stream that is there already, if it has one of your own."
  type        = string
  default     = null

  validation {
    condition     = var.stream_kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.stream_kms_key_arn))
    error_message = "stream_kms_key_arn: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias."
  }
}

variable "stream_mode" {
  description = "ON_DEMAND or PROVISIONED."
  type        = string
  default     = "ON_DEMAND"
  nullable    = false

  validation {
    condition     = contains(["ON_DEMAND", "PROVISIONED"], var.stream_mode)
    error_message = "stream_mode: ON_DEMAND or PROVISIONED."
  }
}

variable "shard_count" {
  description = "Shards of a PROVISIONED stream: each takes 1 MiB or 1,000 records a second."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.shard_count >= 1 && var.shard_count <= 10000 && floor(var.shard_count) == var.shard_count
    error_message = "shard_count: a whole number from 1 to 10000."
  }
}

variable "stream_retention_hours" {
  description = "How long the stream keeps records: for so long may delivery stand still. AWS bills what is over 24. Of a stream that is there already say what it has, for the alarm."
  type        = number
  default     = 72
  nullable    = false

  validation {
    condition     = var.stream_retention_hours >= 24 && var.stream_retention_hours <= 8760 && floor(var.stream_retention_hours) == var.stream_retention_hours
    error_message = "stream_retention_hours: a whole number from 24 to 8760."
  }
}

variable "fan_out" {
  description = "Read as a registered consumer of its own (enhanced fan-out), which AWS bills by shard, hour and GB."
  type        = bool
  default     = false
  nullable    = false
}

variable "start" {
  description = "Where a new group begins: `trim_horizon`, `latest`, or an RFC 3339 time."
  type        = string
  default     = "trim_horizon"
  nullable    = false

  validation {
    condition     = contains(["trim_horizon", "latest"], var.start) || can(formatdate("YYYY", var.start))
    error_message = "start: trim_horizon, latest or a time such as 2024-03-22T05:00:00Z."
  }
}

# What is subscribed.

variable "log_groups" {
  description = "Log groups to subscribe, by name. `create` makes the group, with `retention_days`; one that is there already comes under this by an `import` block, or keeps the retention that it has without `create`."
  type = map(object({
    create         = optional(bool, false)
    retention_days = optional(number, 30)
    filter_pattern = optional(string, "")
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.log_groups) : can(regex("^[A-Za-z0-9_/.#-]{1,512}$", name))])
    error_message = "log_groups: names of 1 to 512 letters, digits and _ - / . #."
  }
  validation {
    condition     = alltrue([for name in keys(var.log_groups) : !startswith(name, "/firemain/")])
    error_message = "log_groups: a log group below /firemain/ is Firemain's own: it would feed on itself."
  }
  validation {
    condition = alltrue([
      for group in values(var.log_groups) : contains(
        [0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
        group.retention_days
      )
    ])
    error_message = "log_groups: retention_days is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653, or 0 for ever."
  }
}

variable "subscribe_account" {
  description = "Subscribe all log groups of the account in this region, those to come too, but for Firemain's own and exclude_log_groups. An account has one such policy."
  type        = bool
  default     = false
  nullable    = false
}

variable "exclude_log_groups" {
  description = "Log groups that subscribe_account leaves out, by their whole names: those of who reads the same stream or bucket for one; those of log_groups it leaves out anyway. A change makes the subscription anew, and what is logged in between is not delivered."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.exclude_log_groups : can(regex("^[A-Za-z0-9_/.#-]{1,512}$", name))])
    error_message = "exclude_log_groups: whole names of log groups, without wildcards."
  }
}

variable "account_filter_pattern" {
  description = "Which events subscribe_account takes; all, when it is empty."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = length(var.account_filter_pattern) <= 1024
    error_message = "account_filter_pattern: at most 1024 characters."
  }
}

variable "distribution" {
  description = "How CloudWatch Logs spreads over shards: `Random`, or `ByLogStream`, by which a busy log stream fills its shard."
  type        = string
  default     = "Random"
  nullable    = false

  validation {
    condition     = contains(["Random", "ByLogStream"], var.distribution)
    error_message = "distribution: Random or ByLogStream."
  }
}

# The lake.

variable "create_bucket" {
  description = "Make the bucket; otherwise give bucket_name."
  type        = bool
  default     = true
  nullable    = false
}

variable "bucket_name" {
  description = "The bucket: of one that is made, if NAME-ACCOUNT-REGION won't do; or the one that is there already. Its settings are then yours: nothing below PREFIX/_firemain/ may expire."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name: 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "bucket_kms_key_arn" {
  description = "The key of the bucket that is there already, if it has one of your own."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.bucket_kms_key_arn))
    error_message = "bucket_kms_key_arn: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias."
  }
}

variable "prefix" {
  description = "The folder of the lake in its bucket. Never change it of a service that has delivered: the state is there."
  type        = string
  default     = "logs"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.()-]+(/[A-Za-z0-9!_.()-]+)*$", var.prefix)) && length(var.prefix) <= 256 && !startswith(var.prefix, "athena-results")
    error_message = "prefix: one or more folders of letters, digits and ! _ . ( ) -, without a slash at either end; not athena-results, where results of queries are."
  }
}

variable "bucket_force_destroy" {
  description = "Let `terraform destroy` delete the bucket with all logs in it, and the workgroup with its history."
  type        = bool
  default     = false
  nullable    = false
}

variable "tiering_days" {
  description = "After so many days rows move to tiering_storage_class; null: never. The state is never moved."
  type        = number
  default     = null

  validation {
    condition     = var.tiering_days == null || try(var.tiering_days >= 0 && var.tiering_days <= 36500, false)
    error_message = "tiering_days: 0 to 36500, or null."
  }
}

variable "tiering_storage_class" {
  description = "INTELLIGENT_TIERING, STANDARD_IA (then tiering_days is at least 30), ONEZONE_IA or GLACIER_IR: those that Athena reads."
  type        = string
  default     = "INTELLIGENT_TIERING"
  nullable    = false

  validation {
    condition     = contains(["INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"], var.tiering_storage_class)
    error_message = "tiering_storage_class: INTELLIGENT_TIERING, STANDARD_IA, ONEZONE_IA or GLACIER_IR."
  }
}

variable "expiration_days" {
  description = "After so many days rows are deleted; null: never."
  type        = number
  default     = null

  validation {
    condition     = var.expiration_days == null || try(var.expiration_days >= 1 && var.expiration_days <= 36500, false)
    error_message = "expiration_days: 1 to 36500, or null."
  }
}

variable "errors_expiration_days" {
  description = "After so many days rejections are deleted, and what replays have delivered of them; null: never. Until then they can be replayed."
  type        = number
  default     = 90

  validation {
    condition     = var.errors_expiration_days == null || try(var.errors_expiration_days >= 1 && var.errors_expiration_days <= 36500, false)
    error_message = "errors_expiration_days: 1 to 36500, or null."
  }
}

# Keys and secrets.

variable "create_kms_key" {
  description = "Make a key for the stream, the bucket, the log groups and the topic."
  type        = bool
  default     = true
  nullable    = false
}

variable "kms_key_arn" {
  description = "A key of your own for the same, if create_kms_key is false. Its policy has to let logs.REGION.amazonaws.com and, for the topic, cloudwatch.amazonaws.com use it, as kms.tf does. With neither the stream has aws/kinesis, the bucket SSE-S3."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias."
  }
}

variable "kms_deletion_window_days" {
  description = "How long the key can be brought back after a destroy. Without it nobody reads the lake again."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.kms_deletion_window_days >= 7 && var.kms_deletion_window_days <= 30
    error_message = "kms_deletion_window_days: 7 to 30."
  }
}

variable "mask_hash_key_arn" {
  description = "A secret of Secrets Manager (also one member of it: ARN:member::) or a SecureString of SSM, of at least 16 bytes: the key that masked values are hashed with, `mask.hash_key`."
  type        = string
  default     = null

  validation {
    condition     = var.mask_hash_key_arn == null || can(regex("^arn:[a-z0-9-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:.*)?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+)$", var.mask_hash_key_arn))
    error_message = "mask_hash_key_arn: the whole ARN of a secret (arn:aws:secretsmanager:…:secret:NAME-AbCdEf) or of a parameter (arn:aws:ssm:…:parameter/NAME), not the key itself."
  }
}

variable "mask_hash_key_kms_key_arn" {
  description = "The key that the secret is encrypted with, if it is one of your own."
  type        = string
  default     = null

  validation {
    condition     = var.mask_hash_key_kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.mask_hash_key_kms_key_arn))
    error_message = "mask_hash_key_kms_key_arn: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias."
  }
}

# What becomes of events.

variable "tables" {
  description = "Rules, `[[table]]`: which log groups are rows of which schema. The first that matches counts, what none matches goes to log_events."
  type = list(object({
    schema      = string
    log_groups  = list(string)
    name        = optional(string)
    on_mismatch = optional(string)
    fields      = optional(list(string))
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for rule in var.tables : can(regex("^[a-z][a-z0-9_]{0,254}$", coalesce(rule.name, rule.schema))) && !contains(["errors", "replayed"], coalesce(rule.name, rule.schema))])
    error_message = "tables: a name is 1 to 255 lower-case letters, digits and underscores, a letter first; neither errors nor replayed."
  }
  validation {
    condition     = alltrue([for rule in var.tables : length(rule.log_groups) > 0])
    error_message = "tables: each rule needs log_groups, globs such as \"/ecs/web/*\"."
  }
  validation {
    condition     = alltrue([for rule in var.tables : contains(["error", "log_events"], coalesce(rule.on_mismatch, "error"))])
    error_message = "tables: on_mismatch is error or log_events."
  }
  validation {
    condition     = alltrue([for rule in var.tables : length(distinct([for other in var.tables : other.schema if coalesce(other.name, other.schema) == coalesce(rule.name, rule.schema)])) == 1])
    error_message = "tables: two rules give one table two schemas."
  }
}

variable "schemas_dir" {
  description = "A folder here with schema files of your own, for the tables of Glue."
  type        = string
  default     = null

  validation {
    condition     = var.schemas_dir == null || try(length(fileset(var.schemas_dir, "*.json")) > 0, false)
    error_message = "schemas_dir: a folder with files that end with .json."
  }
}

variable "image_schemas_dir" {
  description = "The same folder in the image, `schemas_dir`."
  type        = string
  default     = null

  validation {
    condition     = var.image_schemas_dir == null || try(startswith(var.image_schemas_dir, "/"), false)
    error_message = "image_schemas_dir: a path in the image, with a slash first."
  }
}

variable "mask_fields" {
  description = "`mask.fields`: members of JSON and key=value pairs whose values are masked."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for field in var.mask_fields : length(field) > 0])
    error_message = "mask_fields: names, none of them empty."
  }
}

variable "mask_patterns" {
  description = "`mask.patterns`: what is masked by what it looks like."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for pattern in var.mask_patterns : contains([
        "aws_access_key", "aws_secret_key", "basic_auth", "bearer_token", "credit_card", "email", "github_token", "ipv4", "jwt",
        "private_key", "slack_token", "url_password", "us_ssn",
      ], pattern)
    ])
    error_message = "mask_patterns: a list of aws_access_key, aws_secret_key, basic_auth, bearer_token, credit_card, email, github_token, ipv4, jwt, private_key, slack_token, url_password, us_ssn."
  }
}

variable "mask_regexes" {
  description = "`mask.regexes`: expressions of your own; of one with a group named `secret` that alone is masked."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for expression in var.mask_regexes : length(expression) > 0])
    error_message = "mask_regexes: expressions, none of them empty."
  }
}

variable "format" {
  description = "`format.kind`: parquet or json. A lake keeps the one that it began with."
  type        = string
  default     = "parquet"
  nullable    = false

  validation {
    condition     = contains(["parquet", "json"], var.format)
    error_message = "format: parquet or json."
  }
}

variable "flush_interval_seconds" {
  description = "`flush.interval`: how long a row waits at most. Longer makes fewer and larger objects."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.flush_interval_seconds >= 1 && var.flush_interval_seconds <= 3600 && floor(var.flush_interval_seconds) == var.flush_interval_seconds
    error_message = "flush_interval_seconds: a whole number from 1 to 3600."
  }
}

variable "buffer_mebibytes" {
  description = "`flush.buffer_bytes`, in MiB: memory for rows. A worker takes up to 200 MiB beyond it."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.buffer_mebibytes >= 1 && var.buffer_mebibytes <= 65536 && floor(var.buffer_mebibytes) == var.buffer_mebibytes
    error_message = "buffer_mebibytes: a whole number from 1 to 65536."
  }
}

variable "environment" {
  description = "Further settings, as variables: docs/configuration.md. Not those that this module says, and no secrets."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^(FIREMAIN_|AWS_|RUST_)[A-Z0-9_]+$", name))])
    error_message = "environment: names that begin with FIREMAIN_, AWS_ or RUST_."
  }
  validation {
    condition     = !contains(keys(var.environment), "FIREMAIN_MASK__HASH_KEY") && !contains(keys(var.environment), "AWS_SECRET_ACCESS_KEY")
    error_message = "environment: no secrets: they would be readable in the task definition. Use mask_hash_key_arn; the task has its role."
  }
  validation {
    condition = length(setintersection(keys(var.environment), [
      "AWS_REGION", "FIREMAIN_CATALOG__GLUE__DATABASE", "FIREMAIN_DESTINATION", "FIREMAIN_ERRORS__PREFIX",
      "FIREMAIN_FLUSH__BUFFER_BYTES", "FIREMAIN_FLUSH__INTERVAL", "FIREMAIN_FORMAT__KIND", "FIREMAIN_GROUP",
      "FIREMAIN_HTTP__LISTEN", "FIREMAIN_MASK__FIELDS", "FIREMAIN_MASK__PATTERNS", "FIREMAIN_MASK__REGEXES",
      "FIREMAIN_METRICS__EMF", "FIREMAIN_SCHEMAS_DIR", "FIREMAIN_SHUTDOWN_TIMEOUT", "FIREMAIN_SOURCE__KINESIS__CONSUMER_ARN",
      "FIREMAIN_SOURCE__KINESIS__CONSUMER_NAME", "FIREMAIN_SOURCE__KINESIS__MODE", "FIREMAIN_SOURCE__KINESIS__START",
      "FIREMAIN_SOURCE__KINESIS__STREAM", "FIREMAIN_TABLE",
    ])) == 0
    error_message = "environment: this setting is the module's, which its roles, tables and alarms depend on: use the variable for it."
  }
}

# How it runs.

variable "create_cluster" {
  description = "Make the cluster; otherwise give cluster_arn."
  type        = bool
  default     = true
  nullable    = false
}

variable "cluster_arn" {
  description = "The cluster that is there already, if create_cluster is false."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_arn == null || can(regex("^arn:[a-z0-9-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", var.cluster_arn))
    error_message = "cluster_arn: arn:aws:ecs:REGION:ACCOUNT:cluster/NAME."
  }
}

variable "container_insights" {
  description = "Container Insights of the cluster that is made: disabled, enabled or enhanced."
  type        = string
  default     = "disabled"
  nullable    = false

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights: disabled, enabled or enhanced."
  }
}

variable "task_cpu" {
  description = "CPU units of a task: 1024 is one CPU."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.task_cpu)
    error_message = "task_cpu: 256, 512, 1024, 2048, 4096, 8192 or 16384."
  }
}

variable "task_memory" {
  description = "Memory of a task, in MiB; Fargate wants one that goes with task_cpu."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.task_memory == 512 || (var.task_memory >= 1024 && var.task_memory <= 122880 && var.task_memory % 1024 == 0)
    error_message = "task_memory: 512, or a multiple of 1024 from 1024 to 122880."
  }
}

variable "min_tasks" {
  description = "Workers that there are at least."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.min_tasks >= 1 && floor(var.min_tasks) == var.min_tasks
    error_message = "min_tasks: a whole number from 1: with none nothing is delivered."
  }
}

variable "max_tasks" {
  description = "Workers that there are at most: as many as the stream has shards, further ones do nothing. A new on-demand stream has four."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_tasks >= 1 && floor(var.max_tasks) == var.max_tasks
    error_message = "max_tasks: a whole number from 1."
  }
}

variable "cpu_target_percent" {
  description = "CPU of the service that autoscaling holds."
  type        = number
  default     = 70
  nullable    = false

  validation {
    condition     = var.cpu_target_percent >= 10 && var.cpu_target_percent <= 95
    error_message = "cpu_target_percent: 10 to 95."
  }
}

variable "lag_target_seconds" {
  description = "How far behind the tip of the stream reading may be before autoscaling adds workers."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.lag_target_seconds >= 5 && var.lag_target_seconds <= 3600
    error_message = "lag_target_seconds: 5 to 3600."
  }
}

variable "wait_for_steady_state" {
  description = "Let `terraform apply` wait until the deployment has gone well; it fails when it was rolled back."
  type        = bool
  default     = true
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of the roles, where the account wants one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z0-9-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: arn:aws:iam::ACCOUNT:policy/NAME."
  }
}

variable "operator_commands" {
  description = "Commands that are to work with the role of the task, beside the service: status (how far shards are behind; without fan_out it works anyway), check (settings of the bucket, probes in tables), verify (reads the lake), replay (moves rejections)."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for command in var.operator_commands : contains(["status", "check", "verify", "replay"], command)])
    error_message = "operator_commands: status, check, verify and replay."
  }
}

# The network.

variable "vpc_id" {
  description = "The VPC of the tasks."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id: the id of a VPC, such as vpc-0a1b2c3d."
  }
}

variable "subnet_ids" {
  description = "Subnets of the tasks, in two availability zones or more; private ones with NAT or vpc_endpoints, or public ones with assign_public_ip."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "subnet_ids: ids of subnets, such as subnet-0a1b2c3d."
  }
}

variable "assign_public_ip" {
  description = "Give tasks public addresses, to reach AWS out of public subnets. Nothing listens on them."
  type        = bool
  default     = false
  nullable    = false
}

variable "egress_cidr_blocks" {
  description = "Where tasks may connect to by HTTPS. With all endpoints made by this module: none."
  type        = list(string)
  default     = ["0.0.0.0/0"]
  nullable    = false

  validation {
    condition     = alltrue([for block in var.egress_cidr_blocks : can(cidrhost(block, 0)) && !strcontains(block, ":")])
    error_message = "egress_cidr_blocks: blocks of IPv4 such as 10.0.0.0/16."
  }
}

variable "vpc_endpoints" {
  description = "Endpoints to make in the VPC, for all that is in it: s3 (a gateway, free), kinesis, logs, glue, ecr_api, ecr_dkr, secretsmanager and ssm (each billed by the hour and zone). Not those that it has already."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.vpc_endpoints : contains(["s3", "kinesis", "logs", "glue", "ecr_api", "ecr_dkr", "secretsmanager", "ssm"], name)])
    error_message = "vpc_endpoints: s3, kinesis, logs, glue, ecr_api, ecr_dkr, secretsmanager and ssm."
  }
}

variable "route_table_ids" {
  description = "Route tables of subnet_ids, for the gateway of S3."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.route_table_ids : can(regex("^rtb-[0-9a-f]{8,17}$", id))])
    error_message = "route_table_ids: ids of route tables, such as rtb-0a1b2c3d."
  }
}

# Queries.

variable "glue_database_name" {
  description = "The database of Glue that is made, for Athena: one for each service of a region."
  type        = string
  default     = "logs"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.glue_database_name))
    error_message = "glue_database_name: 1 to 255 lower-case letters, digits and underscores."
  }
}

variable "partitions" {
  description = "How Athena knows of partitions: `registered` by the service, so that any condition works, or `projected` from the query, which then has to name its log groups."
  type        = string
  default     = "registered"
  nullable    = false

  validation {
    condition     = contains(["registered", "projected"], var.partitions)
    error_message = "partitions: registered or projected."
  }
}

variable "projection_days" {
  description = "Of projected tables: how many days back they show."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.projection_days >= 1 && var.projection_days <= 36500 && floor(var.projection_days) == var.projection_days
    error_message = "projection_days: a whole number from 1 to 36500."
  }
}

variable "athena_scan_limit_gibibytes" {
  description = "What one query of the workgroup may read, in GiB, before it is ended."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.athena_scan_limit_gibibytes >= 1 && floor(var.athena_scan_limit_gibibytes) == var.athena_scan_limit_gibibytes
    error_message = "athena_scan_limit_gibibytes: a whole number from 1."
  }
}

variable "athena_results_expiration_days" {
  description = "After so many days results of queries are deleted, in a bucket that is made here."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.athena_results_expiration_days >= 1
    error_message = "athena_results_expiration_days: at least 1."
  }
}

# Alarms.

variable "log_retention_days" {
  description = "How long Firemain's own log is kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "create_sns_topic" {
  description = "Make a topic that all alarms go to."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_emails" {
  description = "Addresses that get what comes to that topic; each has to confirm it once."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails: addresses."
  }
}

variable "alarm_actions" {
  description = "ARNs that all alarms go to, beside the topic."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for action in var.alarm_actions : startswith(action, "arn:")])
    error_message = "alarm_actions: ARNs."
  }
}

variable "page_actions" {
  description = "ARNs that those alarms go to besides for which somebody gets up: nothing is delivered, data is lost or about to be."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for action in var.page_actions : startswith(action, "arn:")])
    error_message = "page_actions: ARNs."
  }
}

variable "lag_alarm_seconds" {
  description = "How far behind reading may be, for ten minutes."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.lag_alarm_seconds >= 60
    error_message = "lag_alarm_seconds: at least 60."
  }
}

variable "retention_alarm_percent" {
  description = "How much of the stream's retention records may have waited before somebody is woken."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.retention_alarm_percent >= 1 && var.retention_alarm_percent <= 95
    error_message = "retention_alarm_percent: 1 to 95."
  }
}

variable "rejections_alarm" {
  description = "How many rejections in five minutes are usual."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.rejections_alarm >= 0
    error_message = "rejections_alarm: 0 or more."
  }
}

variable "kinesis_errors_alarm" {
  description = "How many failed calls of Kinesis in five minutes are usual, of all workers: single ones are tried again."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.kinesis_errors_alarm >= 0
    error_message = "kinesis_errors_alarm: 0 or more."
  }
}

variable "pack_backlog_alarm" {
  description = "How many committed packs may wait to be published, for ten minutes."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.pack_backlog_alarm >= 1
    error_message = "pack_backlog_alarm: 1 or more."
  }
}

variable "restarts_alarm" {
  description = "How many tasks may end by themselves, or not start, in 15 minutes: one less than this."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.restarts_alarm >= 1
    error_message = "restarts_alarm: 1 or more."
  }
}
