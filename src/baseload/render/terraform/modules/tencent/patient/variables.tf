variable "name" {
  description = "Of installation and environment."
  type        = string
}

variable "region" {
  description = "Where it is."
  type        = string
}

variable "tags" {
  description = "On everything that takes tags."
  type        = map(string)
}

variable "bucket" {
  description = "The bucket for jobs and answers."
  type        = string
}

variable "url" {
  description = "Where the engine answers."
  type        = string
}

variable "secret" {
  description = "The secret that holds the engine's key."
  type        = string
}

variable "vpc_id" {
  description = "The VPC that the engine is in."
  type        = string
}

variable "subnet_id" {
  description = "The subnet that the worker is put into."
  type        = string
}

variable "account" {
  description = "The account's numbers."
  type        = object({ app_id = string, uin = string })
}

variable "answer_s" {
  description = "Seconds that an answer may take."
  type        = number

  validation {
    condition     = var.answer_s <= 840
    error_message = "A function is stopped after 15 minutes; answers that take longer are no patient jobs here."
  }
}
