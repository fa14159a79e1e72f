locals {
  key  = var.engine_key_reference == "" ? {} : { api_key = var.engine_key_reference }
  most = max(1, var.sequences * max(1, var.replicas))

  urls = merge(
    { (var.engine_name) = local.public ? "https://${var.host}" : module.first.url },
    local.standby_replicas == 0 || var.standby == "none" ? {} : {
      "${var.engine_name}-standby" = local.public ? "https://standby.${var.host}" : module.standby[0].url
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
  value       = concat([module.first.group_id], module.standby[*].group_id)
}

output "vaults" {
  description = "Where people put `engine-key` and, with a zone, `engine-tls`: key and certificate in PEM."
  value       = concat([module.first.vault.url], module.standby[*].vault.url)
}

output "networks" {
  description = "To be peered with the networks of the gateways."
  value       = concat([module.first.network_id], module.standby[*].network_id)
}

output "jobs" {
  description = "The queue for jobs that can wait; null: none."
  value       = one(module.patient[*].queue)
}
