//! `throughline setup`: what others must be told so that all of it joins, checked, then printed or, on request, applied.
//!
//! `edge` and `idp` judge by the edge service's own parser and verifier, which are linked in. Only `fastly --apply --yes` and `grafana --yes`
//! change anything anywhere.

mod edge;
mod envoy;
mod fastly;
mod grafana;
mod idp;
mod install;
mod istio;
mod mesh;
mod rest;
mod review;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;

/// Exit code for something that was refused.
const REJECTED: u8 = 1;
/// Far above what a config store takes (8,000 characters) and what any token has.
const INPUT_MOST_BYTES: u64 = 1 << 20;

/// Set up what sends, checks and shows.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a Fastly service log to Throughline, with ids and timings: print how, or do it by Fastly's API
    ///
    /// Prints a script, a Terraform file, the VCL or the log format. With --apply it compares with the service: a dry run, which
    /// shows the difference; with --yes it makes the difference in a clone of the active version, with --activate it activates
    /// the clone. --undo takes it out again. Exit code 0: done, or nothing to do. 1: refused, and nothing is activated. 2: an error.
    #[command(after_long_help = FASTLY_EXAMPLES)]
    Fastly(fastly::Arguments),
    /// Give a Grafana the data sources and the boards, by its API
    ///
    /// Compares first and shows the difference; --yes makes it, --undo takes it out again. What is provisioned from files, or
    /// somebody else's, stays as it is. Exit code 0: done, or nothing to do. 1: refused, or a data source does not work. 2: an error.
    #[command(after_long_help = GRAFANA_EXAMPLES)]
    Grafana(grafana::Arguments),
    /// Check a configuration item of the edge service and print the commands, or the Terraform, that install it
    ///
    /// Exit code 0: the item is good, and the way to install it is on standard output. 1: it is not; what is wrong stands on
    /// standard error with its place, and nothing on standard output. Nothing is changed anywhere.
    #[command(after_long_help = EDGE_EXAMPLES)]
    Edge(edge::Arguments),
    /// Look at an identity provider and print the issuer block for it; with --token, test one of its tokens
    ///
    /// Fetches the provider's discovery document and its keys, and holds them against what the edge service can check. Exit
    /// code 0: the edge can work with it (and takes the token), and the block for `issuers` of the configuration item is on
    /// standard output. 1: it cannot, or it refuses the token. 2: the provider could not be asked.
    #[command(after_long_help = IDP_EXAMPLES)]
    Idp(idp::Arguments),
    /// Print what an Envoy without a control plane needs to log here: access log, cluster, id settings
    ///
    /// The configuration is on standard output, what to know and what it costs on standard error. Operators are gated by
    /// Envoy's release. Nothing is changed anywhere.
    #[command(after_long_help = ENVOY_EXAMPLES)]
    Envoy(Box<envoy::Arguments>),
    /// Print what makes an Istio mesh log here: provider, Telemetry, id filter; and the way back
    ///
    /// Reads the mesh through kubectl, where there is one, and builds on what it finds: existing providers and Telemetries
    /// stay, what overrides them is named, operators are gated by the oldest proxy. The manifests are on standard output (with
    /// --undo, a script), what was checked, what could not be, and what it costs on standard error. Nothing is changed.
    #[command(after_long_help = ISTIO_EXAMPLES)]
    Istio(Box<istio::Arguments>),
}

const FASTLY_EXAMPLES: &str = "Examples:
  throughline setup fastly --endpoint https://logs.example.com/v1/fastly/site > setup.sh
  throughline setup fastly --endpoint https://logs.example.com/v1/fastly/site --region eu --print terraform > logs.tf
  throughline setup fastly --endpoint https://logs.example.com/v1/fastly/site --apply --service-id ID   # shows, changes nothing
  throughline setup fastly --endpoint https://logs.example.com/v1/fastly/site --apply --service-id ID --yes --activate
  throughline setup fastly --undo --apply --service-id ID --yes --activate
Tokens are read from FASTLY_API_TOKEN (Fastly's) and THROUGHLINE_INGEST_TOKEN (of the source), never from arguments.";

const GRAFANA_EXAMPLES: &str = "Examples:
  throughline setup grafana --url http://127.0.0.1:3000 --store-url http://127.0.0.1:8123 --tempo-url http://127.0.0.1:8080 \\
      --store-credentials data/clickhouse-credentials        # shows, changes nothing; --yes makes it
  throughline setup grafana --url http://127.0.0.1:3000 --undo --yes
Secrets are read from GRAFANA_TOKEN (a service account's, role Admin), GRAFANA_STORE_PASSWORD and THROUGHLINE_TOKEN (a reader's).";

const EDGE_EXAMPLES: &str = "Examples:
  throughline setup edge edge.json > install.sh         # read it, then: sh install.sh
  throughline setup edge edge.json --terraform > edge.tf
  throughline setup edge edge.json --mtls origin        # with a client certificate";

const IDP_EXAMPLES: &str = "Examples:
  throughline setup idp https://shop.eu.auth0.com/ --audience https://api.example.com
  throughline setup idp https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC --client-id 6abc
  printf %s \"$TOKEN\" | throughline setup idp https://login.example.com --audience shop --token";

const ENVOY_EXAMPLES: &str = "Examples:
  throughline setup envoy --envoy 1.36 --address logs.example.com:4317 --tls-ca /etc/ssl/certs/ca-certificates.crt \\
      --token-file gateway.token
  throughline setup envoy --whole > try.yaml     # then: envoy -c try.yaml, and ask port 10000";

const ISTIO_EXAMPLES: &str = "Examples:
  throughline setup istio --namespace shop > shop.yaml     # one namespace first; then: kubectl diff -f shop.yaml
  throughline setup istio --logs-host logs.example.com | kubectl apply -f -
  throughline setup istio --istio 1.28 --via otlp --offline
  throughline setup istio --undo > undo.sh                 # read it, then: sh undo.sh";

/// Runs the subcommand: 0 all well, 1 something was refused.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Fastly(arguments) => fastly::run(&arguments),
        What::Grafana(arguments) => grafana::run(&arguments),
        What::Edge(arguments) => edge::run(&arguments),
        What::Idp(arguments) => idp::run(&arguments),
        What::Envoy(arguments) => envoy::run(&arguments),
        What::Istio(arguments) => istio::run(&arguments),
    }
}

/// A file's text; standard input's for `-`.
fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        return read_stdin();
    }
    let shown = file.display();
    let opened = std::fs::File::open(file).with_context(|| format!("cannot open {shown}"))?;
    read_capped(opened, &shown.to_string())
}

fn read_stdin() -> anyhow::Result<String> {
    read_capped(std::io::stdin().lock(), "standard input")
}

fn read_capped(from: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(INPUT_MOST_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > INPUT_MOST_BYTES {
        bail!("{name} has more than {INPUT_MOST_BYTES} bytes; that is no configuration item and no token");
    }
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
}
