//! `throughline setup envoy`: the access log, the cluster and the id settings for an Envoy without a control plane.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::mesh::labels::{labels, left_out};
use super::mesh::yaml::yaml;
use super::mesh::{self, Address, OLDEST_ENVOY, Release, TRIED_ENVOY, Talk, Tone, Way};

/// What the cluster is called in the configuration.
const CLUSTER: &str = "throughline";
const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
/// From here on the OTLP logger has fields of its own; the older ones still work, with a warning.
const OTLP_WITHOUT_COMMON: Release = Release(38);

/// Print what an Envoy needs to log to Throughline.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Envoy's release, such as 1.36: nothing newer is asked of it
    #[arg(long = "envoy", value_name = "VERSION", default_value_t = TRIED_ENVOY)]
    release: Release,
    /// How the records come
    #[arg(long, value_enum, default_value_t = Via::Als)]
    via: Via,
    /// Throughline's gRPC port, as Envoy reaches it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4317")]
    address: Address,
    /// File with the source's token, as Envoy will present it; it becomes part of what is printed
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    token_file: Option<PathBuf>,
    /// Use TLS, and trust the certificates in this PEM file on Envoy's machine
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    tls_ca: Option<String>,
    /// Where the lines go, with --via file
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    file: String,
    /// Header in which the correlation id comes
    #[arg(long, value_name = "HEADER", default_value = "x-correlation-id", value_parser = mesh::header)]
    correlation_header: String,
    /// Leave x-request-id to Envoy, which replaces what clients send: for an Envoy that clients reach first
    #[arg(long)]
    leave_ids: bool,
    /// Print a whole bootstrap to try it with: listens at --listen and routes everything to --upstream
    #[arg(long)]
    whole: bool,
    /// Where the whole bootstrap listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000", requires = "whole")]
    listen: String,
    /// Where the whole bootstrap sends requests
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000", requires = "whole")]
    upstream: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Envoy's gRPC access log service: every field, typed, and who sends
    Als,
    /// OTLP logs over gRPC
    Otlp,
    /// JSON lines into a file, for a source of kind `file` or for POST /v1/envoy
    File,
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let release = arguments.release;
    if release < OLDEST_ENVOY {
        bail!("Envoy {release} is older than {OLDEST_ENVOY}, the oldest that this is written for");
    }
    let parts = Parts::new(arguments)?;
    let shown = if arguments.whole { yaml(&parts.whole(arguments)?) } else { parts.pieces() };
    talk(arguments).write(&mut std::io::stderr().lock())?;
    std::io::stdout().lock().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn talk(arguments: &Arguments) -> Talk {
    let mut talk = Talk::default();
    let release = arguments.release;
    if release > TRIED_ENVOY {
        talk.say(
            Tone::Warn,
            format!("Envoy {release} is newer than {TRIED_ENVOY}, which this was tried with"),
        );
    }
    if arguments.via != Via::Als {
        for what in left_out(release) {
            talk.say(Tone::Warn, format!("left out: {what}"));
        }
    }
    let exposed = !["127.0.0.1", "::1", "localhost"].contains(&arguments.address.host.as_str());
    if arguments.via != Via::File && exposed {
        if arguments.tls_ca.is_none() {
            talk.say(Tone::Warn, "records cross the network in the clear; --tls-ca FILE encrypts them");
        }
        if arguments.token_file.is_none() {
            talk.say(
                Tone::Need,
                "Throughline wants a token from other machines (`throughline token`), unless `insecure` is set: --token-file FILE",
            );
        }
    }
    if arguments.token_file.is_some() {
        talk.say(Tone::Warn, "what is printed holds the token: keep it as secret as the token file");
    }
    if !arguments.leave_ids {
        talk.say(
            Tone::Warn,
            "x-request-id is kept as it comes: right behind an edge that sets it. Where clients reach this Envoy first, \
             they choose it: use --leave-ids",
        );
    }
    let check = format!("envoy --mode validate -c FILE, with Envoy {release}: this command runs no Envoy");
    talk.say(Tone::Need, if arguments.whole { check } else { format!("put the pieces in, then {check}") });
    let way = match arguments.via {
        Via::Als => Way::Als,
        Via::Otlp => Way::Otlp,
        Via::File => Way::Lines,
    };
    for cost in mesh::costs(way) {
        talk.say(Tone::Cost, cost);
    }
    talk
}

/// What is printed, piece by piece.
struct Parts {
    access_log: Value,
    /// None for files.
    cluster: Option<Value>,
    ids: Option<Value>,
}

