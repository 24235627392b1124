variable "name" {
  description = "Name of the stack and of the Kubernetes cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes version; EKS charges more for versions that are out of standard support."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "api_cidrs" {
  description = "Networks that may reach the Kubernetes API from outside; empty: only from inside the network."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 24, false)])
    error_message = "api_cidrs must be named networks no wider than a /24, such as 203.0.113.7/32; never 0.0.0.0/0."
  }
}

variable "namespace" {
  description = "Namespace of the Ray pods."
  type        = string
}

variable "service_account" {
  description = "Service account of the Ray pods."
  type        = string
}

variable "pods_role_arn" {
  description = "Role of the Ray pods."
  type        = string
}
