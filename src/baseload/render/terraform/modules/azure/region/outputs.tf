output "url" {
  description = "Where the engine answers."
  value       = var.public ? "https://${azurerm_public_ip.in[0].fqdn}" : "http://${local.address}:${var.engine.port}"
}

output "host" {
  description = "The name that Azure gives the balancer's public address; null inside."
  value       = var.public ? azurerm_public_ip.in[0].fqdn : null
}

output "public_ip_id" {
  description = "The balancer's public address; null inside."
  value       = var.public ? azurerm_public_ip.in[0].id : null
}

output "network_id" {
  description = "To be peered with the network that gateways run in."
  value       = azurerm_virtual_network.here.id
}

output "network_name" {
  description = "The network's name."
  value       = azurerm_virtual_network.here.name
}

output "resource_group" {
  description = "The resource group's id and name."
  value       = { id = azurerm_resource_group.here.id, name = azurerm_resource_group.here.name }
}

output "account" {
  description = "The storage account's id and its blob endpoint."

  value = {
    id       = azurerm_storage_account.weights.id
    endpoint = azurerm_storage_account.weights.primary_blob_endpoint
  }
}

output "container" {
  description = "The container of weights."
  value       = azurerm_storage_container.weights.name
}

output "group_id" {
  description = "The group of machines."
  value       = azurerm_orchestrated_virtual_machine_scale_set.machines.id
}

output "inside" {
  description = "Where a worker and its storage are put inside the network."

  value = {
    network_id          = azurerm_virtual_network.here.id
    workers_subnet_id   = azurerm_subnet.workers.id
    endpoints_subnet_id = azurerm_subnet.endpoints.id
    blob_zone_id        = azurerm_private_dns_zone.here["blob"].id
  }
}

output "vault" {
  description = "The key vault: its id, and where it answers."
  value       = { id = azurerm_key_vault.keys.id, url = azurerm_key_vault.keys.vault_uri }
}
