# Who hears what: alarms of one region go to a topic of that region.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  balancer = {
    LoadBalancer = aws_lb.engine.arn_suffix
    TargetGroup  = aws_lb_target_group.engine.arn_suffix
  }
}

# No machine answers. DNS turns to the other region on this one, too.
resource "aws_cloudwatch_metric_alarm" "none_healthy" {
  alarm_name          = "${var.name}-none-healthy"
  alarm_description   = "No machine of the engine is healthy."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = local.balancer
  statistic           = "Maximum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 2
  # A group without machines sends nothing at all.
  treat_missing_data = "breaching"
  # Where zero machines are wanted, none being healthy is no news.
  actions_enabled = var.replicas > 0
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "Engines answer with errors: 10 or more in 5 minutes."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_5XX_Count"
  dimensions          = local.balancer
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 10
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# As many as there may be, for half an hour: callers wait, and no more machines will come.
resource "aws_cloudwatch_metric_alarm" "at_most" {
  alarm_name          = "${var.name}-at-most"
  alarm_description   = "The group is as large as it may become."
  namespace           = "AWS/AutoScaling"
  metric_name         = "GroupDesiredCapacity"
  dimensions          = { AutoScalingGroupName = aws_autoscaling_group.engine.name }
  statistic           = "Minimum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.replicas_max
  period              = 300
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  actions_enabled     = var.replicas_max > var.replicas
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
