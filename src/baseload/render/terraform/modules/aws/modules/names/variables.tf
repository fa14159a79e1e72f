variable "name" {
  description = "What everything here is called."
  type        = string
}

variable "zone" {
  description = "The DNS zone, which is there already."
  type        = string
}

variable "host" {
  description = "The engine's name in it."
  type        = string
}

variable "sides" {
  description = "Balancers, by `primary` and `secondary`, each with the alarm that says that it is down, and what that watches."
  type        = map(object({ dns_name = string, zone_id = string, alarm = string, watched = string, region = string }))
}
