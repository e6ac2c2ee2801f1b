//! The commands, as a script for a POSIX shell.
//!
//! Names and flags are those in the source of Fastly's CLI 16.0.0. Values of the item go to the CLI as `--flag=VALUE`,
//! for its parser takes a word of its own that begins with `-` for a flag. Two of its habits shape the script: `backend
//! create` reads `--use-ssl` for the default port and nothing else, while `backend update` sets it; and `logging https
//! update` has no `--compression-codec`.

use std::fmt::Write as _;

use super::{Backend, CONFIG_ITEM, CONFIG_STORE, HTTPS_PORT, KEY_STORE, Plan, SECRET_STORE};
use crate::render::safe;

/// A word for a POSIX shell.
pub(in crate::cli::setup) fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

const HEAD: &str = r#"# Needs Fastly's CLI (written after the source of 16.0.0, not run against Fastly), jq, and a Compute service:
#   fastly service create --type=wasm --name=throughline-edge
#   cd edge && fastly compute build        # leaves pkg/throughline-edge.tar.gz
# The CLI takes the ingest token and a client key as arguments, so run this where nobody else can list processes.
# May be run again: what is there is found again and set anew. What is set in a version takes effect with its activation, the
# secrets and the item at once.
set -eu
: "${SERVICE_ID:?set it to the id of the Compute service}"
: "${THROUGHLINE_LOGS_URL:?set it to https://HOST/v1/fastly/SOURCE of throughline serve}"
: "${THROUGHLINE_INGEST_TOKEN:?set it to the token of that source}"
: "${PACKAGE:=}" # path of throughline-edge.tar.gz; empty: the service keeps the one that it has
: "${DOMAIN:=}"  # host name to answer; empty: the service keeps those that it has
"#;

const FUNCTIONS: &str = r#"case "$THROUGHLINE_LOGS_URL" in
    https://?*/v1/fastly | https://?*/v1/fastly/?*) ;;
    *) echo "THROUGHLINE_LOGS_URL must be https://HOST/v1/fastly or https://HOST/v1/fastly/SOURCE" >&2; exit 1 ;;
esac

store() { # KIND NAME: prints the id of the store, which is made if it is not there
    id=$(fastly "$1" list --json | jq -r --arg name "$2" '[.. | objects | select((.name // .Name) == $name) | .id // .StoreID // .ID] | first // empty')
    [ -n "$id" ] || id=$(fastly "$1" create --name="$2" --json | jq -r '.id // .StoreID // .ID // empty')
    [ -n "$id" ] || { echo "no id of the $1 $2" >&2; return 1; }
    printf '%s\n' "$id"
}

secret() { # NAME: from NAME.secret; without such a file it must be in the store already
    if [ -f "./$1.secret" ]; then
        fastly secret-store-entry create --store-id="$secret_store" --name="$1" --file="./$1.secret" --recreate-allow
    elif ! fastly secret-store-entry describe --store-id="$secret_store" --name="$1" >/dev/null; then
        echo "secret $1: make $1.secret here, run this again, then delete the file" >&2
        return 1
    fi
}

in_version() { # COMMAND...: in the version that is being made
    fastly "$@" --service-id="$SERVICE_ID" --version=latest --autoclone
}

link() { # ID NAME: makes a store visible to the service
    fastly service resource-link list --service-id="$SERVICE_ID" --version=latest --json |
        jq -e --arg name "$2" '[.. | objects | select((.name // .Name) == $name)] | length > 0' >/dev/null ||
        in_version service resource-link create --resource-id="$1" --name="$2"
}

backend() { # NAME HOST PORT [FLAG...]: no --override-host, for the Host header is the edge's own decision
    name=$1 host=$2 port=$3
    shift 3
    fastly service backend describe --service-id="$SERVICE_ID" --version=latest --name="$name" >/dev/null 2>&1 ||
        in_version service backend create --name="$name" --address="$host" --port="$port" \
            --ssl-cert-hostname="$host" --ssl-sni-hostname="$host"
    # `create` does not pass --use-ssl on; `update` does.
    in_version service backend update --name="$name" --address="$host" --port="$port" --use-ssl \
        --ssl-cert-hostname="$host" --ssl-sni-hostname="$host" "$@"
}

log_endpoint() { # NAME
    if fastly service logging https describe --service-id="$SERVICE_ID" --version=latest --name="$1" >/dev/null 2>&1; then
        in_version service logging https update --name="$1" --url="$THROUGHLINE_LOGS_URL" --method=POST \
            --content-type=application/json --json-format=2 --message-type=blank --period=5 \
            --header-name=Authorization --header-value="Bearer $THROUGHLINE_INGEST_TOKEN"
    else
        in_version service logging https create --name="$1" --url="$THROUGHLINE_LOGS_URL" --method=POST \
            --content-type=application/json --json-format=2 --message-type=blank --period=5 --compression-codec=zstd \
            --header-name=Authorization --header-value="Bearer $THROUGHLINE_INGEST_TOKEN"
    fi
}
"#;

