//! `throughline setup istio`: what makes a mesh log here, made from the mesh as it is, and the way back.
//!
//! It reads through kubectl and changes nothing: what it prints is for `kubectl apply`, and for `sh` with `--undo`.

mod kubectl;
mod live;
mod logging;
mod mesh_text;
mod plan;
mod undo;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use serde_json::{Value, json};

use self::kubectl::Kubectl;
use self::live::Live;
use super::mesh::labels::{labels, left_out};
use super::mesh::{self, Address, NEWEST_ISTIO, OLDEST_ISTIO, Release, Talk, Tone, Way};

/// On every object that this makes, so that `--undo` knows them.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "throughline");

/// Print what makes an Istio mesh log to Throughline.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Istio's release, such as 1.28; without it, what the cluster runs. The oldest of both decides what is asked for
    #[arg(long = "istio", value_name = "VERSION")]
    release: Option<Release>,
    /// How the records come
    #[arg(long, value_enum, default_value_t = Via::Als)]
    via: Via,
    /// Only this namespace, to begin with; without it, the whole mesh
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Throughline's gRPC port: a Service that Istio knows
    #[arg(long, value_name = "HOST:PORT", default_value = "throughline.throughline.svc.cluster.local:4317")]
    address: Address,
    /// What the log provider is called in meshConfig
    #[arg(long, value_name = "NAME", default_value = "throughline")]
    provider: String,
    /// Log TCP connections too, through a second provider (with --via als)
    #[arg(long)]
    tcp: bool,
    /// Header in which the correlation id comes
    #[arg(long, value_name = "HEADER", default_value = "x-correlation-id", value_parser = mesh::header)]
    correlation_header: String,
    /// Host to which Fastly sends its logs through this mesh: its deliveries are not logged unless refused
    #[arg(long, value_name = "HOST")]
    logs_host: Option<String>,
    /// Leave x-request-id to Istio: print no EnvoyFilter
    #[arg(long)]
    leave_ids: bool,
    /// Print the way back instead, as commands for sh
    #[arg(long)]
    undo: bool,
    /// Namespace of istiod
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system")]
    istio_namespace: String,
    /// Revision of istiod, where there are several
    #[arg(long, value_name = "REVISION", default_value = "default")]
    revision: String,
    /// kubectl, or what stands for it
    #[arg(long, value_name = "PROGRAM", default_value = "kubectl")]
    kubectl: PathBuf,
    /// Context of the kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Ask no cluster
    #[arg(long)]
    offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Envoy's gRPC access log service: every field, typed, and which pod sends
    Als,
    /// OTLP logs over gRPC
    Otlp,
    /// JSON lines on the proxies' standard output, for sources of kind `file`
    Stdout,
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut talk = Talk::default();
    let live = look(arguments, &mut talk);
    let shown = print(arguments, &live, &mut talk)?;
    talk.write(&mut std::io::stderr().lock())?;
    std::io::stdout().lock().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn look(arguments: &Arguments, talk: &mut Talk) -> Live {
    if arguments.offline {
        talk.say(
            Tone::Skip,
            "--offline: no cluster was asked for versions, providers and what overrides them",
        );
        return Live::default();
    }
    let kubectl = Kubectl { program: &arguments.kubectl, context: arguments.context.as_deref() };
    let place = live::Place {
        istio_namespace: &arguments.istio_namespace,
        revision: &arguments.revision,
        service: (arguments.via != Via::Stdout).then_some(&arguments.address),
    };
    Live::read(&kubectl, &place, talk)
}

