variable "name" {
  description = "Name of the stack."
  type        = string
}

variable "bucket_arn" {
  description = "The bucket that holds puzzles and results."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of that bucket; null where S3's own keys are used."
  type        = string
  default     = null
}

variable "repository_arn" {
  description = "The registry's repository."
  type        = string
}

variable "session_manager" {
  description = "Whether the head may be reached through AWS Session Manager."
  type        = bool
}

variable "pods" {
  description = "Whether to make the role of KubeRay's pods."
  type        = bool
}

variable "token" {
  description = "Ray's token; written when `token_version` changes, otherwise not looked at."
  type        = string
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{32,}$", var.token))
    error_message = "token must be at least 32 letters and digits, such as `openssl rand -hex 32` prints."
  }
}

variable "token_version" {
  description = "Raise it by one for a new token; nodes take it when they start again."
  type        = number
}

variable "ci" {
  description = "The CI system that may push images: its OpenID provider and the one subject (repository and branch) that is let in."
  type = object({
    provider_arn = string
    issuer       = string
    audience     = string
    subject      = string
  })
  default = null

  validation {
    condition     = var.ci == null ? true : !can(regex("[*?]", var.ci.subject))
    error_message = "ci.subject must name one subject without wildcards, such as repo:you/eqr-ray:ref:refs/heads/main."
  }
}
