# Jobs that can wait: a queue, a worker that takes one at a time to the engine, and a second queue
# for those that came back fifty times, which takes half a day. A job is {"id", "path", "body"}; its
# answer is put into S3.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  # The longest that Lambda lets anything run.
  run_max_s = 900
  function  = "${var.name}-patient"
}

resource "aws_sqs_queue" "failed" {
  name                      = "${var.name}-patient-failed"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.key_arn
}

resource "aws_sqs_queue" "jobs" {
  name                      = "${var.name}-patient"
  message_retention_seconds = 345600
  kms_master_key_id         = var.key_arn
  # AWS asks for six times what the worker may take. What comes back does so sooner: the worker says
  # when.
  visibility_timeout_seconds = 6 * local.run_max_s
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.failed.arn
    maxReceiveCount     = 50
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "failed" {
  queue_url = aws_sqs_queue.failed.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.jobs.arn]
  })
}

resource "aws_security_group" "worker" {
  name        = local.function
  description = "The worker of patient jobs"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "worker" {
  security_group_id = aws_security_group.worker.id
  description       = "The engine, and the services of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_cloudwatch_log_group" "worker" {
  name              = "/aws/lambda/${local.function}"
  retention_in_days = 365
  kms_key_id        = var.key_arn
}

data "archive_file" "worker" {
  type             = "zip"
  source_file      = "${path.module}/worker.py"
  output_path      = "${path.root}/.terraform/worker.zip"
  output_file_mode = "0644"
}

resource "aws_lambda_function" "worker" {
  function_name    = local.function
  role             = aws_iam_role.worker.arn
  runtime          = "python3.13"
  handler          = "worker.handler"
  filename         = data.archive_file.worker.output_path
  source_code_hash = data.archive_file.worker.output_base64sha256
  timeout          = local.run_max_s
  memory_size      = 256
  kms_key_arn      = var.key_arn

  environment {
    variables = {
      BUCKET    = var.bucket
      URL       = var.url
      KEY       = var.key_secret
      QUEUE_URL = aws_sqs_queue.jobs.url
    }
  }

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.worker.id]
  }

  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_cloudwatch_log_group.worker, aws_iam_role_policy.worker]
}

resource "aws_lambda_event_source_mapping" "jobs" {
  event_source_arn        = aws_sqs_queue.jobs.arn
  function_name           = aws_lambda_function.worker.arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.concurrency
  }
}

resource "aws_iam_role" "worker" {
  name = "${var.name}-${local.region}-patient"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "worker" {
  name = "worker"
  role = aws_iam_role.worker.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "TakeJobs"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        ]
        Resource = aws_sqs_queue.jobs.arn
      },
      {
        Sid      = "PutResults"
        Effect   = "Allow"
        Action   = "s3:PutObject"
        Resource = "arn:${local.partition}:s3:::${var.bucket}/results/*"
      },
      {
        Sid      = "ReadKey"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.key_secret}-??????"
      },
      {
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.key_arn
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.worker.arn}:*"
      },
      {
        # A function inside a VPC makes its own network interfaces; these actions know no resources.
        Sid    = "JoinTheVpc"
        Effect = "Allow"
        Action = [
          "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*"
      },
    ]
  })
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  alarm_name          = "${local.function}-failed"
  alarm_description   = "A patient job was given up."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.failed.name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "old" {
  alarm_name          = "${local.function}-old"
  alarm_description   = "A patient job waits for more than four hours."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.jobs.name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 14400
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms_topic_arn]
}
