locals {
  backend = merge(
    {
      url         = "https://${var.host}/v1"
      concurrency = max(1, var.sequences * max(1, var.replicas))
    },
    var.engine_key_reference == "" ? {} : { api_key = var.engine_key_reference },
  )
}

output "baseload_backends" {
  description = "For the fleet file: terraform output -raw baseload_backends"
  value       = yamlencode({ backends = { (var.engine_name) = local.backend } })
}

output "engine_key_secret" {
  description = "The secret that is to hold the engine's key, in both regions."
  value       = aws_secretsmanager_secret.engine_key.name
}

output "balancers" {
  description = "The balancers' own names, by region."
  value = merge(
    { (var.region) = module.fleet.dns_name },
    { for each in module.standby : var.standby_region => each.dns_name },
  )
}

output "group" {
  description = "The auto scaling group, which is called the same in both regions."
  value       = module.fleet.group
}

output "zones" {
  description = "The zones it is in, by region: name them as `zones` and `standby_zones`, and it stays there."
  value = merge(
    { (var.region) = module.network.zones },
    { for each in module.standby_network : var.standby_region => each.zones },
  )
}

output "patient_queue_url" {
  description = "Where jobs that can wait are sent; null if there is no queue."
  value       = one(module.patient[*].queue_url)
}
