variable "name" {
  description = "What everything here is called."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC: a /16."
  type        = string
}

variable "instance_types" {
  description = "The machines that are wanted; zones that have them come first."
  type        = list(string)
}

variable "key_arn" {
  description = "The region's key."
  type        = string
}

variable "zones" {
  description = "Zones to be in; empty: three, those first that have the wanted machines."
  type        = list(string)
}
