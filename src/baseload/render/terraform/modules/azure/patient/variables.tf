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
    network_id          = string
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

variable "url" {
  description = "Where the engine answers."
  type        = string
}

variable "answer_s" {
  description = "Seconds that an answer may take."
  type        = number

  validation {
    condition     = var.answer_s <= 1740
    error_message = "The worker is stopped after half an hour."
  }
}

variable "vault" {
  description = "The key vault that holds the engine's key: its id, and where it answers."
  type        = object({ id = string, url = string })
}

variable "alarms" {
  description = "The action groups that hear alarms; none: nobody hears them."
  type        = list(string)
}
