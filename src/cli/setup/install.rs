//! The commands and the Terraform that install an edge configuration: stores, backends, log endpoint.
//!
//! Names of stores and of the item are the edge service's own. Commands are those of Fastly's CLI 16.1; Terraform is for the
//! provider fastly/fastly.

use std::fmt::Write as _;

use ::edge::Config;

/// What the service opens.
const CONFIG_STORE: &str = "edge_config";
const CONFIG_ITEM: &str = "config";
const SECRET_STORE: &str = "edge_secrets";
const KEY_STORE: &str = "edge_keys";

/// A word for a POSIX shell.
fn shell(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string of Terraform's language.
fn hcl(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}

/// A name in Terraform's language.
fn hcl_name(text: &str) -> String {
    let mapped = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let name: String = mapped.collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("b_{name}") }
}

/// Host that a backend is asked under, where the item says it: providers; origins are the operator's to name.
fn known_host<'a>(config: &'a Config, backend: &str) -> Option<&'a str> {
    let login = config.login.iter().filter(|login| login.token_endpoint.backend == backend);
    let hosts = config
        .issuers
        .iter()
        .filter(|issuer| issuer.jwks.backend == backend)
        .map(|issuer| issuer.jwks_host());
    hosts.chain(login.filter_map(|login| login.token_endpoint.host.as_deref())).find(|host| !host.is_empty())
}

/// A script for a POSIX shell, to be read before it is run.
pub(super) fn commands(config: &Config, file: &str) -> String {
    let mut out = String::new();
    let file = if file == "-" { "edge.json".to_owned() } else { shell(file) };
    let _ = writeln!(
        out,
        "# Fastly CLI 16 and jq. Set SERVICE_ID (from `fastly compute publish` in edge/), then run this once; for a later change of\n\
         # the item alone, the line marked (*) is enough.\n\
         set -eu\n\
         : \"${{SERVICE_ID:?}}\"\n"
    );
    for (variable, command, name) in [
        ("CONFIG_STORE", "config-store", CONFIG_STORE),
        ("SECRET_STORE", "secret-store", SECRET_STORE),
        ("KEY_STORE", "kv-store", KEY_STORE),
    ] {
        let _ = writeln!(
            out,
            "{variable}=$(fastly {command} create --name {name} --json | jq -r '.id // .StoreID')"
        );
    }
    let _ = writeln!(
        out,
        "fastly config-store-entry update --upsert --store-id \"$CONFIG_STORE\" --key {CONFIG_ITEM} --stdin < {file} # (*)"
    );
    for secret in config.secrets() {
        let _ = writeln!(
            out,
            "fastly secret-store-entry create --store-id \"$SECRET_STORE\" --name {0} --file {0}.secret # you make this file",
            shell(secret)
        );
    }
    for (variable, name) in
        [("CONFIG_STORE", CONFIG_STORE), ("SECRET_STORE", SECRET_STORE), ("KEY_STORE", KEY_STORE)]
    {
        let _ = writeln!(
            out,
            "fastly service resource-link create --service-id \"$SERVICE_ID\" --version latest --autoclone --resource-id \"${variable}\" --name {name}"
        );
    }
    for backend in config.backends() {
        let host = known_host(config, backend)
            .map_or_else(|| format!("{}.ORIGIN.example", hcl_name(backend)), str::to_owned);
        let host = shell(&host);
        let _ = writeln!(
            out,
            "fastly service backend create --service-id \"$SERVICE_ID\" --version latest --autoclone --name {} --address {host} --port 443 \\\n  \
             --use-ssl --ssl-check-cert --ssl-cert-hostname {host} --ssl-sni-hostname {host} --override-host {host}",
            shell(backend)
        );
    }
    let _ = writeln!(
        out,
        ": \"${{THROUGHLINE_URL:?}}\" \"${{THROUGHLINE_INGEST_TOKEN:?}}\" # https://logs.example.com/v1/fastly/edge, and its source's token\n\
         fastly service logging https create --service-id \"$SERVICE_ID\" --version latest --autoclone --name {} \\\n  \
         --url \"$THROUGHLINE_URL\" --method POST --content-type application/json --json-format 2 --message-type blank \\\n  \
         --header-name Authorization --header-value \"Bearer $THROUGHLINE_INGEST_TOKEN\" --compression-codec zstd --period 5\n\
         fastly service version activate --service-id \"$SERVICE_ID\" --version latest",
        shell(config.log_endpoint())
    );
    out
}

