//! The same set-up as text: a script of Fastly's CLI, a Terraform file, the VCL, the log format. No token stands in any of them.
//!
//! Commands and flags are those in the source of Fastly's CLI 16 (August 2026), attributes those of the Terraform provider of that
//! month. `logging https update` has no `--compression-codec`.

use std::fmt::Write as _;

use super::wanted::{self, COMPUTE_CODE, PRIORITY, SETTINGS, TOKEN_VARIABLE, Wanted};
use crate::cli::setup::install::{string, word};

/// Ends a text in the script and in Terraform; no text of ours holds it (a test looks).
const END: &str = "THROUGHLINE_END";

const SCRIPT_HEAD: &str = r#"# Needs Fastly's CLI (written after the source of version 16, not run against Fastly). It clones a version, changes the clone,
# validates it and stops: to activate it is the last line's business. May be run again.
# The CLI takes the ingest token as an argument, so run this where nobody else can list processes.
set -eu
: "${SERVICE_ID:?set it to the id of the service}"
: "${FROM:=active}" # the version to start from
"#;

const SCRIPT_FUNCTIONS: &str = r#"
in_version() { # COMMAND...: in the version that is being made
    fastly "$@" --service-id="$SERVICE_ID" --version=latest
}
is_there() { # COMMAND...
    in_version "$@" >/dev/null 2>&1
}
"#;

const SCRIPT_END: &str = r#"
fastly service version validate --service-id="$SERVICE_ID" --version=latest
echo 'made and validated; to activate: fastly service version activate --service-id='"$SERVICE_ID"' --version=latest' >&2
"#;

const CLONE: &str = "\nfastly service version clone --service-id=\"$SERVICE_ID\" --version=\"$FROM\"\n";

/// A script for a POSIX shell.
pub(super) fn commands(wanted: &Wanted, is_compute: bool) -> String {
    let name = &wanted.name;
    let kind = if is_compute { "Compute" } else { "VCL" };
    let mut out = format!("# Makes a Fastly {kind} service log to {}.\n{SCRIPT_HEAD}", wanted.url);
    let _ = writeln!(out, ": \"${{{TOKEN_VARIABLE}:?set it to the token of the source}}\"");
    if !is_compute {
        out.push_str("work=$(mktemp -d)\ntrap 'rm -rf -- \"$work\"' EXIT\n");
    }
    for snippet in &wanted.snippets {
        file(&format!("{}.vcl", snippet.kind), snippet.content, &mut out);
    }
    if let Some(format) = wanted.format {
        file("log-format.json", format, &mut out);
    }
    out.push_str(SCRIPT_FUNCTIONS);
    if !wanted.snippets.is_empty() {
        let _ = write!(
            out,
            "snippet() {{ # TYPE\n    if is_there service vcl snippet describe --name=\"{name} $1\"; then\n        \
             in_version service vcl snippet update --name=\"{name} $1\" --type=\"$1\" --priority={PRIORITY} --content=\"$work/$1.vcl\"\n    \
             else\n        in_version service vcl snippet create --name=\"{name} $1\" --type=\"$1\" --priority={PRIORITY} \
             --content=\"$work/$1.vcl\"\n    fi\n}}\n"
        );
    }
    let mut flags =
        format!("--url={} --processing-region={}", word(wanted.url.as_str()), wanted.region.as_str());
    let mut codec = String::new();
    for (field, flag, _, value) in SETTINGS {
        let to = if field == "compression_codec" { &mut codec } else { &mut flags };
        let _ = write!(to, " --{flag}={value}");
    }
    if wanted.format.is_some() {
        flags.push_str(" --format-version=2 --format=\"$work/log-format.json\"");
    }
    let _ = write!(
        out,
        "log_endpoint() {{ # create|update [FLAG...]\n    doing=$1\n    shift\n    \
         in_version service logging https \"$doing\" --name={name} \\\n        {flags} \\\n        \
         --header-value=\"Bearer ${TOKEN_VARIABLE}\" \"$@\"\n}}\n{CLONE}"
    );
    for snippet in &wanted.snippets {
        let _ = writeln!(out, "snippet {}", snippet.kind);
    }
    let _ = write!(
        out,
        "if is_there service logging https describe --name={name}; then\n    log_endpoint update\nelse\n    \
         log_endpoint create{codec}\nfi\n{SCRIPT_END}"
    );
    out
}

