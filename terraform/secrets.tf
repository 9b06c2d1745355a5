# The key that masked values are hashed with is made outside and given by its ARN: so it is in no variable, no state and no
# plan. The agent of ECS reads it at the start of a task, with the execution role.
locals {
  has_hash_key = var.mask_hash_key_arn != null

  # arn:PARTITION:SERVICE:REGION:ACCOUNT:…; of a secret a member of its JSON and a version may stand behind the name.
  hash_key_parts   = split(":", coalesce(var.mask_hash_key_arn, ":::::"))
  hash_key_is_ssm  = local.hash_key_parts[2] == "ssm"
  hash_key_arn     = local.hash_key_is_ssm ? var.mask_hash_key_arn : join(":", slice(local.hash_key_parts, 0, min(7, length(local.hash_key_parts))))
  hash_key_action  = local.hash_key_is_ssm ? "ssm:GetParameters" : "secretsmanager:GetSecretValue"
  hash_key_service = local.hash_key_is_ssm ? "ssm" : "secretsmanager"

  container_secrets = local.has_hash_key ? [{ name = "FIREMAIN_MASK__HASH_KEY", valueFrom = var.mask_hash_key_arn }] : []
}
