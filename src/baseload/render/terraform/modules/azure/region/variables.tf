variable "name" {
  description = "Of everything here: installation, environment, and `-standby` in the second region."
  type        = string
}

variable "region" {
  description = "Azure's name of the region, such as `eastus`."
  type        = string
}

variable "tags" {
  description = "On everything that takes tags."
  type        = map(string)
}

variable "network" {
  description = "Addresses of the network, a /16."
  type        = string
}

variable "callers" {
  description = "Networks from which the engine may be called."
  type        = list(string)
}

variable "public" {
  description = "Whether the balancer has a public address, with TLS, for a name that is checked."
  type        = bool
}

variable "instance" {
  description = "The machines' size."
  type        = string
}

variable "image" {
  description = "The machines' image; empty: Ubuntu HPC, with drivers and Docker."
  type        = string
}

variable "ssh_public_key" {
  description = "Of whoever may log in from inside; there are no passwords."
  type        = string
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

variable "disk_gb" {
  description = "The data disk that holds weights."
  type        = number
}

variable "scaling" {
  description = "`target`: by how busy engines say they are; `cpu`: the article's steps."
  type        = string
}

variable "engine" {
  description = "The model server: what runs, where it listens, how long it takes."

  type = object({
    name        = string
    image       = string
    args        = list(string)
    environment = map(string)
    port        = number
    sequences   = number
    load_wanted = number
    start_s     = number
    answer_s    = number
  })
}

variable "account" {
  description = "The storage account to be made."
  type        = string
}

variable "vault" {
  description = "The key vault to be made."
  type        = string
}

variable "weights" {
  description = "The container that is made for weights, and the folder in it; empty: not from there."

  type = object({
    container = string
    path      = string
  })
}

variable "alarms" {
  description = "The action groups that hear alarms; none: nobody hears them."
  type        = list(string)
}
