//! The same as a Terraform file for the provider `fastly/fastly`; attributes are those of its documentation of August 2026.
//!
//! Values of secrets are entered beside it: the provider has no way to do so, for they would stand in its state in clear
//! text.

use std::fmt::Write as _;

use super::{Backend, CONFIG_ITEM, CONFIG_STORE, HTTPS_PORT, KEY_STORE, Plan, SECRET_STORE};
use crate::render::safe;

/// A string of Terraform's language.
pub(in crate::cli::setup) fn string(text: &str) -> String {
    let mut out = String::from('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            '$' | '%' if rest.peek() == Some(&'{') => out.extend([c, c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

const VARIABLES: &str = r#"terraform {
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

variable "package" {
  description = "The service as `fastly compute build` leaves it: edge/pkg/throughline-edge.tar.gz"
  type        = string
}

variable "throughline_logs_url" {
  description = "Where throughline serve takes Fastly's logs, such as https://logs.example.com/v1/fastly/edge"
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/v1/fastly(/[^/]+)?$", var.throughline_logs_url))
    error_message = "Must be https://HOST/v1/fastly or https://HOST/v1/fastly/SOURCE."
  }
}

variable "throughline_ingest_token" {
  description = "Token of that source"
  type        = string
  sensitive   = true
}
"#;

const SERVICE_HEAD: &str = r#"
data "fastly_package_hash" "edge" {
  filename = var.package
}

# Fastly asks the log's host whether it takes this service's lines, so throughline serve needs, beside the source and its token,
# the id below in `services` of its table [fastly].
output "service_id" {
  value = fastly_service_compute.edge.id
}

resource "fastly_service_compute" "edge" {
  name = "throughline-edge"

  domain {
    name = var.domain
  }

  package {
    filename         = var.package
    source_code_hash = data.fastly_package_hash.edge.hash
  }
"#;

/// A Terraform file.
pub(in crate::cli::setup) fn terraform(plan: &Plan<'_>) -> String {
    let mut out = format!(
        "# Installs the configuration item {} (policy_version {}) of Throughline's edge service.\n\
         # Written after the provider's documentation, not applied to Fastly. The first apply makes the stores; enter the secrets then:\n\
         # until they are there, and the item is, the service refuses what needs them.\n\n{VARIABLES}",
        safe(plan.file),
        safe(plan.policy_version)
    );
    plan.backends.iter().for_each(|backend| variables(backend, &mut out));
    let _ = write!(
        out,
        "\nresource \"fastly_configstore\" \"edge\" {{\n  name = \"{CONFIG_STORE}\"\n}}\n\n\
         resource \"fastly_configstore_entries\" \"edge\" {{\n  store_id       = fastly_configstore.edge.id\n  \
         manage_entries = true\n  entries = {{\n    {CONFIG_ITEM} = file({})\n  }}\n}}\n\n",
        string(plan.file)
    );
    out.push_str(
        "# Its secrets are not Terraform's: they would stand in the state in clear text. For each,\n",
    );
    out.push_str(
        "# `fastly secret-store-entry create --store-id=ID --name=NAME --file=FILE --recreate-allow`:\n",
    );
    for secret in &plan.secrets {
        let _ = writeln!(out, "#   {}: {}", secret.name, safe(&secret.what));
    }
    if plan.secrets.is_empty() {
        out.push_str("#   none: the item names no secret\n");
    }
    let _ = write!(
        out,
        "resource \"fastly_secretstore\" \"edge\" {{\n  name = \"{SECRET_STORE}\"\n}}\n\n\
         output \"secret_store_id\" {{\n  value = fastly_secretstore.edge.id\n}}\n\n\
         resource \"fastly_kvstore\" \"edge\" {{\n  name = \"{KEY_STORE}\"\n}}\n"
    );
    out.push_str(SERVICE_HEAD);
    for (kind, name) in [("configstore", CONFIG_STORE), ("secretstore", SECRET_STORE), ("kvstore", KEY_STORE)]
    {
        let _ = write!(
            out,
            "\n  resource_link {{\n    name        = \"{name}\"\n    resource_id = fastly_{kind}.edge.id\n  }}\n"
        );
    }
    plan.backends.iter().for_each(|backend| write_backend(backend, &mut out));
    let _ = write!(
        out,
        "\n  logging_https {{\n    name              = {}\n    url               = var.throughline_logs_url\n    \
         method            = \"POST\"\n    content_type      = \"application/json\"\n    json_format       = \"2\"\n    \
         message_type      = \"blank\"\n    header_name       = \"Authorization\"\n    \
         header_value      = \"Bearer ${{var.throughline_ingest_token}}\"\n    compression_codec = \"zstd\"\n    \
         period            = 5\n  }}\n}}\n",
        string(plan.log_endpoint)
    );
    out
}

fn variables(Backend { id, name, place, mtls }: &Backend<'_>, out: &mut String) {
    let mut variable = |variable: &str, description: String| {
        let _ = write!(
            out,
            "\nvariable \"{variable}_{id}\" {{\n  description = {}\n  type        = string\n}}\n",
            string(&description)
        );
    };
    if place.is_none() {
        variable("host", format!("Host name of the backend {name}"));
    }
    if *mtls {
        variable(
            "client_cert",
            format!("PEM file of the certificate that the edge shows to the backend {name}"),
        );
        variable("client_key", "PEM file of its key, which will stand in Terraform's state".to_owned());
    }
}

/// Without `override_host`: the Host header is the edge's own decision.
fn write_backend(Backend { id, name, place, mtls }: &Backend<'_>, out: &mut String) {
    let (host, port) = match place {
        Some(place) => (string(&place.host), place.port),
        None => (format!("var.host_{id}"), HTTPS_PORT),
    };
    let _ = write!(
        out,
        "\n  backend {{\n    name              = {}\n    address           = {host}\n    port              = {port}\n    \
         use_ssl           = true\n    ssl_check_cert    = true\n    ssl_cert_hostname = {host}\n    \
         ssl_sni_hostname  = {host}\n",
        string(name)
    );
    if *mtls {
        let _ = write!(
            out,
            "    ssl_client_cert   = file(var.client_cert_{id})\n    ssl_client_key    = file(var.client_key_{id})\n"
        );
    }
    out.push_str("  }\n");
}
