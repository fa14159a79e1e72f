# One bucket for weights, jobs and answers. Old versions of objects are kept, and a copy of all of it
# in the second region.

resource "tencentcloud_cos_bucket" "here" {
  bucket               = "${var.bucket}-${local.account.app_id}"
  acl                  = "private"
  versioning_enable    = true
  encryption_algorithm = "AES256"
  replica_role         = var.standby == "none" ? null : "qcs::cam::uin/${local.account.owner_uin}:uin/${local.account.uin}"
  tags                 = local.tags

  dynamic "replica_rules" {
    for_each = tencentcloud_cos_bucket.standby[*].bucket

    content {
      id                 = "standby"
      status             = "Enabled"
      destination_bucket = "qcs::cos:${var.standby_region}::${replica_rules.value}"
    }
  }

  lifecycle_rules {
    id            = "old-versions"
    filter_prefix = ""

    non_current_expiration {
      non_current_days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  lifecycle_rules {
    id            = "results"
    filter_prefix = "results/"

    expiration {
      days = var.results_days
    }
  }
}

resource "tencentcloud_cos_bucket" "standby" {
  count    = var.standby == "none" ? 0 : 1
  provider = tencentcloud.standby

  bucket               = local.standby_bucket
  acl                  = "private"
  versioning_enable    = true
  encryption_algorithm = "AES256"
  tags                 = local.tags
}

# Whoever comes without TLS is sent away.
resource "tencentcloud_cos_bucket_policy" "here" {
  bucket = tencentcloud_cos_bucket.here.bucket

  policy = jsonencode({
    version = "2.0"

    Statement = [{
      Effect    = "deny"
      Principal = { qcs = ["qcs::cam::anyone:anyone"] }
      Action    = ["name/cos:*"]
      Resource  = ["qcs::cos:${var.region}:uid/${local.account.app_id}:${tencentcloud_cos_bucket.here.bucket}/*"]
      Condition = { bool_equal = { "cos:secure-transport" = "false" } }
    }]
  })
}