const VERSION_HEAD: &str = r#"
# The version.
[ -z "$PACKAGE" ] || in_version compute update --package="$PACKAGE"
if [ -n "$DOMAIN" ]; then
    fastly service domain describe --service-id="$SERVICE_ID" --version=latest --name="$DOMAIN" >/dev/null 2>&1 ||
        in_version service domain create --name="$DOMAIN"
fi
"#;

const LOG_HEAD: &str = r#"
# Fastly asks the log's host whether it takes this service's lines, so throughline serve needs, beside the source and its token:
#   [fastly]
#   services = "SERVICE_ID"
"#;

/// A script, to be read before it is run.
pub(in crate::cli::setup) fn commands(plan: &Plan<'_>) -> String {
    let mut out = format!(
        "# Installs the configuration item {} (policy_version {}) of Throughline's edge service.\n{HEAD}",
        safe(plan.file),
        safe(plan.policy_version)
    );
    for Backend { id, name, place, mtls } in &plan.backends {
        let shown = comment_in_expansion(name);
        if place.is_none() {
            let _ = writeln!(out, ": \"${{host_{id}:?set it to the host name of the backend {shown}}}\"");
        }
        if *mtls {
            let _ = writeln!(
                out,
                ": \"${{client_cert_{id}:?set it to the PEM file of the certificate for the backend {shown}}}\"\n\
                 : \"${{client_key_{id}:?set it to the PEM file of its key}}\""
            );
        }
    }
    out.push_str(FUNCTIONS);
    stores_and_secrets(plan, &mut out);
    out.push_str(VERSION_HEAD);
    for (variable, name) in
        [("config_store", CONFIG_STORE), ("secret_store", SECRET_STORE), ("key_store", KEY_STORE)]
    {
        let _ = writeln!(out, "link \"${variable}\" {name}");
    }
    plan.backends.iter().for_each(|backend| write_backend(backend, &mut out));
    let _ = writeln!(out, "{LOG_HEAD}log_endpoint {}", word(plan.log_endpoint));
    out.push_str("fastly service version activate --service-id=\"$SERVICE_ID\" --version=latest\n");
    let _ = writeln!(
        out,
        "\n# The item, last: it may name what only the new version has. For a change of the item alone this line is enough,\n\
         # with config_store set to the store's id.\n\
         fastly config-store-entry update --upsert --store-id=\"$config_store\" --key={CONFIG_ITEM} --stdin < {}",
        word(plan.file)
    );
    out
}

fn stores_and_secrets(plan: &Plan<'_>, out: &mut String) {
    out.push_str(
        "\n# The stores. Set a variable to the store's id where the CLI's list is too long to hold it.\n",
    );
    for (variable, kind, name) in [
        ("config_store", "config-store", CONFIG_STORE),
        ("secret_store", "secret-store", SECRET_STORE),
        ("key_store", "kv-store", KEY_STORE),
    ] {
        let _ = writeln!(out, "[ -n \"${{{variable}:-}}\" ] || {variable}=$(store {kind} {name})");
    }
    out.push_str("\n# The secrets.\n");
    for secret in &plan.secrets {
        let _ = writeln!(out, "# {}", safe(&secret.what));
        if let Some(make) = secret.make {
            let _ = writeln!(out, "#   {make} > {}.secret", secret.name);
        }
        let _ = writeln!(out, "secret {}", word(secret.name));
    }
    if plan.secrets.is_empty() {
        out.push_str("# The item names none.\n");
    }
}

fn write_backend(Backend { id, name, place, mtls }: &Backend<'_>, out: &mut String) {
    let (host, port) = match place {
        Some(place) => (word(&place.host), place.port),
        None => (format!("\"$host_{id}\""), HTTPS_PORT),
    };
    if *mtls {
        // By assignment first: a file that cannot be read then ends the script.
        let _ = writeln!(
            out,
            "cert=$(cat -- \"$client_cert_{id}\") key=$(cat -- \"$client_key_{id}\")\n\
             backend {} {host} {port} --ssl-client-cert=\"$cert\" --ssl-client-key=\"$key\"",
            word(name)
        );
    } else {
        let _ = writeln!(out, "backend {} {host} {port}", word(name));
    }
}

/// A name for reading inside `${VARIABLE:?...}`, where quotes, braces, `$` and backticks would have a meaning.
fn comment_in_expansion(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@ ".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}
