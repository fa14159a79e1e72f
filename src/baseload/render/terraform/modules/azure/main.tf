# A group of GPU machines with a model server, in one region or two.

locals {
  name    = "${var.name}-${var.environment}"
  account = substr("${var.bucket}${var.environment == "prod" ? "" : replace(var.environment, "-", "")}", 0, 24)
  public  = var.zone != ""
  alarms  = azurerm_monitor_action_group.people[*].id

  # Azure takes no `/` in names of tags, so these are not Kubernetes' usual ones.
  tags = { application = var.name, environment = var.environment, managed-by = "terraform" }

  # Where replicas is 0 there is nobody to say how busy they are, so nothing scales it up by itself.
  wanted = { least = var.replicas, most = var.replicas_max, wanted = var.replicas }
  idle   = { least = var.standby == "warm" ? 1 : 0, most = var.replicas_max, wanted = var.standby == "warm" ? 1 : 0 }
  lots   = { spot = var.spot, floor = var.floor }
}

module "first" {
  source = "./region"

  name           = local.name
  region         = var.region
  tags           = local.tags
  network        = "10.80.0.0/16"
  callers        = var.callers
  public         = local.public
  instance       = var.instance
  image          = var.image
  ssh_public_key = var.ssh_public_key
  machines       = merge(local.lots, local.wanted)
  disk_gb        = var.disk_gb
  scaling        = var.scaling
  engine         = var.engine
  account        = local.account
  vault          = "${substr(local.account, 0, 18)}-keys"
  weights        = var.weights
  alarms         = local.alarms
}

module "standby" {
  source = "./region"
  count  = var.standby == "none" ? 0 : 1

  name           = "${local.name}-standby"
  region         = var.standby_region
  tags           = local.tags
  network        = "10.81.0.0/16"
  callers        = var.callers
  public         = local.public
  instance       = var.instance
  image          = var.image
  ssh_public_key = var.ssh_public_key
  machines       = merge(local.lots, var.standby_active ? local.wanted : local.idle)
  disk_gb        = var.disk_gb
  scaling        = var.scaling
  engine         = var.engine
  account        = "${substr(local.account, 0, 23)}2"
  vault          = "${substr(local.account, 0, 18)}-keys2"
  weights        = var.weights
  alarms         = local.alarms
}

# A standby that has to fetch weights from the region that is gone is none.
resource "azurerm_storage_object_replication" "weights" {
  count = var.standby == "none" ? 0 : 1

  source_storage_account_id      = module.first.account.id
  destination_storage_account_id = module.standby[0].account.id

  rules {
    source_container_name      = module.first.container
    destination_container_name = module.standby[0].container
    copy_blobs_created_after   = "Everything"
  }
}

module "patient" {
  source = "./patient"
  count  = var.patient ? 1 : 0

  name           = local.name
  region         = var.region
  tags           = local.tags
  resource_group = module.first.resource_group.name
  inside         = module.first.inside
  account        = "${substr(local.account, 0, 20)}jobs"
  bus            = "${local.account}-jobs"
  gateway_url    = var.gateway_url
  answer_max_s   = var.engine.answer_max_s
  worker_zip     = var.worker_zip
  vault_id       = module.first.vault_id
  vault_url      = module.first.vault_url
  alarms         = local.alarms
}
