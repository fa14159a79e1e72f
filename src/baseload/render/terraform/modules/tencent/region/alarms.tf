resource "tencentcloud_monitor_alarm_notice" "people" {
  count = length(var.alarm_users) > 0 ? 1 : 0

  name            = var.name
  notice_type     = "ALL"
  notice_language = "en-US"

  user_notices {
    receiver_type = "USER"
    user_ids      = var.alarm_users
    notice_ways   = ["EMAIL", "SMS"]
    start_time    = 0
    end_time      = 86399
    weekdays      = [1, 2, 3, 4, 5, 6, 7]
  }
}

# Machines are found by their tag, so new ones of a group are watched too.
resource "tencentcloud_monitor_alarm_policy" "machines" {
  count = length(var.alarm_users) > 0 ? 1 : 0

  policy_name  = "${var.name}-machines"
  monitor_type = "MT_QCE"
  namespace    = "cvm_device"
  project_id   = 0
  enable       = 1
  remark       = "A machine is gone, or its memory or a disk is nearly full."
  notice_ids   = [tencentcloud_monitor_alarm_notice.people[0].id]

  policy_tag {
    key   = "group"
    value = var.name
  }

  conditions {
    is_union_rule = 0

    dynamic "rules" {
      for_each = { MemUsage = "95", CvmDiskUsage = "90" }

      content {
        metric_name      = rules.key
        rule_type        = "STATIC"
        operator         = "ge"
        value            = rules.value
        unit             = "%"
        period           = 60
        continue_period  = 5
        notice_frequency = 3600
        is_power_notice  = 0
      }
    }
  }

  dynamic "event_conditions" {
    for_each = toset(["ping_unreachable", "guest_reboot", "disk_readonly"])

    content {
      metric_name = event_conditions.value
    }
  }
}
