output "firemain" {
  description = "All that the module tells."
  value       = module.firemain
}

output "operator_commands" {
  description = "What `aws ecs run-task` may run besides the service."
  value       = local.operator_commands
}