/// A Terraform file. Secrets are entered beside it: they would stand in its state in clear text.
pub(super) fn terraform(config: &Config, file: &str) -> String {
    let mut out = String::new();
    let file = if file == "-" { "edge.json" } else { file };
    out.push_str(
        "terraform {\n  required_providers {\n    fastly = {\n      source = \"fastly/fastly\"\n    }\n  }\n}\n\n\
         variable \"domain\" {\n  type = string\n}\n\n\
         variable \"package\" {\n  type        = string\n  description = \"The edge service as fastly compute build leaves it: edge/pkg/throughline-edge.tar.gz\"\n}\n\n\
         variable \"throughline_url\" {\n  type        = string\n  description = \"https://logs.example.com/v1/fastly/edge\"\n}\n\n\
         variable \"throughline_ingest_token\" {\n  type      = string\n  sensitive = true\n}\n\n",
    );
    let _ = writeln!(out, "resource \"fastly_configstore\" \"edge\" {{\n  name = \"{CONFIG_STORE}\"\n}}\n");
    let _ = writeln!(
        out,
        "resource \"fastly_configstore_entries\" \"edge\" {{\n  store_id       = fastly_configstore.edge.id\n  manage_entries = true\n  \
         entries = {{\n    {CONFIG_ITEM} = file({})\n  }}\n}}\n",
        hcl(file)
    );
    let secrets: Vec<&str> = config.secrets().into_iter().collect();
    let _ = writeln!(
        out,
        "# Enter by `fastly secret-store-entry create`, so that they stay out of Terraform's state: {}\n\
         resource \"fastly_secretstore\" \"edge\" {{\n  name = \"{SECRET_STORE}\"\n}}\n",
        if secrets.is_empty() { "none".to_owned() } else { secrets.join(", ") }
    );
    let _ = writeln!(out, "resource \"fastly_kvstore\" \"edge\" {{\n  name = \"{KEY_STORE}\"\n}}\n");
    for backend in config.backends().into_iter().filter(|backend| known_host(config, backend).is_none()) {
        let _ = writeln!(
            out,
            "variable \"host_{}\" {{\n  type        = string\n  description = {}\n}}\n",
            hcl_name(backend),
            hcl(&format!("Host of the backend {backend}"))
        );
    }
    out.push_str(
        "resource \"fastly_service_compute\" \"edge\" {\n  name = \"throughline-edge\"\n\n  domain {\n    name = var.domain\n  }\n\n  \
         package {\n    filename         = var.package\n    source_code_hash = filesha512(var.package)\n  }\n",
    );
    for (kind, name) in [("configstore", CONFIG_STORE), ("secretstore", SECRET_STORE), ("kvstore", KEY_STORE)]
    {
        let _ = write!(
            out,
            "\n  resource_link {{\n    name        = \"{name}\"\n    resource_id = fastly_{kind}.edge.id\n  }}\n"
        );
    }
    for backend in config.backends() {
        let host = known_host(config, backend).map_or_else(|| format!("var.host_{}", hcl_name(backend)), hcl);
        let _ = write!(
            out,
            "\n  backend {{\n    name              = {}\n    address           = {host}\n    port              = 443\n    use_ssl           = true\n    \
             ssl_check_cert    = true\n    ssl_cert_hostname = {host}\n    ssl_sni_hostname  = {host}\n    override_host     = {host}\n  }}\n",
            hcl(backend)
        );
    }
    let _ = write!(
        out,
        "\n  logging_https {{\n    name              = {}\n    url               = var.throughline_url\n    method            = \"POST\"\n    \
         content_type      = \"application/json\"\n    json_format       = \"2\"\n    message_type      = \"blank\"\n    \
         header_name       = \"Authorization\"\n    header_value      = \"Bearer ${{var.throughline_ingest_token}}\"\n    \
         compression_codec = \"zstd\"\n    period            = 5\n  }}\n}}\n",
        hcl(config.log_endpoint())
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"version":1,"policy_version":"p1","log_endpoint":"edge-logs",
        "issuers":[{"name":"main","preset":"auth0","iss":"https://shop.eu.auth0.com/","jwks":{"backend":"idp"},
            "audiences":["https://api.example.com"]}],
        "edge_token":{"issuer":"https://edge.example.com","audience":"mesh","keys":[{"kid":"k1","secret":"edge_key_1"}]},
        "routes":[{"name":"all","action":{"forward":{"backend":"it's origin"}}}]}"#;

    #[test]
    fn commands_name_everything_that_the_item_names() {
        let config = Config::parse(&ITEM.replace("it's origin", "mesh")).unwrap();
        let script = commands(&config, "my item.json");
        for part in [
            "--key config --stdin < 'my item.json'",
            "--name edge_key_1 --file edge_key_1.secret",
            "--name idp --address shop.eu.auth0.com",
            "--name mesh --address mesh.ORIGIN.example",
            "--name edge-logs",
        ] {
            assert!(script.contains(part), "{part} is not in\n{script}");
        }
    }

    #[test]
    fn terraform_names_everything_that_the_item_names() {
        let config = Config::parse(&ITEM.replace("it's origin", "mesh")).unwrap();
        let text = terraform(&config, "a\"${b}.json");
        for part in [
            "config = file(\"a\\\"$${b}.json\")",
            "edge_key_1",
            "\"shop.eu.auth0.com\"",
            "variable \"host_mesh\"",
            "= var.host_mesh",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell("$(reboot)"), "'$(reboot)'");
        assert_eq!(shell("plain-name_1"), "plain-name_1");
    }
}
