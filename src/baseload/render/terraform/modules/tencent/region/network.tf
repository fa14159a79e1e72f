# A network of its own. Machines have no public address: what they fetch goes out by the NAT gateway,
# what calls them comes through the balancer.

resource "tencentcloud_vpc" "here" {
  name         = var.name
  cidr_block   = var.cidr
  is_multicast = false
  tags         = var.tags
}

resource "tencentcloud_eip" "out" {
  name                       = "${var.name}-out"
  internet_charge_type       = "TRAFFIC_POSTPAID_BY_HOUR"
  internet_max_bandwidth_out = 100
  tags                       = var.tags
}

resource "tencentcloud_nat_gateway" "out" {
  name             = var.name
  vpc_id           = tencentcloud_vpc.here.id
  bandwidth        = 100
  max_concurrent   = 1000000
  assigned_eip_set = [tencentcloud_eip.out.public_ip]
  tags             = var.tags
}

resource "tencentcloud_route_table" "machines" {
  name   = "${var.name}-machines"
  vpc_id = tencentcloud_vpc.here.id
  tags   = var.tags
}

resource "tencentcloud_route_table_entry" "out" {
  route_table_id         = tencentcloud_route_table.machines.id
  destination_cidr_block = "0.0.0.0/0"
  next_type              = "NAT"
  next_hub               = tencentcloud_nat_gateway.out.id
  description            = "Out, by the NAT gateway."
}

resource "tencentcloud_subnet" "machines" {
  count = length(var.zones)

  name              = "${var.name}-${var.zones[count.index]}"
  vpc_id            = tencentcloud_vpc.here.id
  availability_zone = var.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 4, count.index)
  route_table_id    = tencentcloud_route_table.machines.id
  is_multicast      = false
  tags              = var.tags
}

resource "tencentcloud_security_group" "machines" {
  name        = "${var.name}-machines"
  description = "Machines of the engine"
  tags        = var.tags
}

# Rules in order: the first that fits holds. Health checks of a balancer come from its own address or
# from 100.64.0.0/10.
resource "tencentcloud_security_group_rule_set" "machines" {
  security_group_id = tencentcloud_security_group.machines.id

  dynamic "ingress" {
    for_each = toset(concat(var.callers, ["100.64.0.0/10"]))

    content {
      action      = "ACCEPT"
      cidr_block  = ingress.value
      protocol    = "TCP"
      port        = tostring(var.engine.port)
      description = "Callers, and health checks"
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
    cidr_block  = "0.0.0.0/0"
    protocol    = "TCP"
    port        = "443"
    description = "Images, weights, keys"
  }

  egress {
    action      = "ACCEPT"
    cidr_block  = "169.254.0.0/16"
    protocol    = "ALL"
    port        = "ALL"
    description = "Metadata of the machine, and time"
  }

  egress {
    action      = "ACCEPT"
    cidr_block  = "183.60.0.0/16"
    protocol    = "UDP"
    port        = "53"
    description = "The network's name servers"
  }

  egress {
    action      = "DROP"
    cidr_block  = "0.0.0.0/0"
    protocol    = "ALL"
    port        = "ALL"
    description = "Nothing else"
  }
}
