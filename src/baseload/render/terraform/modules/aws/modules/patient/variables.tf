variable "name" {
  description = "What everything here is called."
  type        = string
}

variable "key_arn" {
  description = "The region's key."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets for the worker."
  type        = list(string)
}

variable "bucket" {
  description = "Where results are put, under `results/`."
  type        = string
}

variable "url" {
  description = "Whom the worker asks, without `/v1`."
  type        = string
}

variable "key_secret" {
  description = "Name of the secret that holds the key for it."
  type        = string
}

variable "concurrency" {
  description = "Jobs at once, 2 at least."
  type        = number
}

variable "alarms_topic_arn" {
  description = "Where alarms go."
  type        = string
}
