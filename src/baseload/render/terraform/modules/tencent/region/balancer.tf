# Inside the network, always; and with a zone a second one outside, with TLS, for a name that is
# checked from there. Both check each machine every 60 s.

resource "tencentcloud_clb_instance" "inside" {
  clb_name                     = var.name
  network_type                 = "INTERNAL"
  vpc_id                       = tencentcloud_vpc.here.id
  subnet_id                    = tencentcloud_subnet.machines[0].id
  load_balancer_pass_to_target = true
  tags                         = var.tags
}

resource "tencentcloud_clb_listener" "inside" {
  clb_id                     = tencentcloud_clb_instance.inside.id
  listener_name              = "engine"
  protocol                   = "TCP"
  port                       = var.engine.port
  scheduler                  = "LEAST_CONN"
  target_type                = "NODE"
  health_check_switch        = true
  health_check_type          = "HTTP"
  health_check_http_path     = "/health"
  health_check_http_method   = "GET"
  health_check_http_version  = "HTTP/1.1"
  health_check_http_domain   = "engine"
  health_check_http_code     = 2
  health_check_interval_time = 60
  health_check_time_out      = 10
  health_check_health_num    = 2
  health_check_unhealth_num  = 2
}

resource "tencentcloud_security_group" "outside" {
  count = var.public ? 1 : 0

  name        = "${var.name}-outside"
  description = "Who may call the balancer"
  tags        = var.tags
}

resource "tencentcloud_security_group_rule_set" "outside" {
  count = var.public ? 1 : 0

  security_group_id = tencentcloud_security_group.outside[0].id

  dynamic "ingress" {
    for_each = toset(concat(var.callers, ["${tencentcloud_eip.out.public_ip}/32"]))

    content {
      action      = "ACCEPT"
      cidr_block  = ingress.value
      protocol    = "TCP"
      port        = "443"
      description = "Callers"
    }
  }

  ingress {
    action      = "DROP"
    cidr_block  = "0.0.0.0/0"
    protocol    = "ALL"
    port        = "ALL"
    description = "Nothing else"
  }

  egress {
    action      = "ACCEPT"
    cidr_block  = var.cidr
    protocol    = "ALL"
    port        = "ALL"
    description = "Machines"
  }
}

resource "tencentcloud_clb_instance" "outside" {
  count = var.public ? 1 : 0

  clb_name                     = "${var.name}-outside"
  network_type                 = "OPEN"
  vpc_id                       = tencentcloud_vpc.here.id
  security_groups              = [tencentcloud_security_group.outside[0].id]
  internet_charge_type         = "TRAFFIC_POSTPAID_BY_HOUR"
  internet_bandwidth_max_out   = 200
  load_balancer_pass_to_target = true
  delete_protect               = true
  tags                         = var.tags
}

resource "tencentcloud_clb_listener" "outside" {
  count = var.public ? 1 : 0

  clb_id                     = tencentcloud_clb_instance.outside[0].id
  listener_name              = "engine"
  protocol                   = "TCP_SSL"
  port                       = 443
  certificate_ssl_mode       = "UNIDIRECTIONAL"
  certificate_id             = var.certificate_id
  scheduler                  = "LEAST_CONN"
  target_type                = "NODE"
  health_check_switch        = true
  health_check_interval_time = 60
  health_check_time_out      = 10
  health_check_health_num    = 2
  health_check_unhealth_num  = 2
}
