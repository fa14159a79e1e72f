# The engine's name: records that turn to the other region when no machine of the first is healthy.
# Route 53's own checkers are outside and cannot reach a balancer that is inside, so health is that
# of an alarm.

data "aws_route53_zone" "this" {
  name = var.zone
}

resource "aws_route53_health_check" "side" {
  for_each = var.sides

  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = each.value.alarm
  cloudwatch_alarm_region         = each.value.region
  insufficient_data_health_status = "Unhealthy"
  # Route 53 has a copy of what the alarm watches; another target group has to be told to it.
  triggers = { watched = each.value.watched }
  tags     = { Name = "${var.name}-${each.key}" }
}

resource "aws_route53_record" "side" {
  for_each = var.sides

  zone_id         = data.aws_route53_zone.this.zone_id
  name            = var.host
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.side[each.key].id

  failover_routing_policy {
    type = upper(each.key)
  }

  alias {
    name                   = each.value.dns_name
    zone_id                = each.value.zone_id
    evaluate_target_health = true
  }
}
