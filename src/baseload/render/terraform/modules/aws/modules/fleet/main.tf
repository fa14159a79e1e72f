# A group of machines in one region, each of which runs one engine.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  # Where the machines' own metrics and the engine's calls in flight are written.
  metrics = "Baseload"
}

resource "aws_cloudwatch_log_group" "engine" {
  name              = "/baseload/${var.name}/engine"
  retention_in_days = 365
  kms_key_id        = var.key_arn
}

resource "aws_security_group" "engine" {
  name        = "${var.name}-engine"
  description = "Machines of the engine"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "engine" {
  security_group_id            = aws_security_group.engine.id
  description                  = "Calls, through the balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_egress_rule" "engine" {
  security_group_id = aws_security_group.engine.id
  description       = "Images, weights and the services of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_launch_template" "engine" {
  name                   = var.name
  description            = "A machine that runs the engine ${var.engine_name}"
  image_id               = var.image
  instance_type          = var.instance_types[0]
  update_default_version = true
  ebs_optimized          = true
  user_data = base64encode(templatefile("${path.module}/user_data.sh.tftpl", {
    answer_s    = var.answer_s
    args        = base64encode(jsonencode(var.engine_args))
    environment = base64encode(jsonencode(var.engine_environment))
    group       = var.name
    image       = var.engine_image
    key_secret  = var.key_secret
    log_group   = aws_cloudwatch_log_group.engine.name
    metrics     = local.metrics
    port        = var.port
    region      = local.region
    weights     = "s3://${var.weights_bucket}/${var.weights_prefix}"
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.engine.arn
  }

  # Version 2 of the metadata service only, and not from inside containers: they are one hop further.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  network_interfaces {
    associate_public_ip_address = false
    delete_on_termination       = true
    security_groups             = [aws_security_group.engine.id]
  }

  block_device_mappings {
    device_name = var.root_device

    ebs {
      volume_type           = "gp3"
      volume_size           = 100
      encrypted             = true
      kms_key_id            = var.key_arn
      delete_on_termination = true
    }
  }

  # The engine's image, and its weights where the machine has no NVMe of its own.
  block_device_mappings {
    device_name = "/dev/sdf"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.data_volume_gb
      iops                  = 8000
      throughput            = 1000
      encrypted             = true
      kms_key_id            = var.key_arn
      delete_on_termination = true
    }
  }

  # Every minute, as the scaling on CPU asks for.
  monitoring {
    enabled = true
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(var.tags, { Name = var.name })
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_autoscaling_group" "engine" {
  name                = var.name
  min_size            = var.replicas
  max_size            = var.replicas_max
  vpc_zone_identifier = var.machine_subnet_ids
  target_group_arns   = [aws_lb_target_group.engine.arn]

  # The balancer asks every 60 s, and a machine that was ill while it started is well after two good
  # answers. Before it may be given up the engine has had its time, and then three questions.
  health_check_type         = "ELB"
  health_check_grace_period = var.start_s + 3 * 60
  default_instance_warmup   = var.start_s
  default_cooldown          = 300

  # How many there are in between is the scaling's business, so no number wanted is named here:
  # a minimum that is raised starts machines, and applying never undoes what scaling did.
  capacity_rebalance        = var.spot
  wait_for_capacity_timeout = "0"
  metrics_granularity       = "1Minute"
  enabled_metrics           = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances"]

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = var.floor
      on_demand_percentage_above_base_capacity = var.spot ? 0 : 100
      spot_allocation_strategy                 = "price-capacity-optimized"
      spot_max_price                           = var.spot_max_usd_hour == null ? "" : tostring(var.spot_max_usd_hour)
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.engine.id
        version            = aws_launch_template.engine.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  # A new template replaces machines; never more of them than there are, since quotas for GPUs are
  # small, so with a single machine the engine is away meanwhile.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 50
      max_healthy_percentage = 100
      instance_warmup        = var.start_s
      skip_matching          = true
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = merge(var.tags, { Name = var.name })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # Machines that go finish their answers first.
  timeouts {
    delete = "${var.answer_s + 900}s"
  }

  depends_on = [aws_iam_role_policy.engine, aws_lb_listener.https]
}
