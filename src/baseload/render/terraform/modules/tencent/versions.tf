terraform {
  required_version = ">= 1.11"

  required_providers {
    tencentcloud = {
      source  = "tencentcloudstack/tencentcloud"
      version = ">= 1.82.0, < 2.0.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.4"
    }
  }

  # Told by a .tfbackend file, one for each environment.
  backend "cos" {}
}

# Keys are those of the environment: TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY.
provider "tencentcloud" {
  region = var.region
}

# Where nothing stands by, this is the first region again, and nothing uses it.
provider "tencentcloud" {
  alias  = "standby"
  region = coalesce(var.standby_region, var.region)
}
