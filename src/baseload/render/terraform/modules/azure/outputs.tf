locals {
  urls = merge(
    { (var.engine.name) = local.public ? "https://engine.azure.${var.zone}/v1" : module.first.url },
    var.standby == "none" ? {} : { "${var.engine.name}-standby" = local.public ? "https://standby.azure.${var.zone}/v1" : module.standby[0].url },
  )
}

output "baseload_backends" {
  description = "Backends for baseload.yaml: put them below `backends:`."

  value = join("", [for name, url in local.urls :
    "  ${name}: {url: ${jsonencode(url)}, api_key: \"$${${upper(replace(var.engine.name, "-", "_"))}_ENGINE_KEY}\"}\n"
  ])
}

output "urls" {
  description = "Where engines answer, by backend."
  value       = local.urls
}

output "groups" {
  description = "The groups of machines."
  value       = concat([module.first.group_id], module.standby[*].group_id)
}

output "vaults" {
  description = "Where people put `engine-key` and, with a zone, `engine-tls` (a certificate in PEM)."
  value       = concat([module.first.vault_url], module.standby[*].vault_url)
}

output "networks" {
  description = "To be peered with the networks of the gateways."
  value       = concat([module.first.network_id], module.standby[*].network_id)
}

output "jobs" {
  description = "The queue for patient jobs; null: none."
  value       = var.patient ? module.patient[0].queue : null
}
