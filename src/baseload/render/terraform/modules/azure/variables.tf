variable "environment" {
  description = "One of the environments, each with a variable file and a state of its own."
  type        = string
}

variable "name" {
  description = "The installation's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,38}[a-z0-9]$", var.name))
    error_message = "At most 40 of a to z, 0 to 9 and `-`, beginning with a letter."
  }
}

variable "region" {
  description = "The region."
  type        = string
}

variable "standby_region" {
  description = "The region that stands by; empty: none."
  type        = string
  default     = ""
}

variable "standby" {
  description = "There: `warm`, one machine that runs; `cold`, none until it is taken over; or `none`."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "warm", "cold"], var.standby)
    error_message = "One of none, warm and cold."
  }

  validation {
    condition     = (var.standby == "none") == (var.standby_region == "")
    error_message = "A standby needs a region, and a region a standby."
  }
}

variable "standby_active" {
  description = "Set it when the first region is gone: the standby then has as many machines."
  type        = bool
  default     = false
}

variable "instance" {
  description = "The machines' size."
  type        = string
}

variable "image" {
  description = "The id of the machines' image; empty: Ubuntu HPC, with drivers and Docker."
  type        = string
  default     = ""
}

variable "ssh_public_key" {
  description = "Of whoever may log in from inside: TF_VAR_ssh_public_key."
  type        = string

  validation {
    condition     = startswith(var.ssh_public_key, "ssh-rsa ") || startswith(var.ssh_public_key, "ssh-ed25519 ")
    error_message = "A public key in OpenSSH's form; Azure takes RSA and Ed25519."
  }
}

variable "replicas" {
  description = "Machines at least."
  type        = number
}

variable "replicas_max" {
  description = "Machines at most."
  type        = number

  validation {
    condition     = var.replicas_max >= max(1, var.replicas)
    error_message = "At least one, and not fewer than `replicas`."
  }
}

variable "spot" {
  description = "Whether machines above the floor are spot."
  type        = bool
  default     = false
}

variable "floor" {
  description = "Machines that are always on demand."
  type        = number
  default     = 1
}

variable "scaling" {
  description = "`target`: by how busy engines say they are; `cpu`: the article's steps."
  type        = string
  default     = "target"

  validation {
    condition     = contains(["target", "cpu"], var.scaling)
    error_message = "One of target and cpu."
  }
}

variable "engine" {
  description = "The model server: what runs, where it listens, how long it takes."

  type = object({
    name         = string
    image        = string
    command      = list(string)
    port         = number
    calls        = list(string)
    calls_max    = number
    start_s      = number
    answer_max_s = number
  })
}

variable "disk_gb" {
  description = "The data disk that holds weights."
  type        = number
}

variable "bucket" {
  description = "The storage account to be made; `prod` has this name, others add theirs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.bucket))
    error_message = "Azure takes 3 to 24 of a to z and 0 to 9, and nothing else."
  }
}

variable "weights" {
  description = "The container for weights, and the model's folder in it; empty: not from there."

  type = object({
    container = string
    path      = string
  })
}

variable "callers" {
  description = "Networks from which the engine may be called: those of the gateways."
  type        = list(string)
  default     = ["10.0.0.0/8"]

  validation {
    condition     = !contains(var.callers, "0.0.0.0/0")
    error_message = "Not the whole internet."
  }
}

variable "zone" {
  description = "The DNS zone for the failover name; empty: inside the network only, no name."
  type        = string
  default     = ""
}

variable "patient" {
  description = "Whether there is a queue with a serverless worker."
  type        = bool
  default     = false
}

variable "gateway_url" {
  description = "Where the worker calls: the gateway, as https://.../v1."
  type        = string
  default     = ""

  validation {
    condition     = !var.patient || startswith(var.gateway_url, "https://")
    error_message = "The worker for patient jobs needs a gateway to call, over https."
  }
}

variable "worker_zip" {
  description = "The worker's package, made of the folder `worker`; empty: deployed apart."
  type        = string
  default     = ""
}

variable "alarm_email" {
  description = "Who hears alarms; empty: nobody."
  type        = string
  default     = ""
}

variable "budget_usd_month" {
  description = "Told of before it is passed, in the subscription's currency; null: no budget."
  type        = number
  default     = null
}