impl Parts {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let token = arguments.token_file.as_deref().map(token).transpose()?;
        let access_log = match arguments.via {
            Via::Als => als(arguments, token.as_deref())?,
            Via::Otlp => otlp(arguments, token.as_deref()),
            Via::File => file(arguments),
        };
        Ok(Self {
            access_log,
            cluster: (arguments.via != Via::File).then(|| cluster(arguments)),
            ids: if arguments.leave_ids { None } else { Some(mesh::id_settings()?) },
        })
    }

    fn pieces(&self) -> String {
        let mut shown =
            "# Into every HttpConnectionManager (a further access log stands beside those that are there):\n"
                .to_owned();
        shown += &yaml(&json!({"access_log": [self.access_log]}));
        if let Some(ids) = &self.ids {
            shown += "# x-request-id as it came, and no trace decision written into it:\n";
            shown += &yaml(ids);
        }
        if let Some(cluster) = &self.cluster {
            shown += "---\n# Beside the other clusters (static_resources.clusters):\n";
            shown += &yaml(&json!([cluster]));
            shown += "---\n# Who Envoy is, without which it opens no gRPC log (or --service-node and --service-cluster):\n";
            shown += &yaml(&node());
        }
        shown
    }

    fn whole(&self, arguments: &Arguments) -> anyhow::Result<Value> {
        let listen: Address = match arguments.listen.strip_suffix(":0") {
            // A port of the system's choice, which an address to send to cannot be.
            Some(host) => Address { host: host.to_owned(), port: 0 },
            None => arguments.listen.parse().map_err(anyhow::Error::msg).context("--listen")?,
        };
        let mut manager = typed(
            MANAGER,
            json!({
                "stat_prefix": "ingress",
                "use_remote_address": true,
                "access_log": [self.access_log],
                "http_filters": [{"name": "envoy.filters.http.router",
                    "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))}],
                "route_config": {"virtual_hosts": [{
                    "name": "all", "domains": ["*"], "include_request_attempt_count": true,
                    "routes": [{"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }]},
            }),
        );
        for (name, value) in self.ids.iter().filter_map(Value::as_object).flatten() {
            manager[name] = value.clone();
        }
        let mut clusters = vec![to("upstream", &arguments.upstream)];
        clusters.extend(self.cluster.clone());
        let mut whole = node();
        // No administration port: it is open to whoever reaches it.
        whole["static_resources"] = json!({
            "listeners": [{
                "name": "ingress",
                "address": socket(&listen),
                "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager}]}],
            }],
            "clusters": clusters,
        });
        Ok(whole)
    }
}

fn node() -> Value {
    json!({"node": {"id": "gateway-1", "cluster": "gateway"}})
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    config
}

fn token(file: &Path) -> anyhow::Result<String> {
    let text = super::read(file).context("--token-file")?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let token = lines.next().with_context(|| format!("{} holds no token (--token-file)", file.display()))?;
    if token.starts_with("sha256:") {
        bail!(
            "{} holds a token's hash; Envoy has to present the token itself (--token-file)",
            file.display()
        );
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the token in {} holds characters that no header may have (--token-file)", file.display());
    }
    Ok(token.to_owned())
}

fn grpc(token: Option<&str>) -> Value {
    let mut service = json!({"envoy_grpc": {"cluster_name": CLUSTER}});
    if let Some(token) = token {
        service["initial_metadata"] = json!([{"key": "authorization", "value": format!("Bearer {token}")}]);
    }
    service
}

fn als(arguments: &Arguments, token: Option<&str>) -> anyhow::Result<Value> {
    let correlation = arguments.correlation_header.as_str();
    mesh::check_als_header(correlation)?;
    let config = json!({
        "common_config": {"log_name": "http_envoy_accesslog", "transport_api_version": "V3", "grpc_service": grpc(token)},
        "additional_request_headers_to_log": mesh::request_headers(correlation),
        "additional_response_headers_to_log": mesh::response_headers(correlation),
        "additional_response_trailers_to_log": mesh::RESPONSE_TRAILERS,
    });
    Ok(json!({"name": "envoy.access_loggers.http_grpc",
        "typed_config": typed("envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig", config)}))
}

fn otlp(arguments: &Arguments, token: Option<&str>) -> Value {
    let labels = labels(arguments.release, &arguments.correlation_header, false);
    let attributes: Vec<Value> = labels
        .into_iter()
        .map(|(key, operator)| json!({"key": key, "value": {"string_value": operator}}))
        .collect();
    let name = "otel_envoy_accesslog";
    let mut config = json!({
        "body": {"string_value": "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE%"},
        "attributes": {"values": attributes},
    });
    if arguments.release < OTLP_WITHOUT_COMMON {
        config["common_config"] =
            json!({"log_name": name, "transport_api_version": "V3", "grpc_service": grpc(token)});
    } else {
        config["log_name"] = name.into();
        config["grpc_service"] = grpc(token);
    }
    json!({"name": "envoy.access_loggers.open_telemetry", "typed_config":
        typed("envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig", config)})
}

fn file(arguments: &Arguments) -> Value {
    let labels = labels(arguments.release, &arguments.correlation_header, false);
    let config = json!({"path": arguments.file, "log_format": {"json_format": labels}});
    json!({"name": "envoy.access_loggers.file",
        "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", config)})
}

fn socket(address: &Address) -> Value {
    json!({"socket_address": {"address": address.host, "port_value": address.port}})
}

/// A cluster of one address.
fn to(name: &str, address: &Address) -> Value {
    let is_address = address.host.parse::<IpAddr>().is_ok();
    json!({
        "name": name,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": socket(address)}}]},
        ]},
    })
}

fn cluster(arguments: &Arguments) -> Value {
    let mut cluster = to(CLUSTER, &arguments.address);
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    // A peer that vanished without a word is noticed within 35 s; until then what is flushed would go nowhere.
    let http2 = json!({"connection_keepalive": {"interval": "30s", "timeout": "5s"}});
    let explicit = json!({"explicit_http_config": {"http2_protocol_options": http2}});
    cluster["typed_extension_protocol_options"] = json!({ options: typed(options, explicit) });
    if let Some(ca) = &arguments.tls_ca {
        let host = &arguments.address.host;
        let kind = if host.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
        let mut context = json!({"common_tls_context": {
            "alpn_protocols": ["h2"],
            "validation_context": {
                "trusted_ca": {"filename": ca},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
            },
        }});
        if kind == "DNS" {
            context["sni"] = host.as_str().into();
        }
        cluster["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config":
            typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context)});
    }
    cluster
}

#[cfg(test)]
mod tests;
