# A group of GPU machines with a model server, in one region or two.

data "tencentcloud_user_info" "me" {}

locals {
  name           = "${var.name}-${var.environment}"
  public         = var.zone != ""
  tags           = { baseload = var.name, environment = var.environment }
  account        = data.tencentcloud_user_info.me
  standby_bucket = "${var.bucket}-standby-${local.account.app_id}"
  # A standby that has to fetch weights from the region that is gone is none.
  has_copy = var.weights_bucket == "${var.bucket}-${local.account.app_id}"

  engine = {
    name        = var.engine_name
    image       = var.engine_image
    args        = var.engine_args
    environment = var.engine_environment
    port        = var.port
    start_s     = var.start_s
    answer_s    = var.answer_s
  }

  # An empty group measures nothing, so it does not grow by itself: a person wakes one that is cold.
  standby_replicas = coalesce(var.standby_replicas, var.standby == "warm" ? 1 : 0)
}

module "first" {
  source = "./region"

  name           = local.name
  region         = var.region
  zones          = var.zones
  tags           = local.tags
  cidr           = var.cidr
  callers        = concat([var.cidr], var.callers)
  public         = local.public
  certificate_id = var.certificate_id
  instance_types = var.instance_types
  image          = var.image
  disk_snapshot  = var.disk_snapshot
  ssh_public_key = var.ssh_public_key
  data_volume_gb = var.data_volume_gb
  replicas       = var.replicas
  replicas_max   = var.replicas_max
  spot           = var.spot
  floor          = var.floor
  spot_max_hour  = var.spot_max_hour
  scaling        = var.scaling
  out_mbps       = var.out_mbps
  engine         = local.engine
  weights        = { bucket = var.weights_bucket, region = var.weights_region, prefix = var.weights_prefix }
  account        = { app_id = local.account.app_id, uin = local.account.owner_uin }
  alarm_users    = var.alarm_users
}

module "standby" {
  source    = "./region"
  count     = var.standby == "none" ? 0 : 1
  providers = { tencentcloud = tencentcloud.standby }

  name           = "${local.name}-standby"
  region         = var.standby_region
  zones          = var.standby_zones
  tags           = local.tags
  cidr           = var.standby_cidr
  callers        = concat([var.standby_cidr], var.callers)
  public         = local.public
  certificate_id = var.certificate_id
  instance_types = var.instance_types
  image          = var.standby_image
  disk_snapshot  = var.standby_disk_snapshot
  ssh_public_key = var.ssh_public_key
  data_volume_gb = var.data_volume_gb
  replicas       = local.standby_replicas
  replicas_max   = var.replicas_max
  spot           = var.spot
  floor          = var.floor
  spot_max_hour  = var.spot_max_hour
  scaling        = var.scaling
  out_mbps       = var.out_mbps
  engine         = local.engine
  weights = {
    bucket = local.has_copy ? local.standby_bucket : var.weights_bucket
    region = local.has_copy ? var.standby_region : var.weights_region
    prefix = var.weights_prefix
  }
  account     = { app_id = local.account.app_id, uin = local.account.owner_uin }
  alarm_users = var.alarm_users
}

module "patient" {
  source = "./patient"
  count  = var.patient ? 1 : 0

  name      = local.name
  region    = var.region
  tags      = local.tags
  bucket    = tencentcloud_cos_bucket.here.bucket
  url       = module.first.inside_url
  secret    = module.first.secret
  vpc_id    = module.first.vpc_id
  subnet_id = module.first.subnet_ids[0]
  answer_s  = var.answer_s
  account   = { app_id = local.account.app_id, uin = local.account.owner_uin }
}

# Costs are told apart by a tag, once it is made an allocation tag. See the README.
resource "tencentcloud_billing_allocation_tag" "baseload" {
  count = var.budget_usd_month == null ? 0 : 1

  tag_key = "baseload"
}

resource "tencentcloud_billing_budget" "month" {
  count = var.budget_usd_month == null ? 0 : 1

  budget_name  = local.name
  budget_note  = "Machines of ${local.name} and what goes with them."
  budget_quota = tostring(var.budget_usd_month)
  plan_type    = "FIX"
  cycle_type   = "MONTH"
  bill_type    = "BILL"
  fee_type     = "REAL_COST"
  period_begin = formatdate("YYYY-MM", plantimestamp())
  period_end   = formatdate("YYYY-MM", timeadd(plantimestamp(), "26280h"))

  dimensions_range {
    tags {
      tag_key   = tencentcloud_billing_allocation_tag.baseload[0].tag_key
      tag_value = [var.name]
    }
  }

  warn_json {
    warn_type       = "ACTUAL"
    cal_type        = "PERCENTAGE"
    threshold_value = "80"
  }

  warn_json {
    warn_type       = "FORECAST"
    cal_type        = "PERCENTAGE"
    threshold_value = "100"
  }

  lifecycle {
    ignore_changes = [period_begin, period_end]
  }
}
