terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 5.10.0, < 6.0.0"
    }
  }

  # What it is told is in the environment's .tfbackend file.
  backend "azurerm" {
    use_azuread_auth = true
  }
}

# The subscription is that of the environment variable ARM_SUBSCRIPTION_ID.
provider "azurerm" {
  storage_use_azuread = true

  features {
    key_vault {
      purge_soft_delete_on_destroy = false
    }

    resource_group {
      prevent_deletion_if_contains_resources = true
    }
  }
}