/// Everything but reading the cluster and writing to the terminal.
fn print(arguments: &Arguments, live: &Live, talk: &mut Talk) -> anyhow::Result<String> {
    for (what, name) in
        [("--namespace", arguments.namespace.as_deref()), ("--provider", Some(&*arguments.provider))]
    {
        let is_name = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if let Some(name) = name.filter(|name| name.is_empty() || !is_name(name)) {
            bail!("{what} {name:?}: a name has small letters, digits and - only");
        }
    }
    if arguments.undo {
        return undo::script(arguments, live, talk);
    }
    if arguments.tcp && arguments.via != Via::Als {
        bail!("--tcp needs --via als: the other ways write HTTP and TCP through one provider");
    }
    let release = release(arguments, live, talk)?;
    let shown = plan::manifests(arguments, &providers(arguments, release)?, live, talk)?;
    let way = match arguments.via {
        Via::Als => Way::Als,
        Via::Otlp => Way::Otlp,
        Via::Stdout => Way::Lines,
    };
    if arguments.via != Via::Als {
        for what in left_out(mesh::envoy_in(release)) {
            talk.say(Tone::Warn, format!("left out: {what}"));
        }
    }
    for cost in mesh::costs(way) {
        talk.say(Tone::Cost, cost);
    }
    Ok(shown)
}

/// The release that decides what may be asked for: the oldest of what is stated and what runs, because a proxy refuses a whole
/// listener for one operator that it does not know.
fn release(arguments: &Arguments, live: &Live, talk: &mut Talk) -> anyhow::Result<Release> {
    let oldest_proxy = live.proxies.as_ref().and_then(|proxies| proxies.keys().next().copied());
    let running = live.istiod.into_iter().chain(oldest_proxy).min();
    let Some(release) = arguments.release.into_iter().chain(running).min() else {
        bail!("which Istio? say it with --istio 1.28; no cluster could tell");
    };
    if let Some(proxies) = &live.proxies {
        let counts: Vec<String> =
            proxies.iter().map(|(release, count)| format!("{count} of {release}")).collect();
        talk.say(Tone::Fine, format!("proxies: {}", counts.join(", ")));
    }
    match (arguments.release, running) {
        (Some(stated), Some(running)) if running < stated => talk.say(
            Tone::Warn,
            format!("--istio says {stated}, but the oldest that runs is {running}: printed for {release}"),
        ),
        (Some(stated), Some(running)) if running > stated => {
            talk.say(
                Tone::Warn,
                format!("the cluster runs {running}; printed for {stated}, as --istio says"),
            );
        }
        (Some(_), None) => {
            talk.say(Tone::Skip, format!("that the mesh runs {release} was not checked"));
        }
        _ => {}
    }
    if release < OLDEST_ISTIO {
        bail!("Istio {release} is older than {OLDEST_ISTIO}, the first with telemetry.istio.io/v1");
    }
    if release > NEWEST_ISTIO {
        talk.say(
            Tone::Warn,
            format!("Istio {release} is newer than {NEWEST_ISTIO}, the last that was looked at"),
        );
    }
    Ok(release)
}

/// The entries of meshConfig.extensionProviders.
fn providers(arguments: &Arguments, release: Release) -> anyhow::Result<Vec<Value>> {
    let Address { host, port } = &arguments.address;
    let correlation = arguments.correlation_header.as_str();
    let labels = labels(mesh::envoy_in(release), correlation, true);
    let name = &arguments.provider;
    Ok(match arguments.via {
        Via::Als => {
            mesh::check_als_header(correlation)?;
            let http = json!({"name": name, "envoyHttpAls": {
                "service": host, "port": port, "logName": "http_envoy_accesslog",
                "additionalRequestHeadersToLog": mesh::request_headers(correlation),
                "additionalResponseHeadersToLog": mesh::response_headers(correlation),
                "additionalResponseTrailersToLog": mesh::RESPONSE_TRAILERS,
            }});
            let tcp = json!({"name": format!("{name}-tcp"), "envoyTcpAls":
                {"service": host, "port": port, "logName": "tcp_envoy_accesslog"}});
            if arguments.tcp { vec![http, tcp] } else { vec![http] }
        }
        Via::Otlp => vec![json!({"name": name, "envoyOtelAls": {
            "service": host, "port": port, "logName": "otel_envoy_accesslog",
            "logFormat": {"text": "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE%", "labels": labels},
        }})],
        Via::Stdout => vec![json!({"name": name, "envoyFileAccessLog":
            {"path": "/dev/stdout", "logFormat": {"labels": labels}}})],
    })
}

#[cfg(test)]
mod tests;
