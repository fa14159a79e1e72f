# `target`: as many machines as keep the traffic out of each at what its answers make when it is as
# busy as wanted. Tencent Cloud tracks CPU and traffic only; no metric of an engine's own. Traffic is
# none when nobody calls and stops growing when the machine is full, so it is wanted well below that.

resource "tencentcloud_as_scaling_policy" "target" {
  count = var.scaling == "target" ? 1 : 0

  scaling_group_id          = tencentcloud_as_scaling_group.machines[local.grows].id
  policy_name               = "${var.name}-traffic"
  policy_type               = "TARGET_TRACKING"
  predefined_metric_type    = "ASG_AVG_LAN_TRAFFIC_OUT"
  target_value              = var.out_mbps
  estimated_instance_warmup = min(3600, var.engine.start_s)
  disable_scale_in          = false
}

# `cpu`: CPU at 65 % for 5 minutes adds 2 machines, then nothing for 300 s. GPUs are full long before.

resource "tencentcloud_as_scaling_policy" "cpu" {
  for_each = var.scaling != "cpu" ? {} : {
    more  = { comparison = "GREATER_THAN_OR_EQUAL_TO", percent = 65, minutes = 5, by = 2 }
    fewer = { comparison = "LESS_THAN", percent = 25, minutes = 10, by = -1 }
  }

  scaling_group_id    = tencentcloud_as_scaling_group.machines[local.grows].id
  policy_name         = "${var.name}-cpu-${each.key}"
  policy_type         = "SIMPLE"
  adjustment_type     = "CHANGE_IN_CAPACITY"
  adjustment_value    = each.value.by
  metric_name         = "CPU_UTILIZATION"
  statistic           = "AVERAGE"
  comparison_operator = each.value.comparison
  threshold           = each.value.percent
  period              = 60
  continuous_time     = each.value.minutes
  cooldown            = 300
}
