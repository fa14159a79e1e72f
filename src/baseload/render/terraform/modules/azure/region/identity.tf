# What a machine may do: read the weights, read its own two secrets, say how busy it is. No more.

resource "azurerm_user_assigned_identity" "machine" {
  name                = "${var.name}-machine"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  tags                = var.tags
}

resource "azurerm_role_assignment" "weights" {
  scope                = azurerm_storage_container.weights.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.machine.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "secrets" {
  for_each = toset(concat(["engine-key"], var.public ? ["engine-tls"] : []))

  scope                = "${azurerm_key_vault.keys.id}/secrets/${each.value}"
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.machine.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "metrics" {
  scope                = azurerm_orchestrated_virtual_machine_scale_set.machines.id
  role_definition_name = "Monitoring Metrics Publisher"
  principal_id         = azurerm_user_assigned_identity.machine.principal_id
  principal_type       = "ServicePrincipal"
}
