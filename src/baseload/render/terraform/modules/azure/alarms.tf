resource "azurerm_monitor_action_group" "people" {
  count = var.alarm_email == "" ? 0 : 1

  name                = "${local.name}-people"
  resource_group_name = module.first.resource_group.name
  short_name          = "baseload"
  tags                = local.tags

  email_receiver {
    name                    = "people"
    email_address           = var.alarm_email
    use_common_alert_schema = true
  }
}

resource "azurerm_monitor_metric_alert" "names" {
  count = local.public && var.alarm_email != "" ? 1 : 0

  name                = "${local.name}-names"
  resource_group_name = module.first.resource_group.name
  description         = "A region fails the health checks of the failover name."
  scopes              = [azurerm_traffic_manager_profile.engine[0].id]
  severity            = 1
  frequency           = "PT1M"
  window_size         = "PT5M"
  tags                = local.tags

  criteria {
    metric_namespace = "Microsoft.Network/trafficManagerProfiles"
    metric_name      = "ProbeAgentCurrentEndpointStateByProfileResourceId"
    aggregation      = "Maximum"
    operator         = "LessThan"
    threshold        = 1

    dimension {
      name     = "EndpointName"
      operator = "Include"
      values   = local.standby_replicas == 0 ? ["first"] : ["*"]
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.people[0].id
  }
}

# One budget for each resource group; a standby's share is what it costs while it stands by.
resource "azurerm_consumption_budget_resource_group" "month" {
  for_each = var.budget_usd_month == null ? {} : merge(
    { first = module.first.resource_group.id },
    var.standby == "none" ? {} : { standby = module.standby[0].resource_group.id },
  )

  name              = "${local.name}-${each.key}"
  resource_group_id = each.value
  amount            = var.budget_usd_month
  time_grain        = "Monthly"

  time_period {
    start_date = formatdate("YYYY-MM-01'T'00:00:00Z", plantimestamp())
  }

  notification {
    operator       = "GreaterThanOrEqualTo"
    threshold      = 80
    threshold_type = "Actual"
    contact_emails = compact([var.alarm_email])
    contact_roles  = ["Owner"]
  }

  notification {
    operator       = "GreaterThanOrEqualTo"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = compact([var.alarm_email])
    contact_roles  = ["Owner"]
  }

  lifecycle {
    ignore_changes = [time_period]
  }
}
