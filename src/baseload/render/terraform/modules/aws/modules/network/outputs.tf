output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

# Known once there is a way out: what starts in them fetches things at once.
output "subnet_ids" {
  description = "Its private subnets."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
  depends_on  = [aws_route.out, aws_route_table_association.private, aws_vpc_endpoint.service]
}

output "machine_subnet_ids" {
  description = "Those of them in zones that have the wanted machines."
  value       = [for zone in local.zones : aws_subnet.private[zone].id if contains(local.offered, zone)]
  depends_on  = [aws_route.out, aws_route_table_association.private, aws_vpc_endpoint.service]
}

output "zones" {
  description = "The zones it is in."
  value       = local.zones
}
