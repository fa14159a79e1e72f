# `target`: as many machines as keep calls in flight, of each machine, at what it can work on.
#
# Calls in flight are those that the engine works on and those that wait in it, so the number goes
# on rising with demand when machines are full. That is what target tracking needs. CPU says nothing
# of a full GPU, and the balancer's requests per target count a call of 10 tokens like one of 10,000.

resource "aws_autoscaling_policy" "target" {
  count = var.scaling == "target" ? 1 : 0

  name                   = "in-flight"
  autoscaling_group_name = aws_autoscaling_group.engine.name
  policy_type            = "TargetTrackingScaling"
  # A machine counts only after it had the time to start an engine.
  estimated_instance_warmup = var.start_s

  target_tracking_configuration {
    target_value = var.in_flight_target

    customized_metric_specification {
      namespace   = local.metrics
      metric_name = "InFlight"
      statistic   = "Average"

      metric_dimension {
        name  = "Group"
        value = var.name
      }
    }
  }
}

# `cpu`: CPU at 65 % for 5 minutes adds 2 machines, then nothing for 300 s. GPUs are full long before.

resource "aws_autoscaling_policy" "more" {
  count = var.scaling == "cpu" ? 1 : 0

  name                   = "cpu-more"
  autoscaling_group_name = aws_autoscaling_group.engine.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ChangeInCapacity"
  scaling_adjustment     = 2
  cooldown               = 300
}

resource "aws_autoscaling_policy" "fewer" {
  count = var.scaling == "cpu" ? 1 : 0

  name                   = "cpu-fewer"
  autoscaling_group_name = aws_autoscaling_group.engine.name
  policy_type            = "SimpleScaling"
  adjustment_type        = "ChangeInCapacity"
  scaling_adjustment     = -1
  cooldown               = 300
}

resource "aws_cloudwatch_metric_alarm" "cpu" {
  for_each = var.scaling != "cpu" ? {} : {
    more  = { comparison = "GreaterThanOrEqualToThreshold", percent = 65, minutes = 5, policy = aws_autoscaling_policy.more[0].arn }
    fewer = { comparison = "LessThanThreshold", percent = 25, minutes = 15, policy = aws_autoscaling_policy.fewer[0].arn }
  }

  alarm_name          = "${var.name}-cpu-${each.key}"
  alarm_description   = "Adds machines when CPUs are busy, and takes them when they are idle."
  namespace           = "AWS/EC2"
  metric_name         = "CPUUtilization"
  dimensions          = { AutoScalingGroupName = aws_autoscaling_group.engine.name }
  statistic           = "Average"
  comparison_operator = each.value.comparison
  threshold           = each.value.percent
  period              = 60
  evaluation_periods  = each.value.minutes
  datapoints_to_alarm = each.value.minutes
  alarm_actions       = [each.value.policy]
}
