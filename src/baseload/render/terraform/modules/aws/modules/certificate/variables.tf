variable "zone" {
  description = "The DNS zone, which is there already."
  type        = string
}

variable "host" {
  description = "The engine's name in it."
  type        = string
}
