# Azure has no target tracking. What comes nearest are two rules on the load that engines report:
# one machine more above the target, one less far below it, and after each a wait that is longer than
# a machine takes to start, so that what was added is there before anybody asks again.

locals {
  target = var.engine.load_wanted
  start  = "PT${ceil(var.engine.start_s / 60) + 5}M"

  rules = {
    cpu = [
      {
        metric    = "Percentage CPU"
        namespace = null
        above     = true
        threshold = 65
        window    = "PT5M"
        direction = "Increase"
        by        = 2
        cooldown  = "PT5M"
      },
      {
        metric    = "Percentage CPU"
        namespace = null
        above     = false
        threshold = 30
        window    = "PT15M"
        direction = "Decrease"
        by        = 1
        cooldown  = "PT5M"
      },
    ]

    target = [
      {
        metric    = "load"
        namespace = "baseload"
        above     = true
        threshold = local.target
        window    = "PT5M"
        direction = "Increase"
        by        = 1
        cooldown  = local.start
      },
      {
        metric    = "load"
        namespace = "baseload"
        above     = false
        threshold = local.target / 2
        window    = "PT30M"
        direction = "Decrease"
        by        = 1
        cooldown  = "PT30M"
      },
    ]
  }
}

resource "azurerm_monitor_autoscale_setting" "machines" {
  name                = var.name
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  target_resource_id  = azurerm_orchestrated_virtual_machine_scale_set.machines.id
  tags                = var.tags

  profile {
    name = var.scaling

    capacity {
      minimum = var.replicas
      default = var.replicas
      maximum = max(var.replicas, var.replicas_max)
    }

    dynamic "rule" {
      for_each = local.rules[var.scaling]

      content {
        metric_trigger {
          metric_name        = rule.value.metric
          metric_namespace   = rule.value.namespace
          metric_resource_id = azurerm_orchestrated_virtual_machine_scale_set.machines.id
          statistic          = "Average"
          time_aggregation   = "Average"
          time_grain         = "PT1M"
          time_window        = rule.value.window
          operator           = rule.value.above ? "GreaterThanOrEqual" : "LessThan"
          threshold          = rule.value.threshold
        }

        scale_action {
          direction = rule.value.direction
          type      = "ChangeCount"
          value     = rule.value.by
          cooldown  = rule.value.cooldown
        }
      }
    }
  }
}
