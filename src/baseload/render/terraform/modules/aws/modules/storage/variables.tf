variable "name" {
  description = "What everything here is called."
  type        = string
}

variable "bucket" {
  description = "The bucket's name."
  type        = string
}

variable "key_arn" {
  description = "The region's key."
  type        = string
}

variable "weights_prefix" {
  description = "Where weights lie in it; that is what is copied to the replica."
  type        = string
}

variable "results_days" {
  description = "Days for which results of patient jobs are kept."
  type        = number
}

variable "replica" {
  description = "A bucket of another region, with versioning, that gets a copy."
  type        = object({ bucket_arn = string, key_arn = string })
  default     = null
}
