variable "name" {
  description = "Name of the stack: every name in it starts with this, and the Ray and Kubernetes clusters bear it."
  type        = string
  default     = "eqr-ray"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 25 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  description = "AWS region, such as us-east-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region such as us-east-1."
  }
}

variable "awake" {
  description = "false removes what is billed by the hour (NAT gateway) and keeps results, images and roles."
  type        = bool
  default     = true
}

variable "ssh_public_key" {
  description = "Public half of the key for `ray up`; null to build no EC2 cluster parts."
  type        = string
  default     = null
}

variable "ssh_cidrs" {
  description = "Networks that SSH is let in from; empty: nobody, and `ray up` goes through AWS Session Manager."
  type        = list(string)
  default     = []
}

variable "eks" {
  description = "Whether to build a Kubernetes cluster (billed by the hour)."
  type        = bool
  default     = false
}

variable "api_cidrs" {
  description = "Networks that may reach the Kubernetes API; empty: only from inside the network."
  type        = list(string)
  default     = []
}

variable "kubernetes_version" {
  description = "Kubernetes version of EKS."
  type        = string
  default     = "1.33"
}

variable "budget_emails" {
  description = "Who is told when the month's bill nears `budget_usd`; empty: no alarm."
  type        = list(string)
  default     = []
}

variable "budget_usd" {
  description = "The most that a month of the account should cost, in US dollars."
  type        = number
  default     = 100
}

variable "head_type" {
  description = "Instance type of the head: it runs no puzzles."
  type        = string
  default     = "m7i.large"
}

variable "worker_types" {
  description = "Instance types with one GPU and four virtual CPUs; each is tried as spot first, then on demand."
  type        = list(string)
  default     = ["g6.xlarge", "g5.xlarge", "g6e.xlarge"]

  validation {
    condition     = length(var.worker_types) > 0 && alltrue([for type in var.worker_types : can(regex("^g[a-z0-9]+\\.xlarge$", type))])
    error_message = "worker_types must be instance types of one GPU and 4 virtual CPUs, such as g6.xlarge: Ray prefers spot only among equals."
  }
}

variable "max_workers" {
  description = "The most workers at a time."
  type        = number
  default     = 8

  validation {
    condition     = var.max_workers >= 1 && floor(var.max_workers) == var.max_workers
    error_message = "max_workers must be a whole number from 1 up."
  }
}

variable "idle_minutes" {
  description = "How long a worker may be idle before it is ended."
  type        = number
  default     = 5
}

variable "zones" {
  description = "How many availability zones to use; more zones find more spot machines."
  type        = number
  default     = 3
}

variable "cidr" {
  description = "Private address range of the network."
  type        = string
  default     = "10.42.0.0/16"
}

variable "image_id" {
  description = "Machine image of the nodes; null for AWS's newest deep-learning base image at each apply."
  type        = string
  default     = null
}

variable "warm_tag" {
  description = "Tag of the pushed container to bake into a machine image, so that new nodes pull nothing; null for none."
  type        = string
  default     = null
}

variable "bucket" {
  description = "Name of the bucket; null for one made of name, account and region."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "KMS key for the bucket; null for S3's own keys."
  type        = string
  default     = null
}

variable "keep_old_versions_days" {
  description = "How long an overwritten or deleted result can be brought back."
  type        = number
  default     = 30
}

variable "destroy_results" {
  description = "Whether `terraform destroy` may delete results; false keeps a bucket that is not empty."
  type        = bool
  default     = false
}

variable "ray_token" {
  description = "Ray's token, given as TF_VAR_ray_token and never in a file; kept by AWS when `token_version` changes, else not looked at."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "token_version" {
  description = "Raise it by one to replace Ray's token by the given one."
  type        = number
  default     = 1
}

variable "ci" {
  description = "CI that may push images by OpenID: provider's ARN, issuer, audience, and the one subject; null for none."
  type = object({
    provider_arn = string
    issuer       = string
    audience     = string
    subject      = string
  })
  default = null
}

variable "tags" {
  description = "More tags for everything."
  type        = map(string)
  default     = {}
}
