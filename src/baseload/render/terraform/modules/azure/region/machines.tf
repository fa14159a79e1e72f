# The group: flexible orchestration, since only that keeps a floor of machines on demand while those
# above it are spot.

resource "azurerm_orchestrated_virtual_machine_scale_set" "machines" {
  name                        = var.name
  location                    = var.region
  resource_group_name         = azurerm_resource_group.here.name
  platform_fault_domain_count = 1
  sku_name                    = var.instance
  instances                   = var.replicas
  encryption_at_host_enabled  = true
  network_api_version         = "2022-11-01"
  priority                    = var.spot ? "Spot" : "Regular"
  eviction_policy             = var.spot ? "Delete" : null
  max_bid_price               = var.spot ? -1 : null
  source_image_id             = var.image == "" ? null : var.image
  tags                        = var.tags

  dynamic "priority_mix" {
    for_each = var.spot ? [var.floor] : []

    content {
      base_regular_count            = priority_mix.value
      regular_percentage_above_base = 0
    }
  }

  dynamic "source_image_reference" {
    for_each = var.image == "" ? ["ubuntu-hpc"] : []

    content {
      publisher = "microsoft-dsvm"
      offer     = source_image_reference.value
      sku       = "2204"
      version   = "latest"
    }
  }

  os_profile {
    custom_data = base64encode(local.boot)

    linux_configuration {
      admin_username                  = "operator"
      computer_name_prefix            = "engine"
      disable_password_authentication = true
      provision_vm_agent              = true

      admin_ssh_key {
        username   = "operator"
        public_key = var.ssh_public_key
      }
    }
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
    disk_size_gb         = 256
  }

  data_disk {
    lun                  = 0
    caching              = "ReadOnly"
    create_option        = "Empty"
    storage_account_type = "Premium_LRS"
    disk_size_gb         = var.disk_gb
  }

  network_interface {
    name                           = "inside"
    primary                        = true
    accelerated_networking_enabled = true
    network_security_group_id      = azurerm_network_security_group.machines.id

    ip_configuration {
      name                                   = "inside"
      primary                                = true
      subnet_id                              = azurerm_subnet.machines.id
      load_balancer_backend_address_pool_ids = [azurerm_lb_backend_address_pool.engine.id]
    }
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.machine.id]
  }

  extension {
    name                               = "health"
    publisher                          = "Microsoft.ManagedServices"
    type                               = "ApplicationHealthLinux"
    type_handler_version               = "1.0"
    auto_upgrade_minor_version_enabled = true

    settings = jsonencode({
      protocol    = "http"
      port        = var.engine.port
      requestPath = "/health"
      # One answer that is late, of a machine that took half an hour to start, is no reason for another.
      intervalInSeconds = 60
      numberOfProbes    = 3
    })
  }

  automatic_instance_repair {
    enabled      = true
    action       = "Replace"
    grace_period = local.repair_after
  }

  termination_notification {
    enabled = true
    timeout = "PT${min(15, max(5, ceil(var.engine.answer_s / 60)))}M"
  }

  lifecycle {
    ignore_changes = [instances]
  }

  depends_on = [
    azurerm_subnet_nat_gateway_association.machines,
    azurerm_private_endpoint.here,
    azurerm_role_assignment.weights,
    azurerm_role_assignment.secrets,
  ]
}
