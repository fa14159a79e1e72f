variable "environment" {
  description = "`prod`, `staging`, ..."
  type        = string
}

variable "replicas" {
  description = "Machines at least, which run all the time."
  type        = number

  validation {
    condition     = var.replicas >= 0 && var.replicas <= var.replicas_max
    error_message = "replicas must not be more than replicas_max."
  }
}

variable "replicas_max" {
  description = "Machines at most. The account's quota is to allow them, in both regions."
  type        = number

  validation {
    condition     = var.replicas_max >= 1
    error_message = "There must be room for one machine."
  }
}

variable "budget_usd_month" {
  description = "Told of before it is passed; null: no budget."
  type        = number
  default     = null
}

variable "name" {
  description = "The installation's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.name)) && length(var.name) + length(var.environment) <= 35
    error_message = "name and environment have 35 characters together at most, of a to z, 0 to 9 and -; roles' names are made of them."
  }
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "cidr" {
  description = "Addresses of its VPC: a /16."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(regex("/16$", var.cidr)) && can(cidrnetmask(var.cidr))
    error_message = "cidr must be a /16."
  }
}

variable "zones" {
  description = "Zones to be in; empty: three, those first that have the machines. Name them once it runs."
  type        = list(string)
  default     = []
}

variable "callers" {
  description = "Address ranges outside the VPC that may call the engine, by VPN or peering."
  type        = list(string)
  default     = []

  validation {
    condition     = !contains(var.callers, "0.0.0.0/0")
    error_message = "Name the callers' addresses; the engine is not for everybody."
  }
}

variable "standby" {
  description = "`none`; `warm`: one machine runs in the second region; `cold`: none does until it is asked for."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "warm", "cold"], var.standby)
    error_message = "standby is none, warm or cold."
  }
}

variable "standby_region" {
  description = "The second region."
  type        = string
  default     = ""

  validation {
    condition     = (var.standby == "none") == (var.standby_region == "") && var.standby_region != var.region
    error_message = "standby and standby_region go together, and it is another region."
  }
}

variable "standby_cidr" {
  description = "Addresses of the VPC there: a /16 other than `cidr`, so that both can be peered."
  type        = string
  default     = "10.65.0.0/16"

  validation {
    condition     = can(regex("/16$", var.standby_cidr)) && can(cidrnetmask(var.standby_cidr)) && var.standby_cidr != var.cidr
    error_message = "standby_cidr must be a /16 other than cidr."
  }
}

variable "standby_zones" {
  description = "The same in the second region."
  type        = list(string)
  default     = []
}

variable "standby_replicas" {
  description = "Machines there at least; null: as `standby` says. This is what wakes a cold one."
  type        = number
  default     = null

  validation {
    condition     = var.standby_replicas == null ? true : var.standby_replicas <= var.replicas_max
    error_message = "standby_replicas must not be more than replicas_max."
  }
}

variable "zone" {
  description = "The DNS zone, which is there already; empty: names are not made here."
  type        = string
  default     = ""
}

variable "host" {
  description = "The engine's name, which callers use and certificates are for."
  type        = string

  validation {
    condition     = var.zone == "" || endswith(var.host, ".${var.zone}")
    error_message = "host must be in zone."
  }
}

variable "certificate_arn" {
  description = "The certificate for `host`; empty: made here, which takes a zone."
  type        = string
  default     = ""

  validation {
    condition     = var.certificate_arn != "" || var.zone != ""
    error_message = "Give a zone, in which a certificate can be made, or a certificate."
  }
}

variable "standby_certificate_arn" {
  description = "The same in the second region."
  type        = string
  default     = ""

  validation {
    condition     = var.standby == "none" || (var.certificate_arn == "") == (var.standby_certificate_arn == "")
    error_message = "Give certificates for both regions, or for none."
  }
}

variable "image" {
  description = "The AMI: Amazon Linux 2023 with NVIDIA's driver, Docker, NVIDIA's container toolkit and the AWS CLI."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.image))
    error_message = "Name an AMI of this region: ami- and 8 to 17 hexadecimal digits."
  }
}

