# A network of its own. Machines have no public address: what they fetch goes out by the NAT gateway,
# what calls them comes through the load balancer, storage and keys are reached inside the network.

resource "azurerm_resource_group" "here" {
  name     = var.name
  location = var.region
  tags     = var.tags
}

resource "azurerm_virtual_network" "here" {
  name                = var.name
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  address_space       = [var.network]
  tags                = var.tags
}

resource "azurerm_subnet" "machines" {
  name                            = "machines"
  resource_group_name             = azurerm_resource_group.here.name
  virtual_network_name            = azurerm_virtual_network.here.name
  address_prefixes                = [cidrsubnet(var.network, 4, 0)]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet" "endpoints" {
  name                              = "endpoints"
  resource_group_name               = azurerm_resource_group.here.name
  virtual_network_name              = azurerm_virtual_network.here.name
  address_prefixes                  = [cidrsubnet(var.network, 8, 16)]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "Enabled"
}

# Where the worker for patient jobs runs, in the first region.
resource "azurerm_subnet" "workers" {
  name                            = "workers"
  resource_group_name             = azurerm_resource_group.here.name
  virtual_network_name            = azurerm_virtual_network.here.name
  address_prefixes                = [cidrsubnet(var.network, 8, 17)]
  default_outbound_access_enabled = false

  delegation {
    name = "functions"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_public_ip" "out" {
  name                = "${var.name}-out"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  allocation_method   = "Static"
  sku                 = "Standard"
  tags                = var.tags
}

resource "azurerm_nat_gateway" "out" {
  name                    = var.name
  location                = var.region
  resource_group_name     = azurerm_resource_group.here.name
  sku_name                = "Standard"
  idle_timeout_in_minutes = 10
  tags                    = var.tags
}

resource "azurerm_nat_gateway_public_ip_association" "out" {
  nat_gateway_id       = azurerm_nat_gateway.out.id
  public_ip_address_id = azurerm_public_ip.out.id
}

resource "azurerm_subnet_nat_gateway_association" "machines" {
  subnet_id      = azurerm_subnet.machines.id
  nat_gateway_id = azurerm_nat_gateway.out.id
}

resource "azurerm_subnet_nat_gateway_association" "workers" {
  subnet_id      = azurerm_subnet.workers.id
  nat_gateway_id = azurerm_nat_gateway.out.id
}

resource "azurerm_network_security_group" "machines" {
  name                = "${var.name}-machines"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  tags                = var.tags

  security_rule {
    name                       = "callers"
    description                = "Who may call the engine."
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefixes    = concat(var.callers, var.public ? ["${azurerm_public_ip.out.ip_address}/32"] : [])
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = local.port
  }

  security_rule {
    name                       = "balancer"
    description                = "Health checks of the load balancer."
    priority                   = 110
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "AzureLoadBalancer"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = local.port
  }

  dynamic "security_rule" {
    for_each = var.public ? ["names"] : []

    content {
      name                       = "names"
      description                = "Health checks of the failover name."
      priority                   = 120
      direction                  = "Inbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_address_prefix      = "AzureTrafficManager"
      source_port_range          = "*"
      destination_address_prefix = "*"
      destination_port_range     = local.port
    }
  }

  security_rule {
    name                       = "nobody"
    description                = "Nothing else, from inside the network neither."
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "machines" {
  subnet_id                 = azurerm_subnet.machines.id
  network_security_group_id = azurerm_network_security_group.machines.id
}

resource "azurerm_network_security_group" "endpoints" {
  name                = "${var.name}-endpoints"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  tags                = var.tags

  security_rule {
    name                       = "machines"
    description                = "Machines and workers reach storage and keys."
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = var.network
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "443"
  }

  security_rule {
    name                       = "nobody"
    description                = "Nothing else."
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_network_security_group" "workers" {
  name                = "${var.name}-workers"
  location            = var.region
  resource_group_name = azurerm_resource_group.here.name
  tags                = var.tags

  security_rule {
    name                       = "nobody"
    description                = "Workers call; nobody calls them."
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "workers" {
  subnet_id                 = azurerm_subnet.workers.id
  network_security_group_id = azurerm_network_security_group.workers.id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  subnet_id                 = azurerm_subnet.endpoints.id
  network_security_group_id = azurerm_network_security_group.endpoints.id
}
