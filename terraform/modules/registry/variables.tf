variable "name" {
  description = "Name of the repository."
  type        = string
}

variable "keep_images" {
  description = "How many images to keep; each is billed by its size."
  type        = number
  default     = 6
}
