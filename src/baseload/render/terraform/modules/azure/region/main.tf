locals {
  port    = var.public ? 8443 : var.engine.port
  address = cidrhost(azurerm_subnet.machines.address_prefixes[0], 10)

  # A machine that still starts is not ill: Azure waits between 10 and 90 minutes.
  repair_after = "PT${min(90, max(10, ceil(var.engine.start_s / 60) + 5))}M"

  # The group's own id is needed by its machines, so it is put together instead of referred to.
  group_id = join("/", [
    "/subscriptions/${data.azurerm_client_config.me.subscription_id}",
    "resourceGroups/${var.name}/providers/Microsoft.Compute/virtualMachineScaleSets/${var.name}",
  ])

  boot = templatefile("${path.module}/boot.sh.tftpl", {
    engine    = var.engine
    args      = jsonencode(var.engine.args)
    settings  = jsonencode(var.engine.environment)
    client_id = azurerm_user_assigned_identity.machine.client_id
    vault_url = azurerm_key_vault.keys.vault_uri
    weights   = var.weights.path == "" ? "" : "${azurerm_storage_account.weights.primary_blob_endpoint}${var.weights.container}/${var.weights.path}"
    publish   = "https://${var.region}.monitoring.azure.com${local.group_id}/metrics"
    region    = var.region
    public    = var.public
  })
}
