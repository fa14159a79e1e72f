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

variable "instance_types" {
  description = "Machines that will do, the best first."
  type        = list(string)
}

variable "zones" {
  description = "Availability zones that have such machines, as `ap-guangzhou-3`; the first has the balancer."
  type        = list(string)

  validation {
    condition     = length(var.zones) > 0
    error_message = "Which zones have such machines is not known here: name one at least."
  }
}

variable "standby_zones" {
  description = "The same in the second region."
  type        = list(string)
  default     = []

  validation {
    condition     = var.standby == "none" || length(var.standby_zones) > 0
    error_message = "A standby needs zones of its own."
  }
}

variable "image" {
  description = "The CVM image: Linux with NVIDIA's driver, Docker, NVIDIA's container toolkit, coscli and tccli."
  type        = string

  validation {
    condition     = startswith(var.image, "img-")
    error_message = "No image is guessed: give the id of one of yours, img-..."
  }
}

variable "standby_image" {
  description = "The same image in the second region, where it has another id."
  type        = string
  default     = ""

  validation {
    condition     = var.standby == "none" || var.standby_image != ""
    error_message = "A standby needs an image of its own region."
  }
}

variable "disk_snapshot" {
  description = "An encrypted, empty snapshot: data disks made of it are encrypted. Empty: they are not."
  type        = string
  default     = ""
}

variable "standby_disk_snapshot" {
  description = "The same in the second region."
  type        = string
  default     = ""
}

variable "ssh_public_key" {
  description = "Of whoever may log in from inside: TF_VAR_ssh_public_key."
  type        = string

  validation {
    condition     = startswith(var.ssh_public_key, "ssh-")
    error_message = "A public key in OpenSSH's form."
  }
}

variable "spot_max_hour" {
  description = "The most that is paid for a spot machine an hour, in the account's currency, as `12.50`."
  type        = string
  default     = ""

  validation {
    condition     = !var.spot || can(regex("^[0-9]+([.][0-9]+)?$", var.spot_max_hour))
    error_message = "Tencent Cloud wants a highest price for spot machines, and none is known here."
  }
}

variable "out_mbps" {
  description = "Traffic out of one machine that scaling holds: what answers make when it is as busy as wanted."
  type        = number
}

variable "bucket" {
  description = "The bucket to be made, without the account's number, which is added."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$", var.bucket))
    error_message = "At most 40 of a to z, 0 to 9 and `-`."
  }
}

variable "weights_bucket" {
  description = "The bucket that weights are in, with the account's number; empty: the engine fetches them itself."
  type        = string
  default     = ""
}

variable "weights_region" {
  description = "Its region."
  type        = string
  default     = ""
}

variable "weights_prefix" {
  description = "Where in it they are, with a `/` at the end."
  type        = string
  default     = ""
}

variable "zone" {
  description = "The domain in DNSPod, which is there already; empty: inside the network only, no name."
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

variable "certificate_id" {
  description = "The certificate for `host`, in SSL Certificates; needed with a zone."
  type        = string
  default     = ""

  validation {
    condition     = var.zone == "" || var.certificate_id != ""
    error_message = "With a zone the engine is called over TLS, which takes a certificate."
  }
}

variable "igtm_package" {
  description = "A package of IGTM that is bought already: it checks and fails over. Empty: a person does, by `standby_active`."
  type        = string
  default     = ""
}

variable "igtm_detectors" {
  description = "IGTM's groups of detectors that check."
  type        = list(number)
  default     = [30, 31, 32]
}

variable "standby_active" {
  description = "Without IGTM: whether the name is the second region's."
  type        = bool
  default     = false
}

variable "results_days" {
  description = "Days for which results of patient jobs are kept."
  type        = number
  default     = 30
}

variable "alarm_users" {
  description = "Ids of the CAM users who hear alarms; their addresses are kept in CAM. None: nobody."
  type        = list(number)
  default     = []
}

variable "budget_usd_month" {
  description = "Told of before it is passed, in the account's currency; null: no budget."
  type        = number
  default     = null
}
