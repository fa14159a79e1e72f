# Jobs that can wait. Of all queues, SCF's documentation has triggers for CKafka, Apache Kafka and MQTT,
# which are machines that run all the time, and none any more for the message queue (CMQ) or RocketMQ.
# So the queue is a folder of the bucket: a job is an object in `jobs/`, which calls the worker, and
# stays until it is answered.

terraform {
  required_version = ">= 1.11"

  required_providers {
    tencentcloud = {
      source  = "tencentcloudstack/tencentcloud"
      version = ">= 1.82.0, < 2.0.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.4"
    }
  }
}

data "archive_file" "worker" {
  type             = "zip"
  source_dir       = "${path.module}/worker"
  output_path      = "${path.root}/.worker.zip"
  output_file_mode = "0644"
}

resource "tencentcloud_cam_role" "worker" {
  name        = "${var.name}-worker"
  description = "The worker for patient jobs"

  document = jsonencode({
    version = "2.0"

    statement = [{
      effect    = "allow"
      action    = "name/sts:AssumeRole"
      principal = { service = ["scf.qcloud.com"] }
    }]
  })
}

locals {
  objects = "qcs::cos:${var.region}:uid/${var.account.app_id}:${var.bucket}"
}

resource "tencentcloud_cam_policy" "worker" {
  name        = "${var.name}-worker"
  description = "Takes jobs, puts answers, reads the engine's key"

  document = jsonencode({
    version = "2.0"

    statement = [
      {
        effect   = "allow"
        action   = ["cos:GetObject", "cos:HeadObject", "cos:DeleteObject"]
        resource = ["${local.objects}/jobs/*"]
      },
      {
        effect   = "allow"
        action   = ["cos:PutObject"]
        resource = ["${local.objects}/results/*"]
      },
      {
        effect    = "allow"
        action    = ["cos:GetBucket"]
        resource  = ["${local.objects}/*"]
        condition = { string_like = { "cos:prefix" = ["jobs/*"] } }
      },
      {
        effect   = "allow"
        action   = ["ssm:GetSecretValue"]
        resource = ["qcs::ssm:${var.region}:uin/${var.account.uin}:secret/creatorUin/*/${var.secret}"]
      },
    ]
  })
}

resource "tencentcloud_cam_role_policy_attachment" "worker" {
  role_id   = tencentcloud_cam_role.worker.id
  policy_id = tencentcloud_cam_policy.worker.id
}

resource "tencentcloud_scf_function" "worker" {
  name              = "${var.name}-worker"
  description       = "Takes patient jobs to the engine"
  runtime           = "Python3.10"
  handler           = "main.main_handler"
  zip_file          = data.archive_file.worker.output_path
  mem_size          = 256
  timeout           = 900
  role              = tencentcloud_cam_role.worker.name
  vpc_id            = var.vpc_id
  subnet_id         = var.subnet_id
  enable_public_net = true
  tags              = var.tags

  environment = {
    BUCKET = var.bucket
    REGION = var.region
    SECRET = var.secret
    URL    = var.url
  }

  triggers {
    name       = "${var.bucket}.cos.${var.region}.myqcloud.com"
    type       = "cos"
    cos_region = var.region

    trigger_desc = jsonencode({
      event  = "cos:ObjectCreated:*"
      filter = { Prefix = "jobs/", Suffix = ".json" }
    })
  }

  triggers {
    name         = "hourly"
    type         = "timer"
    trigger_desc = "0 17 * * * * *"
  }

  depends_on = [tencentcloud_cam_role_policy_attachment.worker]
}

resource "tencentcloud_scf_function_event_invoke_config" "worker" {
  function_name = tencentcloud_scf_function.worker.name

  async_trigger_config {
    msg_ttl = 21600

    retry_config {
      retry_num = 2
    }
  }
}
