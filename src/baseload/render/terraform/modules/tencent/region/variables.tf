variable "name" {
  description = "Of everything here: installation, environment, and `-standby` in the second region."
  type        = string
}

variable "region" {
  description = "Where it is."
  type        = string
}

variable "zones" {
  description = "Availability zones that have such machines."
  type        = list(string)
}

variable "tags" {
  description = "On everything that takes tags."
  type        = map(string)
}

variable "cidr" {
  description = "Addresses of the VPC: a /16."
  type        = string
}

variable "callers" {
  description = "Address ranges that may call."
  type        = list(string)
}

variable "public" {
  description = "Whether there is a balancer outside too."
  type        = bool
}

variable "certificate_id" {
  description = "The certificate of the balancer outside."
  type        = string
}

variable "instance_types" {
  description = "Machines that will do, the best first."
  type        = list(string)
}

variable "image" {
  description = "The machines' image, of this region."
  type        = string
}

variable "disk_snapshot" {
  description = "An encrypted, empty snapshot of which data disks are made; empty: none."
  type        = string
}

variable "ssh_public_key" {
  description = "Of whoever may log in from inside."
  type        = string
}

variable "data_volume_gb" {
  description = "Size of the data disk."
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

variable "spot_max_hour" {
  description = "The most that is paid for a spot machine an hour."
  type        = string
}

variable "scaling" {
  description = "`target` or `cpu`."
  type        = string
}

variable "out_mbps" {
  description = "Traffic out of one machine that scaling holds."
  type        = number
}

variable "engine" {
  description = "The model server: what runs, where it listens, how long it takes."

  type = object({
    name        = string
    image       = string
    args        = list(string)
    environment = map(string)
    port        = number
    start_s     = number
    answer_s    = number
  })
}

variable "weights" {
  description = "Where weights are: bucket, its region, and the folder; no bucket: the engine fetches them itself."

  type = object({
    bucket = string
    region = string
    prefix = string
  })
}

variable "account" {
  description = "The account's numbers."
  type        = object({ app_id = string, uin = string })
}

variable "alarm_users" {
  description = "Ids of the CAM users who hear alarms; none: nobody."
  type        = list(number)
}
