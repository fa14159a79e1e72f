# What a machine may: read its weights and its key, write its logs and metrics, be reached by SSM.

resource "aws_iam_role" "engine" {
  name = "${var.name}-${local.region}-engine"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "engine" {
  name = aws_iam_role.engine.name
  role = aws_iam_role.engine.name
}

# Session Manager instead of SSH: no key pair, no open port, and sessions are on record.
resource "aws_iam_role_policy_attachment" "ssm" {
  role       = aws_iam_role.engine.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy" "engine" {
  name = "engine"
  role = aws_iam_role.engine.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ListWeights"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = "arn:${local.partition}:s3:::${var.weights_bucket}"
        Condition = { StringLike = { "s3:prefix" = ["${var.weights_prefix}*"] } }
      },
      {
        Sid      = "ReadWeights"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.weights_bucket}/${var.weights_prefix}*"
      },
      {
        Sid      = "ReadKey"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.key_secret}-??????"
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = compact([var.key_arn, var.weights_key_arn])
        Condition = {
          StringLike = {
            "kms:ViaService" = ["s3.*.amazonaws.com", "secretsmanager.${local.region}.amazonaws.com"]
          }
        }
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.engine.arn}:*"
      },
      {
        # Metrics are no resources that could be named; their namespace can.
        Sid       = "WriteMetrics"
        Effect    = "Allow"
        Action    = "cloudwatch:PutMetricData"
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = local.metrics } }
      },
    ]
  })
}
