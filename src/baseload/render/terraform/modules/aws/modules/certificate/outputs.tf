# Of the validation, so that nothing uses the certificate before it is valid.
output "arn" {
  description = "The certificate."
  value       = aws_acm_certificate_validation.this.certificate_arn
}
