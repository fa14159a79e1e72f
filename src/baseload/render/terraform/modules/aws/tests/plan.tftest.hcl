# terraform test: what is planned, with mocked providers. No account is needed, and nothing is made.

mock_provider "archive" {}

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"] }
  }
  mock_data "aws_ec2_instance_type_offerings" {
    defaults = { locations = ["us-east-1d"] }
  }
}

mock_provider "aws" {
  alias = "standby"

  mock_data "aws_availability_zones" {
    defaults = { names = ["us-west-2a", "us-west-2b"] }
  }
  mock_data "aws_ec2_instance_type_offerings" {
    defaults = { locations = ["us-west-2a"] }
  }
}

variables {
  environment      = "test"
  name             = "baseload"
  region           = "us-east-1"
  zone             = "example.com"
  host             = "engine.example.com"
  image            = "ami-0123456789abcdef0"
  instance_types   = ["p5.48xlarge"]
  data_volume_gb   = 200
  replicas         = 2
  replicas_max     = 6
  budget_usd_month = 1000
  sequences        = 100
  start_s          = 400
  answer_s         = 600
  engine_name      = "edge"
  engine_image     = "engine:1"
  engine_args      = ["serve", "/weights"]
  weights_bucket   = "weights"
  weights_prefix   = "model/"
  alarm_email      = "oncall@example.com"
}

run "one_region" {
  command = plan

  variables {
    callers = ["10.0.0.0/8"]
  }

  assert {
    condition     = length(module.standby) == 0 && length(module.standby_network) == 0
    error_message = "Nothing stands by unless it is asked for."
  }

  assert {
    condition     = length(module.storage) == 0 && length(module.patient) == 0
    error_message = "Neither bucket nor queue is made unless it is asked for."
  }

  assert {
    condition     = local.in_flight_target == 70
    error_message = "A machine is to have 70 % of the calls that it holds."
  }

  assert {
    condition     = yamldecode(output.baseload_backends).backends.edge.concurrency == 200
    error_message = "The gateway may send as many calls as the machines hold."
  }
}

run "standby_and_patient" {
  command = plan

  variables {
    standby        = "cold"
    standby_region = "us-west-2"
    standby_image  = "ami-0123456789abcdef1"
    bucket         = "weights"
    patient        = true
  }

  assert {
    condition     = length(module.standby) == 1 && length(module.standby_storage) == 1 && length(module.patient) == 1
    error_message = "What is asked for is made."
  }
}

run "an_image_must_be_named" {
  command = plan

  variables {
    image = ""
  }

  expect_failures = [var.image]
}

run "no_more_than_there_may_be" {
  command = plan

  variables {
    replicas = 7
  }

  expect_failures = [var.replicas]
}

run "the_engine_is_not_for_everybody" {
  command = plan

  variables {
    callers = ["0.0.0.0/0"]
  }

  expect_failures = [var.callers]
}

run "a_standby_needs_a_region" {
  command = plan

  variables {
    standby = "warm"
  }

  expect_failures = [var.standby_region, var.standby_image]
}

run "a_certificate_or_a_zone" {
  command = plan

  variables {
    zone = ""
  }

  expect_failures = [var.certificate_arn]
}
