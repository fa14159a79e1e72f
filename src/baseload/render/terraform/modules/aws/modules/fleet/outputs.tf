output "dns_name" {
  description = "The balancer's own name."
  value       = aws_lb.engine.dns_name
}

output "zone_id" {
  description = "The balancer's zone, for alias records."
  value       = aws_lb.engine.zone_id
}

output "group" {
  description = "The auto scaling group."
  value       = aws_autoscaling_group.engine.name
}

output "none_healthy_alarm" {
  description = "The alarm that says that no machine is healthy."
  value       = aws_cloudwatch_metric_alarm.none_healthy.alarm_name
}

output "watched" {
  description = "What that alarm watches."
  value       = jsonencode(local.balancer)
}

output "alarms_topic_arn" {
  description = "Where alarms go."
  value       = aws_sns_topic.alarms.arn
}
