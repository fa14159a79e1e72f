# Groups of machines: one on demand, and with spot a second one above it. The second is the one that
# grows, so it keeps a machine: an empty group measures nothing.

locals {
  groups = merge(
    {
      floor = {
        charge = "POSTPAID_BY_HOUR"
        least  = var.spot ? min(var.floor, var.replicas) : var.replicas
        most   = var.spot ? min(var.floor, var.replicas) : max(var.replicas, var.replicas_max)
      }
    },
    !var.spot ? {} : {
      spot = {
        charge = "SPOTPAID"
        least  = var.replicas == 0 ? 0 : max(1, var.replicas - var.floor)
        most   = max(1, var.replicas, var.replicas_max) - min(var.floor, var.replicas)
      }
    },
  )
  grows = var.spot ? "spot" : "floor"

  boot = templatefile("${path.module}/boot.sh.tftpl", {
    engine   = var.engine
    args     = jsonencode(var.engine.args)
    settings = jsonencode(var.engine.environment)
    role     = tencentcloud_cam_role.machine.name
    secret   = tencentcloud_ssm_secret.engine_key.secret_name
    region   = var.region
    weights  = var.weights
  })
}

resource "tencentcloud_key_pair" "people" {
  key_name   = replace(substr(var.name, 0, 25), "-", "_")
  public_key = var.ssh_public_key
  tags       = var.tags
}

resource "tencentcloud_as_scaling_config" "machines" {
  for_each = local.groups

  configuration_name   = "${var.name}-${each.key}"
  image_id             = var.image
  instance_types       = var.instance_types
  instance_charge_type = each.value.charge
  spot_instance_type   = each.key == "spot" ? "one-time" : null
  spot_max_price       = each.key == "spot" ? var.spot_max_hour : null
  cam_role_name        = tencentcloud_cam_role.machine.name
  key_ids              = [tencentcloud_key_pair.people.id]
  security_group_ids   = [tencentcloud_security_group.machines.id]
  public_ip_assigned   = false

  system_disk_type = "CLOUD_SSD"
  system_disk_size = 200

  data_disk {
    disk_type            = "CLOUD_SSD"
    disk_size            = var.data_volume_gb
    delete_with_instance = true
    snapshot_id          = var.disk_snapshot == "" ? null : var.disk_snapshot
  }

  enhanced_monitor_service  = true
  enhanced_security_service = true
  user_data                 = base64encode(local.boot)
  instance_tags             = merge(var.tags, { group = var.name })
  tags                      = var.tags

  instance_name_settings {
    instance_name       = "${var.name}-${each.key}"
    instance_name_style = "UNIQUE"
  }
}

resource "tencentcloud_as_scaling_group" "machines" {
  for_each = local.groups

  scaling_group_name              = "${var.name}-${each.key}"
  configuration_id                = tencentcloud_as_scaling_config.machines[each.key].id
  vpc_id                          = tencentcloud_vpc.here.id
  subnet_ids                      = tencentcloud_subnet.machines[*].id
  multi_zone_subnet_policy        = "EQUALITY"
  min_size                        = each.value.least
  max_size                        = each.value.most
  desired_capacity                = each.value.least
  default_cooldown                = 300
  health_check_type               = "CLB"
  lb_health_check_grace_period    = min(7200, var.engine.start_s + 3 * 60)
  replace_load_balancer_unhealthy = true
  replace_monitor_unhealthy       = true
  replace_mode                    = "RECREATE"
  retry_policy                    = "INCREMENTAL_INTERVALS"
  termination_policies            = ["OLDEST_INSTANCE"]
  tags                            = var.tags

  dynamic "forward_balancer_ids" {
    for_each = concat([tencentcloud_clb_listener.inside], tencentcloud_clb_listener.outside)

    content {
      load_balancer_id = forward_balancer_ids.value.clb_id
      listener_id      = forward_balancer_ids.value.listener_id

      target_attribute {
        port   = var.engine.port
        weight = 10
      }
    }
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }

  depends_on = [tencentcloud_route_table_entry.out, tencentcloud_cam_role_policy_attachment.machine]
}
