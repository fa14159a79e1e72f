locals {
  key  = var.engine_key_reference == "" ? {} : { api_key = var.engine_key_reference }
  most = max(1, var.sequences * max(1, var.replicas))

  urls = merge(
    { (var.engine_name) = local.public ? "https://${var.host}" : module.first.inside_url },
    local.standby_replicas == 0 || var.standby == "none" ? {} : {
      "${var.engine_name}-standby" = local.public ? "https://standby.${var.host}" : module.standby[0].inside_url
    },
  )
}

output "baseload_backends" {
  description = "For the fleet file: terraform output -raw baseload_backends"

  value = yamlencode({
    backends = { for name, url in local.urls : name => merge({ url = "${url}/v1", concurrency = local.most }, local.key) }
  })
}

output "groups" {
  description = "The groups of machines."
  value       = concat(module.first.groups, flatten(module.standby[*].groups))
}

output "engine_key_secret" {
  description = "The secrets that are to hold the engine's key, as version `v1`, one in each region."
  value       = concat([module.first.secret], module.standby[*].secret)
}

output "vpcs" {
  description = "To be peered with the networks of the gateways."
  value       = concat([module.first.vpc_id], module.standby[*].vpc_id)
}

output "jobs" {
  description = "Where jobs that can wait are put, as objects; null: none."
  value       = var.patient ? "cos://${tencentcloud_cos_bucket.here.bucket}/jobs/" : null
}
