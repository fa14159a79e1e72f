output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Its private subnets."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "machine_subnet_ids" {
  description = "Those of them in zones that have the wanted machines."
  value       = [for zone in local.zones : aws_subnet.private[zone].id if contains(local.offered, zone)]
}
