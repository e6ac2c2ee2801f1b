# The VCL twin of the edge's stamp, as a Fastly service. Names of the snippets' files are their types.

terraform {
  required_version = ">= 1.3"
  required_providers {
    fastly = {
      source = "fastly/fastly"
    }
  }
}

variable "domain" {
  description = "Host name that the service answers"
  type        = string
}

variable "origin" {
  description = "Host name of the origin, https"
  type        = string
}

variable "throughline_url" {
  description = "Where Throughline takes Fastly's logs, such as https://logs.example.com/v1/fastly/site"
  type        = string
}

variable "throughline_ingest_token" {
  description = "Token of that source"
  type        = string
  sensitive   = true
}

variable "processing_region" {
  description = "Where Fastly may work on the lines before it sends them: none (anywhere), us or eu"
  type        = string
  default     = "none"
}

resource "fastly_service_vcl" "site" {
  name = "site"

  domain {
    name = var.domain
  }

  backend {
    name              = "origin"
    address           = var.origin
    port              = 443
    use_ssl           = true
    ssl_check_cert    = true
    ssl_cert_hostname = var.origin
    ssl_sni_hostname  = var.origin
    override_host     = var.origin
  }

  dynamic "snippet" {
    for_each = toset(["init", "recv", "miss", "pass", "fetch", "deliver"])
    content {
      name     = "throughline ${snippet.value}"
      type     = snippet.value
      priority = 5
      content  = file("${path.module}/${snippet.value}.vcl")
    }
  }

  logging_https {
    name                = "throughline"
    url                 = var.throughline_url
    method              = "POST"
    content_type        = "application/json"
    json_format         = "2"
    message_type        = "blank"
    header_name         = "Authorization"
    header_value        = "Bearer ${var.throughline_ingest_token}"
    compression_codec   = "zstd"
    period              = 5
    request_max_entries = 5000
    request_max_bytes   = 4000000
    processing_region   = var.processing_region
    format_version      = 2
    # Read from its file, % needs no doubling here.
    format = trimspace(file("${path.module}/log-format.json"))
  }
}
