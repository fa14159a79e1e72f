variable "name" {
  description = "Of installation and environment."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "tags" {
  description = "On everything that takes tags."
  type        = map(string)
}

variable "resource_group" {
  description = "Where all of it is put."
  type        = string
}

variable "inside" {
  description = "Where the worker and its storage are put inside the network."

  type = object({
    workers_subnet_id   = string
    endpoints_subnet_id = string
    blob_zone_id        = string
  })
}

variable "account" {
  description = "The storage account to be made for jobs."
  type        = string
}

variable "bus" {
  description = "The Service Bus namespace to be made."
  type        = string
}

variable "gateway_url" {
  description = "Where the worker calls."
  type        = string
}

variable "answer_max_s" {
  description = "The longest that an answer may take."
  type        = number

  validation {
    condition     = var.answer_max_s <= 1800
    error_message = "The worker is stopped after half an hour."
  }
}

variable "worker_zip" {
  description = "The worker's package; empty: deployed apart."
  type        = string
}

variable "vault_id" {
  description = "The key vault with the worker's key for the gateway, as `gateway-key`."
  type        = string
}

variable "vault_url" {
  description = "Where that vault answers."
  type        = string
}

variable "alarms" {
  description = "The action groups that hear alarms; none: nobody hears them."
  type        = list(string)
}
