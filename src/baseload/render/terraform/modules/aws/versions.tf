terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.4"
    }
  }

  # Told by a .tfbackend file, one for each environment.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

# Where nothing stands by, this is the first region again, and nothing uses it.
provider "aws" {
  alias  = "standby"
  region = coalesce(var.standby_region, var.region)

  default_tags {
    tags = local.tags
  }
}
