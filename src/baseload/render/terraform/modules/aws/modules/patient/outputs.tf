output "queue_url" {
  description = "Where jobs are sent."
  value       = aws_sqs_queue.jobs.url
}
