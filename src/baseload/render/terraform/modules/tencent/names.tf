# The failover name. With IGTM it is checked each minute, and becomes the second region's when the
# first does not answer. DNSPod alone cannot do that: it keeps two records, one of them paused, which
# a person swaps by `standby_active`. Either is slow; a gateway fails over by itself.

locals {
  sub = local.public ? trimsuffix(var.host, ".${var.zone}") : ""
  sides = local.public ? merge(
    { first = module.first.address },
    var.standby == "none" ? {} : { standby = module.standby[0].address },
  ) : {}
  has_igtm = local.public && var.igtm_package != "" && var.standby != "none"
}

resource "tencentcloud_dnspod_record" "engine" {
  for_each = local.has_igtm ? {} : local.sides

  domain      = var.zone
  sub_domain  = local.sub
  record_type = "A"
  record_line = "默认"
  value       = each.value
  ttl         = 600
  status      = (each.key == "standby") == (var.standby_active && var.standby != "none") ? "ENABLE" : "DISABLE"
  remark      = each.key
}

# The second region has a name of its own too, for a gateway that fails over by itself.
resource "tencentcloud_dnspod_record" "standby" {
  count = local.public && var.standby != "none" ? 1 : 0

  domain      = var.zone
  sub_domain  = "standby.${local.sub}"
  record_type = "A"
  record_line = "默认"
  value       = module.standby[0].address
  ttl         = 600
}

resource "tencentcloud_igtm_instance" "engine" {
  count = local.has_igtm ? 1 : 0

  domain            = var.zone
  access_type       = "CUSTOM"
  access_domain     = var.zone
  access_sub_domain = local.sub
  global_ttl        = 60
  package_type      = "STANDARD"
  resource_id       = var.igtm_package
  instance_name     = local.name
}

resource "tencentcloud_igtm_monitor" "engine" {
  count = local.has_igtm ? 1 : 0

  monitor_name          = local.name
  check_protocol        = "HTTPS"
  tcp_port              = 443
  host                  = var.host
  path                  = "/health"
  check_interval        = 60
  timeout               = 5
  fail_times            = 1
  fail_rate             = 50
  continue_period       = 2
  return_code_threshold = 400
  enable_sni            = "ENABLED"
  detector_style        = "INTERNAL"
  detector_group_ids    = var.igtm_detectors
}

resource "tencentcloud_igtm_address_pool" "side" {
  for_each = local.has_igtm ? local.sides : {}

  pool_name        = "${local.name}-${each.key}"
  traffic_strategy = "ALL"
  monitor_id       = tencentcloud_igtm_monitor.engine[0].monitor_id

  address_set {
    addr      = each.value
    is_enable = "ENABLED"
  }
}

resource "tencentcloud_igtm_strategy" "engine" {
  count = local.has_igtm ? 1 : 0

  instance_id      = tencentcloud_igtm_instance.engine[0].id
  strategy_name    = local.name
  switch_pool_type = "AUTO"

  source {
    dns_line_id = 1
    name        = "默认"
  }

  main_address_pool_set {
    traffic_strategy = "ALL"
    min_survive_num  = 1

    address_pools {
      pool_id = tencentcloud_igtm_address_pool.side["first"].pool_id
    }
  }

  fallback_address_pool_set {
    address_pools {
      pool_id = tencentcloud_igtm_address_pool.side["standby"].pool_id
    }
  }
}
