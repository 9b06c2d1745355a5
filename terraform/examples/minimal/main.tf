# The least: an on-demand stream, a bucket, one worker that autoscaling may make four of, and two log groups.

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
  description = "Subnets that reach AWS, by NAT or endpoints."
  type        = list(string)
}

module "firemain" {
  source = "../.."

  image      = var.image
  vpc_id     = var.vpc_id
  subnet_ids = var.subnet_ids

  log_groups = {
    "/ecs/web"             = {}
    "/aws/lambda/checkout" = {}
  }
}

output "destination" {
  description = "The lake."
  value       = module.firemain.destination
}

output "athena_workgroup_name" {
  description = "Where to query it."
  value       = module.firemain.athena_workgroup_name
}
