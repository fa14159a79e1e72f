# terraform test: what is planned, with mocked providers. No subscription is needed, nothing is made.

mock_provider "azurerm" {}

variables {
  environment      = "test"
  name             = "baseload"
  region           = "eastus"
  instance_type    = "Standard_ND96isr_H100_v5"
  ssh_public_key   = "ssh-ed25519 AAAA"
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
  bucket           = "weights"
  weights_path     = "model"
}

run "one_region" {
  command = plan

  assert {
    condition     = length(module.standby) == 0 && length(module.patient) == 0
    error_message = "Nothing stands by, and there is no queue, unless it is asked for."
  }

  assert {
    condition     = length(azurerm_traffic_manager_profile.engine) == 0
    error_message = "Without a zone there is no name."
  }

  assert {
    condition     = output.baseload_backends == "\"backends\":\n  \"edge\":\n    \"concurrency\": 200\n    \"url\": \"http://10.80.0.10:8000/v1\"\n"
    error_message = "The gateway calls the balancer inside, as often as the machines hold."
  }
}

run "standby_and_name" {
  command = plan

  variables {
    standby        = "cold"
    standby_region = "westus3"
    zone           = "example.com"
    host           = "engine.example.com"
    patient        = true
  }

  assert {
    condition     = length(module.standby) == 1 && length(azurerm_storage_object_replication.weights) == 1
    error_message = "A standby has weights of its own."
  }

  assert {
    condition     = local.standby_replicas == 0 && !strcontains(output.baseload_backends, "standby")
    error_message = "One that is cold has no machine, and is no backend."
  }

  assert {
    condition     = azurerm_traffic_manager_profile.engine[0].traffic_routing_method == "Priority"
    error_message = "The name is the first region's while it is healthy."
  }
}

run "woken" {
  command = plan

  variables {
    standby          = "cold"
    standby_region   = "westus3"
    standby_replicas = 3
  }

  assert {
    condition     = strcontains(output.baseload_backends, "edge-standby")
    error_message = "One that was woken is a backend."
  }
}

run "names_of_accounts" {
  command         = plan
  expect_failures = [var.bucket]

  variables {
    bucket = "not-allowed"
  }
}

run "whole_internet" {
  command         = plan
  expect_failures = [var.callers]

  variables {
    callers = ["0.0.0.0/0"]
  }
}

run "standby_without_region" {
  command         = plan
  expect_failures = [var.standby]

  variables {
    standby = "warm"
  }
}
