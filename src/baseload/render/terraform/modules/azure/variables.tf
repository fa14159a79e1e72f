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
  description = "`none`; `warm`: one machine runs in the second region; `cold`: none does until it is asked for."
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

variable "patient" {
  description = "Whether there is a queue with a serverless worker."
  type        = bool
  default     = false
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

variable "cidr" {
  description = "Addresses of its network: a /16."
  type        = string
  default     = "10.80.0.0/16"
}

variable "standby_cidr" {
  description = "Addresses of the network there: a /16 other than `cidr`, so that both can be peered."
  type        = string
  default     = "10.81.0.0/16"
}

variable "standby_replicas" {
  description = "Machines there at least; null: as `standby` says. This is what wakes a cold one."
  type        = number
  default     = null
}

variable "callers" {
  description = "Address ranges outside the network that may call the engine: those of the gateways."
  type        = list(string)
  default     = []

  validation {
    condition     = !contains(var.callers, "0.0.0.0/0")
    error_message = "Not the whole internet."
  }
}

variable "zone" {
  description = "The DNS zone, which is there already; empty: inside the network only, no name."
  type        = string
  default     = ""
}

variable "host" {
  description = "The engine's name in that zone, which callers use."
  type        = string
  default     = ""

  validation {
    condition     = var.zone == "" || endswith(var.host, ".${var.zone}")
    error_message = "A name in the zone."
  }
}

variable "instance_type" {
  description = "The machines' size."
  type        = string
}

variable "data_volume_gb" {
  description = "Size of the data disk: weights, where a machine has no NVMe of its own."
  type        = number
}

variable "sequences" {
  description = "Calls at once that one machine holds."
  type        = number
}

variable "load_wanted" {
  description = "Part of `sequences` that a machine is to have in flight."
  type        = number
  default     = 0.7
}

variable "start_s" {
  description = "Seconds until a machine that was started can answer, at the longest."
  type        = number
}

variable "answer_s" {
  description = "Seconds that an answer may take."
  type        = number
}

variable "port" {
  description = "Where the engine listens."
  type        = number
  default     = 8000
}

variable "engine_name" {
  description = "The engine's name in the fleet file."
  type        = string
}

variable "engine_image" {
  description = "The engine's container image."
  type        = string
}

variable "engine_args" {
  description = "What follows the image: its arguments."
  type        = list(string)
}

variable "engine_environment" {
  description = "Variables of its container; no secrets."
  type        = map(string)
  default     = {}
}

variable "engine_key_reference" {
  description = "How the fleet file refers to the engine's key; it goes into the output."
  type        = string
  default     = ""
}

variable "bucket" {
  description = "The storage account to be made for weights; others are called after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.bucket))
    error_message = "Azure takes 3 to 24 of a to z and 0 to 9, and nothing else."
  }
}

variable "weights_container" {
  description = "The container for weights, which is made too."
  type        = string
  default     = "weights"
}

variable "weights_path" {
  description = "The model's folder in that container; empty: the engine fetches its weights itself."
  type        = string
  default     = ""
}
