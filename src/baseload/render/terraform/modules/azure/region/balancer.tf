# Inside the network only, until the fleet file names a DNS zone: a failover name is checked from
# outside, so the balancer then has a public address, with TLS, for the callers that are named.

resource "azurerm_public_ip" "in" {
  count = var.public ? 1 : 0

  name                = "${var.name}-in"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  allocation_method   = "Static"
  sku                 = "Standard"
  domain_name_label   = var.account
  tags                = var.tags
}

resource "azurerm_lb" "engine" {
  name                = var.name
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  sku                 = "Standard"
  tags                = var.tags

  frontend_ip_configuration {
    name                          = "engine"
    public_ip_address_id          = var.public ? azurerm_public_ip.in[0].id : null
    subnet_id                     = var.public ? null : azurerm_subnet.machines.id
    private_ip_address            = var.public ? null : local.address
    private_ip_address_allocation = var.public ? null : "Static"
  }
}

resource "azurerm_lb_backend_address_pool" "engine" {
  name            = "engine"
  loadbalancer_id = azurerm_lb.engine.id
}

resource "azurerm_lb_probe" "engine" {
  name                = "health"
  loadbalancer_id     = azurerm_lb.engine.id
  protocol            = var.public ? "Https" : "Http"
  port                = local.port
  request_path        = "/health"
  interval_in_seconds = 60
  probe_threshold     = 1
}

resource "azurerm_lb_rule" "engine" {
  name                           = "engine"
  loadbalancer_id                = azurerm_lb.engine.id
  frontend_ip_configuration_name = "engine"
  protocol                       = "Tcp"
  frontend_port                  = var.public ? 443 : var.engine.port
  backend_port                   = local.port
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.engine.id]
  probe_id                       = azurerm_lb_probe.engine.id
  disable_outbound_snat          = true
  idle_timeout_in_minutes        = 30
  tcp_reset_enabled              = true
}
