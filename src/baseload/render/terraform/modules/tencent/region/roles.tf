# What a machine may do: read the weights and its one secret. No more.

# It has no value yet: one that Terraform knew would stand in its state. See the README.
resource "tencentcloud_ssm_secret" "engine_key" {
  secret_name             = "${var.name}-engine-key"
  description             = "The key that callers of the engine ${var.engine.name} give"
  recovery_window_in_days = 7
  tags                    = var.tags
}

resource "tencentcloud_cam_role" "machine" {
  name        = "${var.name}-machine"
  description = "Machines of the engine"

  document = jsonencode({
    version = "2.0"

    statement = [{
      effect    = "allow"
      action    = "name/sts:AssumeRole"
      principal = { service = ["cvm.qcloud.com"] }
    }]
  })
}

locals {
  secret = "qcs::ssm:${var.region}:uin/${var.account.uin}:secret/creatorUin/*/${tencentcloud_ssm_secret.engine_key.secret_name}"

  reads_secret = [{
    effect   = "allow"
    action   = ["ssm:GetSecretValue"]
    resource = [local.secret]
  }]

  weights = [
    {
      effect   = "allow"
      action   = ["cos:GetObject", "cos:HeadObject"]
      resource = ["qcs::cos:${var.weights.region}:uid/${var.account.app_id}:${var.weights.bucket}/${var.weights.prefix}*"]
    },
    {
      effect    = "allow"
      action    = ["cos:GetBucket"]
      resource  = ["qcs::cos:${var.weights.region}:uid/${var.account.app_id}:${var.weights.bucket}/*"]
      condition = { string_like = { "cos:prefix" = ["${var.weights.prefix}*"] } }
    },
  ]
  reads_weights = [for each in local.weights : each if var.weights.bucket != ""]
}

resource "tencentcloud_cam_policy" "machine" {
  name        = "${var.name}-machine"
  description = "What a machine of the engine reads"
  document    = jsonencode({ version = "2.0", statement = concat(local.reads_secret, local.reads_weights) })
}

resource "tencentcloud_cam_role_policy_attachment" "machine" {
  role_id   = tencentcloud_cam_role.machine.id
  policy_id = tencentcloud_cam_policy.machine.id
}
