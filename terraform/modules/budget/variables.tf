variable "name" {
  description = "Name of the stack."
  type        = string
}

variable "monthly_usd" {
  description = "The most that a month should cost, in US dollars."
  type        = number

  validation {
    condition     = var.monthly_usd > 0
    error_message = "monthly_usd must be more than 0."
  }
}

variable "emails" {
  description = "Who is told."
  type        = list(string)

  validation {
    condition     = length(var.emails) > 0 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", email))])
    error_message = "emails must name at least one address of the form you@example.org."
  }
}
