resource "azurerm_monitor_metric_alert" "health" {
  count = length(var.alarms) > 0 && var.replicas > 0 ? 1 : 0

  name                = "${var.name}-health"
  resource_group_name = azurerm_resource_group.here.name
  description         = "Fewer than half of the health checks pass: see whether engines start."
  scopes              = [azurerm_lb.engine.id]
  severity            = 1
  frequency           = "PT1M"
  window_size         = "PT5M"
  tags                = var.tags

  criteria {
    metric_namespace = "Microsoft.Network/loadBalancers"
    metric_name      = "DipAvailability"
    aggregation      = "Average"
    operator         = "LessThan"
    threshold        = 50
  }

  dynamic "action" {
    for_each = var.alarms

    content {
      action_group_id = action.value
    }
  }
}

resource "azurerm_monitor_metric_alert" "load" {
  count = length(var.alarms) > 0 && var.replicas > 0 ? 1 : 0

  name                = "${var.name}-load"
  resource_group_name = azurerm_resource_group.here.name
  description         = "Engines have more calls than fit at once, for half an hour: is the group at its most?"
  scopes              = [azurerm_orchestrated_virtual_machine_scale_set.machines.id]
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT30M"
  tags                = var.tags

  criteria {
    metric_namespace       = "baseload"
    metric_name            = "load"
    aggregation            = "Average"
    operator               = "GreaterThan"
    threshold              = 1
    skip_metric_validation = true
  }

  dynamic "action" {
    for_each = var.alarms

    content {
      action_group_id = action.value
    }
  }
}
