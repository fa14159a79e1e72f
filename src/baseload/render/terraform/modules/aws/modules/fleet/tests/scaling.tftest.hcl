# terraform test, in this folder: the two ways of scaling, and what machines are like.

mock_provider "aws" {
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/a/b/c" }
  }
}

variables {
  name               = "baseload-test"
  tags               = {}
  key_arn            = "arn:aws:kms:us-east-1:123456789012:key/a"
  vpc_id             = "vpc-1"
  subnet_ids         = ["subnet-1", "subnet-2"]
  machine_subnet_ids = ["subnet-1"]
  callers            = ["10.0.0.0/8"]
  certificate_arn    = "arn:aws:acm:us-east-1:123456789012:certificate/a"
  image              = "ami-0123456789abcdef0"
  root_device        = "/dev/xvda"
  instance_types     = ["p5.48xlarge", "p5e.48xlarge"]
  data_volume_gb     = 200
  replicas           = 2
  replicas_max       = 6
  spot               = true
  floor              = 1
  spot_max_usd_hour  = null
  scaling            = "target"
  in_flight_target   = 70
  start_s            = 400
  answer_s           = 600
  port               = 8000
  engine_name        = "edge"
  engine_image       = "engine:1"
  engine_args        = ["serve", "/weights"]
  engine_environment = {}
  weights_bucket     = "weights"
  weights_prefix     = "model/"
  weights_key_arn    = ""
  key_secret         = "key"
  alarm_email        = ""
  protect            = true
}

run "by_calls_in_flight" {
  command = plan

  assert {
    condition     = aws_autoscaling_policy.target[0].target_tracking_configuration[0].target_value == 70
    error_message = "The target is what was asked for."
  }

  assert {
    condition     = aws_autoscaling_policy.target[0].estimated_instance_warmup == 400
    error_message = "A machine does not count before its engine can have started."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.cpu) == 0
    error_message = "CPU is not looked at."
  }
}

run "by_cpu" {
  command = plan

  variables {
    scaling = "cpu"
  }

  assert {
    condition     = aws_autoscaling_policy.more[0].scaling_adjustment == 2 && aws_autoscaling_policy.more[0].cooldown == 300
    error_message = "Two are added, and then nothing for 300 s."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.cpu["more"].threshold == 65
      && aws_cloudwatch_metric_alarm.cpu["more"].period * aws_cloudwatch_metric_alarm.cpu["more"].evaluation_periods == 300
    )
    error_message = "CPU is at 65 % for 5 minutes."
  }

  assert {
    condition     = length(aws_autoscaling_policy.target) == 0
    error_message = "There is one way of scaling."
  }
}

run "spot_above_the_floor" {
  command = plan

  assert {
    condition = (
      aws_autoscaling_group.engine.mixed_instances_policy[0].instances_distribution[0].on_demand_base_capacity == 1
      && aws_autoscaling_group.engine.mixed_instances_policy[0].instances_distribution[0].on_demand_percentage_above_base_capacity == 0
    )
    error_message = "One machine is on demand, the others are spot."
  }
}
