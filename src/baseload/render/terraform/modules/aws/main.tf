locals {
  name = "${var.name}-${var.environment}"
  tags = {
    baseload    = local.name
    environment = var.environment
  }
  has_standby = var.standby != "none"
  # Made here only if there is a zone to show that the name is ours.
  makes_certificate = var.certificate_arn == ""
  standby_bucket    = "${var.bucket}-${var.standby_region}"
  # Calls in flight that a machine is to have: what it can hold, with room for those that come while
  # another machine starts.
  in_flight_target = max(1, floor(var.sequences * var.load_wanted))
}

module "key" {
  source = "./modules/key"

  name = local.name
}

module "standby_key" {
  source    = "./modules/key"
  count     = local.has_standby ? 1 : 0
  providers = { aws = aws.standby }

  name = local.name
}

# It has no value yet: one that Terraform knew would stand in its state. See the README.
resource "aws_secretsmanager_secret" "engine_key" {
  name        = "${local.name}-engine-key"
  description = "The key that callers of the engine ${var.engine_name} give"
  kms_key_id  = module.key.arn

  dynamic "replica" {
    for_each = module.standby_key

    content {
      region     = var.standby_region
      kms_key_id = replica.value.arn
    }
  }
}

module "network" {
  source = "./modules/network"

  name           = local.name
  cidr           = var.cidr
  zones          = var.zones
  instance_types = var.instance_types
  key_arn        = module.key.arn
}

module "standby_network" {
  source    = "./modules/network"
  count     = local.has_standby ? 1 : 0
  providers = { aws = aws.standby }

  name           = local.name
  cidr           = var.standby_cidr
  zones          = var.standby_zones
  instance_types = var.instance_types
  key_arn        = module.standby_key[0].arn
}

module "storage" {
  source = "./modules/storage"
  count  = var.bucket == "" ? 0 : 1

  name           = local.name
  bucket         = var.bucket
  key_arn        = module.key.arn
  weights_prefix = var.weights_prefix
  results_days   = var.results_days
  replica = !local.has_standby ? null : {
    bucket_arn = module.standby_storage[0].arn
    key_arn    = module.standby_key[0].arn
  }
}

module "standby_storage" {
  source    = "./modules/storage"
  count     = local.has_standby && var.bucket != "" ? 1 : 0
  providers = { aws = aws.standby }

  name           = local.name
  bucket         = local.standby_bucket
  key_arn        = module.standby_key[0].arn
  weights_prefix = var.weights_prefix
  results_days   = var.results_days
}

module "certificate" {
  source = "./modules/certificate"
  count  = local.makes_certificate ? 1 : 0

  zone = var.zone
  host = var.host
}

module "standby_certificate" {
  source    = "./modules/certificate"
  count     = local.makes_certificate && local.has_standby ? 1 : 0
  providers = { aws = aws.standby }

  zone = var.zone
  host = var.host
}

module "fleet" {
  source = "./modules/fleet"

  name               = local.name
  tags               = local.tags
  key_arn            = module.key.arn
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.subnet_ids
  machine_subnet_ids = module.network.machine_subnet_ids
  callers            = concat([var.cidr], var.callers)
  certificate_arn    = local.makes_certificate ? module.certificate[0].arn : var.certificate_arn
  image              = var.image
  root_device        = var.root_device
  instance_types     = var.instance_types
  data_volume_gb     = var.data_volume_gb
  replicas           = var.replicas
  replicas_max       = var.replicas_max
  spot               = var.spot
  floor              = var.floor
  spot_max_usd_hour  = var.spot_max_usd_hour
  scaling            = var.scaling
  in_flight_target   = local.in_flight_target
  start_s            = var.start_s
  answer_s           = var.answer_s
  port               = var.port
  engine_name        = var.engine_name
  engine_image       = var.engine_image
  engine_args        = var.engine_args
  engine_environment = var.engine_environment
  weights_bucket     = var.weights_bucket
  weights_prefix     = var.weights_prefix
  weights_key_arn    = var.weights_key_arn
  key_secret         = aws_secretsmanager_secret.engine_key.name
  alarm_email        = var.alarm_email
  protect            = var.protect
}

# The same with one machine (warm) or with none (cold) until somebody asks for them.
module "standby" {
  source    = "./modules/fleet"
  count     = local.has_standby ? 1 : 0
  providers = { aws = aws.standby }

  name               = local.name
  tags               = local.tags
  key_arn            = module.standby_key[0].arn
  vpc_id             = module.standby_network[0].vpc_id
  subnet_ids         = module.standby_network[0].subnet_ids
  machine_subnet_ids = module.standby_network[0].machine_subnet_ids
  callers            = concat([var.standby_cidr], var.callers)
  certificate_arn    = local.makes_certificate ? module.standby_certificate[0].arn : var.standby_certificate_arn
  image              = var.standby_image
  root_device        = var.root_device
  instance_types     = var.instance_types
  data_volume_gb     = var.data_volume_gb
  replicas           = coalesce(var.standby_replicas, var.standby == "warm" ? 1 : 0)
  replicas_max       = var.replicas_max
  spot               = var.spot
  floor              = var.floor
  spot_max_usd_hour  = var.spot_max_usd_hour
  scaling            = var.scaling
  in_flight_target   = local.in_flight_target
  start_s            = var.start_s
  answer_s           = var.answer_s
  port               = var.port
  engine_name        = var.engine_name
  engine_image       = var.engine_image
  engine_args        = var.engine_args
  engine_environment = var.engine_environment
  weights_bucket     = var.weights_bucket == var.bucket ? local.standby_bucket : var.weights_bucket
  weights_prefix     = var.weights_prefix
  weights_key_arn    = var.weights_key_arn
  key_secret         = aws_secretsmanager_secret.engine_key.name
  alarm_email        = var.alarm_email
  protect            = var.protect
}

module "names" {
  source = "./modules/names"
  count  = var.zone == "" ? 0 : 1

  name = local.name
  zone = var.zone
  host = var.host
  sides = merge(
    {
      primary = {
        dns_name = module.fleet.dns_name
        zone_id  = module.fleet.zone_id
        alarm    = module.fleet.none_healthy_alarm
        watched  = module.fleet.watched
        region   = var.region
      }
    },
    !local.has_standby ? {} : {
      secondary = {
        dns_name = module.standby[0].dns_name
        zone_id  = module.standby[0].zone_id
        alarm    = module.standby[0].none_healthy_alarm
        watched  = module.standby[0].watched
        region   = var.standby_region
      }
    },
  )
}

module "patient" {
  source = "./modules/patient"
  count  = var.patient ? 1 : 0

  name             = local.name
  key_arn          = module.key.arn
  vpc_id           = module.network.vpc_id
  subnet_ids       = module.network.subnet_ids
  bucket           = module.storage[0].bucket
  url              = "https://${var.host}"
  key_secret       = aws_secretsmanager_secret.engine_key.name
  concurrency      = var.patient_concurrency
  alarms_topic_arn = module.fleet.alarms_topic_arn
}

# Costs are told apart by a tag, once it is made a cost allocation tag. See the README.
resource "aws_budgets_budget" "month" {
  count = var.budget_usd_month == null ? 0 : 1

  name         = local.name
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd_month)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:baseload$%s", local.name)]
  }

  dynamic "notification" {
    for_each = var.alarm_email == "" ? {} : { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
