# Jobs that can wait: a queue, a worker that runs only while there are any, and where answers go.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 5.10.0, < 6.0.0"
    }
  }
}

resource "azurerm_servicebus_namespace" "jobs" {
  name                = var.bus
  location            = var.region
  resource_group_name = var.resource_group
  sku                 = "Standard"
  minimum_tls_version = "1.2"
  local_auth_enabled  = false
  tags                = var.tags

  identity {
    type = "SystemAssigned"
  }
}

# A lock lasts five minutes at most; the worker's host renews it for as long as a job takes. What comes
# back fifty times, which takes half a day, is a dead letter.
resource "azurerm_servicebus_queue" "jobs" {
  name                                 = "jobs"
  namespace_id                         = azurerm_servicebus_namespace.jobs.id
  lock_duration                        = "PT5M"
  max_delivery_count                   = 50
  default_message_ttl                  = "P4D"
  dead_lettering_on_message_expiration = true
  requires_duplicate_detection         = true
}

resource "azurerm_storage_account" "jobs" {
  name                            = var.account
  location                        = var.region
  resource_group_name             = var.resource_group
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
    versioning_enabled = true

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

resource "azurerm_storage_container" "jobs" {
  for_each = toset(["answers", "package"])

  name                  = each.value
  storage_account_id    = azurerm_storage_account.jobs.id
  container_access_type = "private"
}

resource "azurerm_private_endpoint" "jobs" {
  name                = "${var.name}-jobs"
  location            = var.region
  resource_group_name = var.resource_group
  subnet_id           = var.inside.endpoints_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "jobs"
    private_connection_resource_id = azurerm_storage_account.jobs.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "blob"
    private_dns_zone_ids = [var.inside.blob_zone_id]
  }
}

resource "azurerm_user_assigned_identity" "worker" {
  name                = "${var.name}-worker"
  location            = var.region
  resource_group_name = var.resource_group
  tags                = var.tags
}

# Its host keeps locks in the account, for which Azure names no lesser role than owner of its blobs;
# that is why the account holds nothing but jobs.
resource "azurerm_role_assignment" "worker" {
  for_each = {
    "Azure Service Bus Data Receiver" = azurerm_servicebus_queue.jobs.id
    "Storage Blob Data Owner"         = azurerm_storage_account.jobs.id
    "Key Vault Secrets User"          = "${var.vault.id}/secrets/engine-key"
  }

  scope                = each.value
  role_definition_name = each.key
  principal_id         = azurerm_user_assigned_identity.worker.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_service_plan" "worker" {
  name                = "${var.name}-worker"
  location            = var.region
  resource_group_name = var.resource_group
  os_type             = "Linux"
  sku_name            = "FC1"
  tags                = var.tags
}

resource "azurerm_function_app_flex_consumption" "worker" {
  name                = "${var.account}-worker"
  location            = var.region
  resource_group_name = var.resource_group
  service_plan_id     = azurerm_service_plan.worker.id

  runtime_name    = "python"
  runtime_version = "3.12"

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.jobs.primary_blob_endpoint}package"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.worker.id

  instance_memory_in_mb                          = 2048
  maximum_instance_count                         = 40
  virtual_network_subnet_id                      = var.inside.workers_subnet_id
  https_only                                     = true
  public_network_access_enabled                  = false
  client_certificate_enabled                     = true
  webdeploy_publish_basic_authentication_enabled = false
  tags                                           = var.tags

  site_config {
    minimum_tls_version    = "1.2"
    http2_enabled          = true
    vnet_route_all_enabled = true
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.worker.id]
  }

  app_settings = {
    AzureWebJobsStorage__accountName = azurerm_storage_account.jobs.name
    AzureWebJobsStorage__credential  = "managedidentity"
    AzureWebJobsStorage__clientId    = azurerm_user_assigned_identity.worker.client_id
    JOBS__fullyQualifiedNamespace    = "${azurerm_servicebus_namespace.jobs.name}.servicebus.windows.net"
    JOBS__credential                 = "managedidentity"
    JOBS__clientId                   = azurerm_user_assigned_identity.worker.client_id
    CLIENT_ID                        = azurerm_user_assigned_identity.worker.client_id
    ANSWERS_URL                      = "${azurerm_storage_account.jobs.primary_blob_endpoint}answers"
    URL                              = var.url
    KEY_URL                          = "${var.vault.url}secrets/engine-key"
  }

  depends_on = [azurerm_private_endpoint.jobs, azurerm_role_assignment.worker]
}

# By which its code is put there, from inside the network. See the README.
resource "azurerm_private_dns_zone" "worker" {
  name                = "privatelink.azurewebsites.net"
  resource_group_name = var.resource_group
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "worker" {
  name                = "worker"
  private_dns_zone_id = azurerm_private_dns_zone.worker.id
  virtual_network_id  = var.inside.network_id
  tags                = var.tags
}

resource "azurerm_private_endpoint" "worker" {
  name                = "${var.name}-worker"
  location            = var.region
  resource_group_name = var.resource_group
  subnet_id           = var.inside.endpoints_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "worker"
    private_connection_resource_id = azurerm_function_app_flex_consumption.worker.id
    subresource_names              = ["sites"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "worker"
    private_dns_zone_ids = [azurerm_private_dns_zone.worker.id]
  }
}

resource "azurerm_monitor_metric_alert" "dead" {
  count = length(var.alarms) > 0 ? 1 : 0

  name                = "${var.name}-jobs"
  resource_group_name = var.resource_group
  description         = "Jobs were given up after fifty tries: look at the queue's dead letters."
  scopes              = [azurerm_servicebus_namespace.jobs.id]
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT15M"
  tags                = var.tags

  criteria {
    metric_namespace = "Microsoft.ServiceBus/namespaces"
    metric_name      = "DeadletteredMessages"
    aggregation      = "Maximum"
    operator         = "GreaterThan"
    threshold        = 0
  }

  dynamic "action" {
    for_each = var.alarms

    content {
      action_group_id = action.value
    }
  }
}

output "queue" {
  description = "Where jobs are sent: the role to give senders is Azure Service Bus Data Sender, on its id."

  value = {
    id        = azurerm_servicebus_queue.jobs.id
    namespace = "${azurerm_servicebus_namespace.jobs.name}.servicebus.windows.net"
    name      = azurerm_servicebus_queue.jobs.name
    worker    = azurerm_function_app_flex_consumption.worker.name
    answers   = "${azurerm_storage_account.jobs.primary_blob_endpoint}answers"
  }
}
