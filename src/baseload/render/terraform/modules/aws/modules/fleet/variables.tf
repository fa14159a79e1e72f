variable "name" {
  description = "What everything here is called."
  type        = string
}

variable "tags" {
  description = "Tags of machines and disks; the provider does not tag these by itself."
  type        = map(string)
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
  description = "Private subnets for the balancer."
  type        = list(string)
}

variable "machine_subnet_ids" {
  description = "Private subnets for machines."
  type        = list(string)
}

variable "callers" {
  description = "Address ranges that may call."
  type        = list(string)
}

variable "certificate_arn" {
  description = "The certificate, of this region."
  type        = string
}

variable "image" {
  description = "The AMI."
  type        = string
}

variable "root_device" {
  description = "What the AMI calls its root disk."
  type        = string
}

variable "instance_types" {
  description = "Machines that will do, the best first."
  type        = list(string)
}

variable "data_volume_gb" {
  description = "Size of the data volume."
  type        = number
}

variable "replicas" {
  description = "Machines at least."
  type        = number
}

variable "replicas_max" {
  description = "Machines at most."
  type        = number
}

variable "spot" {
  description = "Whether machines above the floor are spot."
  type        = bool
}

variable "floor" {
  description = "Machines that are always on demand."
  type        = number
}

variable "spot_max_usd_hour" {
  description = "The most that is paid for a spot machine; null: the price on demand."
  type        = number
}

variable "scaling" {
  description = "`target` or `cpu`."
  type        = string
}

variable "in_flight_target" {
  description = "Calls in flight that one machine is to have."
  type        = number
}

variable "start_s" {
  description = "Seconds until a machine that was started can answer."
  type        = number
}

variable "answer_s" {
  description = "Seconds that an answer may take."
  type        = number
}

variable "port" {
  description = "Where the engine listens."
  type        = number
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
  description = "Its command and arguments; `@KEY@` stands for the key."
  type        = list(string)
}

variable "engine_environment" {
  description = "Variables of its container; no secrets."
  type        = map(string)
}

variable "weights_bucket" {
  description = "The bucket that weights are in."
  type        = string
}

variable "weights_prefix" {
  description = "Where in it they are, with a `/` at the end."
  type        = string
}

variable "weights_key_arn" {
  description = "The KMS key of that bucket, of whatever region; empty: `key_arn`, or none."
  type        = string
}

variable "key_secret" {
  description = "Name of the secret that holds the engine's key."
  type        = string
}

variable "alarm_email" {
  description = "Who hears alarms; empty: nobody."
  type        = string
}

variable "protect" {
  description = "Whether the balancer refuses to be deleted."
  type        = bool
}
