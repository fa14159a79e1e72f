# Calls come in here, over TLS and from inside only; whoever is outside comes by VPN or peering.

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The engine's balancer"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each = toset(var.callers)

  security_group_id = aws_security_group.balancer.id
  description       = "Callers"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Machines"
  referenced_security_group_id = aws_security_group.engine.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_lb" "engine" {
  # Names of balancers are short.
  name                       = trim(substr(var.name, 0, 32), "-")
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect
  # Between two bytes; an answer that is not streamed is one long silence.
  idle_timeout = var.answer_s
}

# Its name has a random end, since another port makes another group, while the listener has this one.
resource "aws_lb_target_group" "engine" {
  name_prefix = "engine"
  vpc_id      = var.vpc_id
  port        = var.port
  protocol    = "HTTP"
  # Whoever has the fewest calls gets the next: answers differ in length a hundredfold.
  load_balancing_algorithm_type = "least_outstanding_requests"
  # Answers that are under way are finished before a machine goes.
  deregistration_delay = var.answer_s

  health_check {
    path                = "/health"
    interval            = 60
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
    matcher             = "200"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.engine.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.engine.arn
  }
}
