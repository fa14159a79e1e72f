# The failover name: the first region as long as its health checks pass, else the one that stands by.
# Callers keep an answer for its time to live, so this is slow; a gateway fails over by itself.

data "azurerm_dns_zone" "zone" {
  count = local.public ? 1 : 0

  name = var.zone
}

resource "azurerm_traffic_manager_profile" "engine" {
  count = local.public ? 1 : 0

  name                   = local.name
  resource_group_name    = module.first.resource_group.name
  traffic_routing_method = "Priority"
  tags                   = local.tags

  dns_config {
    relative_name = var.bucket
    ttl           = 60
  }

  monitor_config {
    protocol                     = "HTTPS"
    port                         = 443
    path                         = "/health"
    interval_in_seconds          = 30
    timeout_in_seconds           = 10
    tolerated_number_of_failures = 3
  }
}

resource "azurerm_traffic_manager_azure_endpoint" "engine" {
  for_each = local.public ? merge(
    { first = { priority = 1, id = module.first.public_ip_id } },
    var.standby == "none" ? {} : { standby = { priority = 2, id = module.standby[0].public_ip_id } },
  ) : {}

  name               = each.key
  profile_id         = azurerm_traffic_manager_profile.engine[0].id
  target_resource_id = each.value.id
  priority           = each.value.priority
}

resource "azurerm_dns_cname_record" "engine" {
  count = local.public ? 1 : 0

  name                = trimsuffix(var.host, ".${var.zone}")
  zone_name           = data.azurerm_dns_zone.zone[0].name
  resource_group_name = data.azurerm_dns_zone.zone[0].resource_group_name
  ttl                 = 60
  record              = azurerm_traffic_manager_profile.engine[0].fqdn
  tags                = local.tags
}

# The one that stands by has a name of its own too, for a gateway that fails over by itself.
resource "azurerm_dns_cname_record" "standby" {
  count = local.public && var.standby != "none" ? 1 : 0

  name                = "standby.${trimsuffix(var.host, ".${var.zone}")}"
  zone_name           = data.azurerm_dns_zone.zone[0].name
  resource_group_name = data.azurerm_dns_zone.zone[0].resource_group_name
  ttl                 = 60
  record              = module.standby[0].host
  tags                = local.tags
}
