variable "region" {
  description = "Where everything is."
  type        = string
  default     = "eu-west-1"
}

variable "name" {
  description = "Begins the name of everything."
  type        = string
  default     = "firemain"
}

variable "image" {
  description = "The image of Firemain: REGISTRY/REPOSITORY:TAG."
  type        = string
}

variable "mask_hash_key_arn" {
  description = "The secret that masked values are hashed with: aws secretsmanager create-secret --name firemain/mask --secret-string \"$(openssl rand -hex 32)\""
  type        = string
}

variable "subscribe_account" {
  description = "Subscribe the whole account in place of two log groups."
  type        = bool
  default     = false
}

variable "alarm_emails" {
  description = "Who gets the alarms."
  type        = list(string)
  default     = []
}

variable "force_destroy" {
  description = "Let a destroy delete the logs."
  type        = bool
  default     = false
}

variable "wait_for_steady_state" {
  description = "Let an apply wait for the workers."
  type        = bool
  default     = true
}
