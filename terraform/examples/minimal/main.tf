# The least: an on-demand stream, a bucket, one worker that autoscaling may make four of, and some log groups.

terraform {
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Where everything is."
  type        = string
  default     = "eu-west-1"
}

variable "image" {
  description = "The image of Firemain: REGISTRY/REPOSITORY:TAG."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets that reach AWS: private ones by NAT or endpoints, or public ones with assign_public_ip."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "True in public subnets, as those of a default VPC are."
  type        = bool
  default     = false
}

variable "log_groups" {
  description = "The log groups to deliver, which are there already."
  type        = set(string)
}

module "firemain" {
  source = "../.."

  image            = var.image
  vpc_id           = var.vpc_id
  subnet_ids       = var.subnet_ids
  assign_public_ip = var.assign_public_ip
  log_groups       = { for name in var.log_groups : name => {} }
}

# What the commands of README.md, Deploy it, ask for.

output "destination" {
  description = "The lake."
  value       = module.firemain.destination
}

output "cluster_name" {
  description = "The cluster."
  value       = module.firemain.cluster_name
}

output "service_name" {
  description = "The service in it."
  value       = module.firemain.service_name
}

output "log_group_name" {
  description = "Firemain's own log."
  value       = module.firemain.log_group_name
}

output "glue_database_name" {
  description = "The database with its tables."
  value       = module.firemain.glue_database_name
}

output "athena_workgroup_name" {
  description = "Where to query them."
  value       = module.firemain.athena_workgroup_name
}