/// A file of the script.
fn file(name: &str, content: &str, out: &mut String) {
    let _ = write!(out, "cat > \"$work/{name}\" <<'{END}'\n{}\n{END}\n", content.trim_end());
}

/// The script that takes it out again.
pub(super) fn undo(name: &str, is_compute: bool) -> String {
    let mut out = format!(
        "# Takes what `throughline setup fastly` made out of a Fastly service: objects of these names, whoever made them.\n\
         {SCRIPT_HEAD}{SCRIPT_FUNCTIONS}{CLONE}"
    );
    let mut remove = |command: &str, name: &str| {
        let _ = writeln!(
            out,
            "if is_there {command} describe --name=\"{name}\"; then in_version {command} delete --name=\"{name}\"; fi"
        );
    };
    remove("service logging https", name);
    if !is_compute {
        wanted::snippets(name).iter().for_each(|snippet| remove("service vcl snippet", &snippet.name));
    }
    out.push_str(SCRIPT_END);
    out
}

const TERRAFORM_HEAD: &str = r#"terraform {
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

variable "throughline_ingest_token" {
  description = "Token of the source that takes the lines"
  type        = string
  sensitive   = true
}

"#;

const TERRAFORM_VCL: &str = r#"variable "origin" {
  description = "Host name of the origin, https"
  type        = string
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
"#;

const TERRAFORM_COMPUTE: &str = r#"variable "package" {
  description = "What `fastly compute build` leaves: pkg/NAME.tar.gz"
  type        = string
}

data "fastly_package_hash" "site" {
  filename = var.package
}

resource "fastly_service_compute" "site" {
  name = "site"

  domain {
    name = var.domain
  }

  package {
    filename         = var.package
    source_code_hash = data.fastly_package_hash.site.hash
  }
"#;

/// A Terraform file: a whole service, whose blocks `snippet` and `logging_https` belong into the one that there is.
pub(super) fn terraform(wanted: &Wanted, is_compute: bool) -> String {
    let mut out = format!(
        "# A Fastly service that logs to Throughline. For a service that you have, take over the variable\n\
         # throughline_ingest_token and the blocks snippet and logging_https. Not applied to Fastly.\n\n{TERRAFORM_HEAD}{}",
        if is_compute { TERRAFORM_COMPUTE } else { TERRAFORM_VCL }
    );
    for snippet in &wanted.snippets {
        let _ = write!(
            out,
            "\n  snippet {{\n    name     = {}\n    type     = {}\n    priority = {PRIORITY}\n    content  = {}  }}\n",
            string(&snippet.name),
            string(snippet.kind),
            heredoc(snippet.content)
        );
    }
    let mut attributes = vec![
        ("name", string(&wanted.name)),
        ("url", string(wanted.url.as_str())),
        ("header_value", "\"Bearer ${var.throughline_ingest_token}\"".to_owned()),
        ("processing_region", string(wanted.region.as_str())),
    ];
    for (_, _, attribute, value) in SETTINGS {
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && attribute != "json_format";
        attributes.push((attribute, if is_number { value.to_owned() } else { string(value) }));
    }
    if wanted.format.is_some() {
        attributes.push(("format_version", "2".to_owned()));
    }
    out.push_str("\n  logging_https {\n");
    for (attribute, value) in &attributes {
        let _ = writeln!(out, "    {attribute:<19} = {value}");
    }
    if let Some(format) = wanted.format {
        let _ = write!(out, "    {:<19} = {}", "format", string(format));
        out.push('\n');
    }
    out.push_str("  }\n}\n");
    out
}

/// A text over several lines, in which `${` and `%{` would be Terraform's.
fn heredoc(text: &str) -> String {
    let text = text.trim_end().replace("${", "$${").replace("%{", "%%{");
    format!("<<{END}\n{text}\n{END}\n")
}

/// The snippets, one after the other.
pub(super) fn vcl(wanted: &Wanted) -> String {
    let part = |snippet: &wanted::Snippet| {
        format!(
            "# ==== {} (type {}, priority {PRIORITY})\n{}\n",
            snippet.name,
            snippet.kind,
            snippet.content.trim_end()
        )
    };
    wanted.snippets.iter().map(part).collect::<Vec<_>>().join("\n")
}

/// The log format of a VCL service; for a Compute service the code that writes the line.
pub(super) fn format(wanted: &Wanted) -> String {
    match wanted.format {
        Some(format) => format!("{format}\n"),
        None => COMPUTE_CODE.replace("\"throughline\"", &string(&wanted.name)),
    }
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
