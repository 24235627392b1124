variable "name" {
  description = "Name of the stack and of the Ray cluster."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "account_id" {
  description = "AWS account."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_arns" {
  description = "Subnets that workers may be started in."
  type        = list(string)
}

variable "image_id" {
  description = "Machine image: Ubuntu with Docker, the NVIDIA driver and its container toolkit."
  type        = string
}

variable "warm_container" {
  description = "Container image, with its tag, to put into a machine image of one's own; null to pull it on every new node."
  type        = string
  default     = null
}

variable "repository_arn" {
  description = "Repository of that container."
  type        = string
}

variable "builder_subnet_id" {
  description = "Subnet in which the machine image is made."
  type        = string
}

variable "root_device" {
  description = "Device name of the image's root disk."
  type        = string
  default     = "/dev/sda1"
}

variable "head_disk_gb" {
  description = "Disk of the head."
  type        = number
  default     = 80
}

variable "worker_disk_gb" {
  description = "Disk of a worker; the GPU image takes about 15 GB unpacked, the machine image about 50 GB."
  type        = number
  default     = 100
}

variable "ssh_public_key" {
  description = "Public half of the key that `ray up` and the head log in with."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) [A-Za-z0-9+/]+=*( .*)?$", var.ssh_public_key))
    error_message = "ssh_public_key must be a public key in one line, such as the content of ~/.ssh/eqr-ray.pub."
  }
}

variable "ssh_cidrs" {
  description = "Networks that SSH is let in from (a VPN's or a peered network's); empty: nobody, AWS Session Manager is used."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 24, false)])
    error_message = "ssh_cidrs must be named networks no wider than a /24, such as 203.0.113.7/32; never 0.0.0.0/0."
  }
}

variable "head_role_name" {
  description = "Role of the head, which gets the permission to launch workers."
  type        = string
}

variable "worker_role_arn" {
  description = "Role that the head may hand to workers."
  type        = string
}

variable "head_profile_arn" {
  description = "Instance profile of the head."
  type        = string
}

variable "worker_profile_arn" {
  description = "Instance profile of the workers."
  type        = string
}

variable "tags" {
  description = "Tags of nodes and their disks."
  type        = map(string)
}