variable "standby_image" {
  description = "The same AMI in the second region, where it has another name."
  type        = string
  default     = ""

  validation {
    condition     = var.standby == "none" || can(regex("^ami-[0-9a-f]{8,17}$", var.standby_image))
    error_message = "Name the AMI of the second region, too: AMIs are of one region."
  }
}

variable "root_device" {
  description = "What the AMI calls its root disk."
  type        = string
  default     = "/dev/xvda"
}

variable "instance_types" {
  description = "Machines that will do, the best first; more than one makes spot last longer."
  type        = list(string)

  validation {
    condition     = length(var.instance_types) > 0
    error_message = "Name a machine."
  }
}

variable "data_volume_gb" {
  description = "Size of the data volume: images, and weights where a machine has no NVMe of its own."
  type        = number
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

variable "spot_max_usd_hour" {
  description = "The most that is paid for a spot machine; null: the price on demand."
  type        = number
  default     = null
}

variable "scaling" {
  description = "`target`: by calls in flight; `cpu`: 2 more when CPU is at 65 % for 5 minutes."
  type        = string
  default     = "target"

  validation {
    condition     = contains(["target", "cpu"], var.scaling)
    error_message = "scaling is target or cpu."
  }
}

variable "sequences" {
  description = "Calls at once that one machine holds."
  type        = number

  validation {
    condition     = var.sequences >= 1
    error_message = "A machine must hold a call."
  }
}

variable "load_wanted" {
  description = "Part of `sequences` that a machine is to have in flight."
  type        = number
  default     = 0.7

  validation {
    condition     = var.load_wanted > 0 && var.load_wanted <= 1
    error_message = "load_wanted is a part: above 0, at most 1."
  }
}

variable "start_s" {
  description = "Seconds until a machine that was started can answer, at the longest."
  type        = number

  validation {
    condition     = var.start_s >= 0 && var.start_s <= 7200
    error_message = "Two hours is the most that auto scaling waits."
  }
}

variable "answer_s" {
  description = "Seconds that an answer may take."
  type        = number

  validation {
    condition     = var.answer_s >= 1 && var.answer_s <= 3600
    error_message = "An hour is the most that the balancer waits."
  }
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

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/:@-]*$", var.engine_image))
    error_message = "engine_image is the name of an image."
  }
}

variable "engine_args" {
  description = "Its command and arguments; `@KEY@` stands for the key."
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
  description = "A bucket to be made for weights and results; empty: none."
  type        = string
  default     = ""

  validation {
    condition     = length(var.bucket) + length(var.standby_region) <= 62
    error_message = "The standby's bucket is called after this one and its region, with 63 characters at most."
  }
}

variable "weights_bucket" {
  description = "The bucket that weights are in, which may be `bucket`."
  type        = string
}

variable "weights_prefix" {
  description = "Where in it they are, with a `/` at the end."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._=+@/-]+/$", var.weights_prefix))
    error_message = "weights_prefix names a folder, with a / at the end: the machine may read what is in it, and nothing else."
  }
}

variable "weights_key_arn" {
  description = "The KMS key of a bucket that is not made here; empty: it has none of its own."
  type        = string
  default     = ""
}

variable "results_days" {
  description = "Days for which results of patient jobs are kept."
  type        = number
  default     = 30
}

variable "patient" {
  description = "Whether there is a queue with a worker for jobs that can wait."
  type        = bool
  default     = false

  validation {
    condition     = !var.patient || var.bucket != ""
    error_message = "Results of patient jobs need a bucket."
  }
}

variable "patient_concurrency" {
  description = "Patient jobs at once."
  type        = number
  default     = 2

  validation {
    condition     = var.patient_concurrency >= 2
    error_message = "Lambda takes 2 at least."
  }
}

variable "alarm_email" {
  description = "Who hears alarms and budgets; empty: nobody."
  type        = string
  default     = ""
}

variable "protect" {
  description = "Whether balancers refuse to be deleted; false before `terraform destroy`."
  type        = bool
  default     = true
}
