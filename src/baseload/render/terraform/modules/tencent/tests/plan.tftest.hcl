# terraform test: what is planned, with mocked providers. No account is needed, and nothing is made.

mock_provider "archive" {}

mock_provider "tencentcloud" {
  mock_data "tencentcloud_user_info" {
    defaults = { app_id = "1250000000", uin = "1", owner_uin = "2" }
  }
  mock_resource "tencentcloud_clb_instance" {
    defaults        = { clb_vips = ["10.80.0.9"] }
    override_during = plan
  }
}

mock_provider "tencentcloud" {
  alias = "standby"

  mock_resource "tencentcloud_clb_instance" {
    defaults        = { clb_vips = ["10.81.0.9"] }
    override_during = plan
  }
}

variables {
  environment    = "test"
  name           = "baseload"
  region         = "ap-guangzhou"
  zones          = ["ap-guangzhou-3", "ap-guangzhou-4"]
  image          = "img-1"
  instance_types = ["GN10Xp.20XLARGE320"]
  ssh_public_key = "ssh-ed25519 AAAA"
  data_volume_gb = 200
  replicas       = 2
  replicas_max   = 6
  sequences      = 100
  out_mbps       = 4
  start_s        = 400
  answer_s       = 600
  engine_name    = "edge"
  engine_image   = "engine:1"
  engine_args    = ["serve", "/weights"]
  bucket         = "baseload-weights"
  weights_bucket = "baseload-weights-1250000000"
  weights_region = "ap-guangzhou"
  weights_prefix = "model/"
}

run "one_region" {
  command = plan

  assert {
    condition     = length(module.standby) == 0 && length(module.patient) == 0
    error_message = "Nothing stands by, and there is no worker, unless it is asked for."
  }

  assert {
    condition     = length(tencentcloud_billing_budget.month) == 0
    error_message = "Without a price there is no budget."
  }

  assert {
    condition     = yamldecode(output.baseload_backends).backends.edge.url == "http://10.80.0.9:8000/v1"
    error_message = "The gateway calls the balancer inside."
  }
}

run "standby_by_a_person" {
  command = plan

  variables {
    standby        = "warm"
    standby_region = "ap-shanghai"
    standby_zones  = ["ap-shanghai-2"]
    standby_image  = "img-2"
    zone           = "example.com"
    host           = "engine.example.com"
    certificate_id = "certificate"
    patient        = true
  }

  assert {
    condition     = tencentcloud_dnspod_record.engine["first"].status == "ENABLE" && tencentcloud_dnspod_record.engine["standby"].status == "DISABLE"
    error_message = "The name is the first region's, until a person says otherwise."
  }

  assert {
    condition     = local.has_copy && length(tencentcloud_cos_bucket.here.replica_rules) == 1
    error_message = "A standby has weights of its own."
  }
}

run "standby_by_igtm" {
  command = plan

  variables {
    standby        = "cold"
    standby_region = "ap-shanghai"
    standby_zones  = ["ap-shanghai-2"]
    standby_image  = "img-2"
    zone           = "example.com"
    host           = "engine.example.com"
    certificate_id = "certificate"
    igtm_package   = "ins-1"
  }

  assert {
    condition     = length(tencentcloud_dnspod_record.engine) == 0 && tencentcloud_igtm_monitor.engine[0].check_interval == 60
    error_message = "IGTM checks each minute, in the place of two records."
  }
}

run "spot_without_a_price" {
  command         = plan
  expect_failures = [var.spot_max_hour]

  variables {
    spot = true
  }
}

run "no_zone_known" {
  command         = plan
  expect_failures = [var.zones]

  variables {
    zones = []
  }
}

run "name_without_certificate" {
  command         = plan
  expect_failures = [var.certificate_id]

  variables {
    zone = "example.com"
    host = "engine.example.com"
  }
}
