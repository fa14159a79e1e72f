# Weights and keys of this region. Versions of weights are kept; nobody reads them from outside, and
# nobody by a shared key: only identities that a role allows it.

resource "azurerm_storage_account" "weights" {
  name                            = var.account
  location                        = var.region
  resource_group_name             = azurerm_resource_group.here.name
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  local_user_enabled              = false
  public_network_access_enabled   = false
  tags                            = var.tags

  blob_properties {
    versioning_enabled  = true
    change_feed_enabled = true

    delete_retention_policy {
      days = 30
    }

    container_delete_retention_policy {
      days = 30
    }
  }

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
  }
}

resource "azurerm_storage_container" "weights" {
  name                  = var.weights.container
  storage_account_id    = azurerm_storage_account.weights.id
  container_access_type = "private"
}

resource "azurerm_storage_management_policy" "weights" {
  storage_account_id = azurerm_storage_account.weights.id

  rule {
    name    = "old-versions"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = 90
      }
    }
  }
}

data "azurerm_client_config" "me" {}

# The engine's key and its certificate are put here by people, so that no state file holds them.
resource "azurerm_key_vault" "keys" {
  name                          = var.vault
  location                      = var.region
  resource_group_name           = azurerm_resource_group.here.name
  tenant_id                     = data.azurerm_client_config.me.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = 30
  public_network_access_enabled = false
  tags                          = var.tags

  network_acls {
    default_action = "Deny"
    bypass         = "AzureServices"
  }
}

locals {
  private = {
    blob  = { zone = "privatelink.blob.core.windows.net", id = azurerm_storage_account.weights.id }
    vault = { zone = "privatelink.vaultcore.azure.net", id = azurerm_key_vault.keys.id }
  }
}

resource "azurerm_private_dns_zone" "here" {
  for_each = local.private

  name                = each.value.zone
  resource_group_name = azurerm_resource_group.here.name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "here" {
  for_each = local.private

  name                = each.key
  private_dns_zone_id = azurerm_private_dns_zone.here[each.key].id
  virtual_network_id  = azurerm_virtual_network.here.id
  tags                = var.tags
}

resource "azurerm_private_endpoint" "here" {
  for_each = local.private

  name                = "${var.name}-${each.key}"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  subnet_id           = azurerm_subnet.endpoints.id
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.id
    subresource_names              = [each.key]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [azurerm_private_dns_zone.here[each.key].id]
  }
}
