output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.id
}

# Known only once versions are kept, since that is what copying to this bucket asks for.
output "arn" {
  description = "The bucket."
  value       = aws_s3_bucket.this.arn
  depends_on  = [aws_s3_bucket_versioning.this]
}
