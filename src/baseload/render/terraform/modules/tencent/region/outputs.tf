output "inside_url" {
  description = "Where the engine answers inside the network."
  value       = "http://${tencentcloud_clb_instance.inside.clb_vips[0]}:${var.engine.port}"
}

output "address" {
  description = "The balancer's public address; null: none."
  value       = var.public ? tencentcloud_clb_instance.outside[0].clb_vips[0] : null
}

output "vpc_id" {
  description = "The VPC."
  value       = tencentcloud_vpc.here.id
}

output "subnet_ids" {
  description = "Its subnets."
  value       = tencentcloud_subnet.machines[*].id
}

output "groups" {
  description = "The scaling groups: the one on demand, and the one with spot machines."
  value       = [for key in sort(keys(local.groups)) : tencentcloud_as_scaling_group.machines[key].id]
}

output "secret" {
  description = "The secret that is to hold the engine's key."
  value       = tencentcloud_ssm_secret.engine_key.secret_name
}
