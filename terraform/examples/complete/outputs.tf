output "firemain" {
  description = "All that the module tells."
  value       = module.firemain
}
