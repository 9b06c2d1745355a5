terraform {
  # 1.7: mocked providers in tests. Nothing newer is used, so that OpenTofu 1.7 plans it too.
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
