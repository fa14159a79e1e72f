# A group of GPU machines with a model server, in one region or two.

locals {
  name   = "${var.name}-${var.environment}"
  public = var.zone != ""
  alarms = azurerm_monitor_action_group.people[*].id

  # Azure takes no `/` in names of tags, so these are not Kubernetes' usual ones.
  tags = { application = var.name, environment = var.environment, managed-by = "terraform" }

  engine = {
    name        = var.engine_name
    image       = var.engine_image
    args        = var.engine_args
    environment = var.engine_environment
    port        = var.port
    sequences   = var.sequences
    load_wanted = var.load_wanted
    start_s     = var.start_s
    answer_s    = var.answer_s
  }
  weights = { container = var.weights_container, path = var.weights_path }

  # One that is cold has no machine to say how busy it is, so nothing but a person wakes it.
  standby_replicas = coalesce(var.standby_replicas, var.standby == "warm" ? 1 : 0)
}

module "first" {
  source = "./region"

  name           = local.name
  region         = var.region
  tags           = local.tags
  network        = var.cidr
  callers        = concat([var.cidr], var.callers)
  public         = local.public
  instance       = var.instance_type
  image          = var.image
  ssh_public_key = var.ssh_public_key
  replicas       = var.replicas
  replicas_max   = var.replicas_max
  spot           = var.spot
  floor          = var.floor
  disk_gb        = var.data_volume_gb
  scaling        = var.scaling
  engine         = local.engine
  account        = var.bucket
  vault          = "${substr(var.bucket, 0, 18)}-keys"
  weights        = local.weights
  alarms         = local.alarms
}

module "standby" {
  source = "./region"
  count  = var.standby == "none" ? 0 : 1

  name           = "${local.name}-standby"
  region         = var.standby_region
  tags           = local.tags
  network        = var.standby_cidr
  callers        = concat([var.standby_cidr], var.callers)
  public         = local.public
  instance       = var.instance_type
  image          = var.image
  ssh_public_key = var.ssh_public_key
  replicas       = local.standby_replicas
  replicas_max   = var.replicas_max
  spot           = var.spot
  floor          = var.floor
  disk_gb        = var.data_volume_gb
  scaling        = var.scaling
  engine         = local.engine
  account        = "${substr(var.bucket, 0, 23)}2"
  vault          = "${substr(var.bucket, 0, 18)}-keys2"
  weights        = local.weights
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
  account        = "${substr(var.bucket, 0, 20)}jobs"
  bus            = "${var.bucket}-jobs"
  url            = local.public ? "https://${var.host}" : module.first.url
  answer_s       = var.answer_s
  vault          = module.first.vault
  alarms         = local.alarms
}
