variable "bucket" {
  description = "Name of the bucket, unique in the world."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the bucket; null for S3's own keys, which cost nothing."
  type        = string
  default     = null
}

variable "keep_old_versions_days" {
  description = "How long an overwritten or deleted object can be brought back."
  type        = number

  validation {
    condition     = var.keep_old_versions_days >= 1
    error_message = "keep_old_versions_days must be at least 1."
  }
}

variable "destroy_with_contents" {
  description = "Whether `terraform destroy` may delete a bucket that still holds results."
  type        = bool
}
