variable "name" {
  description = "Name of the stack, the first part of every name in it."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "cidr" {
  description = "Private address range of the network, a /16."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16") && can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.)", var.cidr))
    error_message = "cidr must be a private IPv4 range of size /16, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones with one private subnet each; more zones find more spot machines."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 8 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must name 2 to 8 different availability zones."
  }
}

variable "awake" {
  description = "Whether nodes can reach the outside; false removes what is billed by the hour."
  type        = bool
}
