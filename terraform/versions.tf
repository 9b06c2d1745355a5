terraform {
  # 1.7: mocked providers, in the tests. The module itself uses nothing newer.
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
