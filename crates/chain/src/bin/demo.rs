//! `make demo`: the whole chain on loopback, driven, and what became of each request.
//!
//! Starts `throughline serve`, Viceroy with the edge service, three Envoys, two workloads and an OpenID Connect provider;
//! sends every declared request; shows three traces and a table. Ends all that it started, also on Ctrl-C. Exit code 0 only
//! if every request came out as declared. Traces and table go to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chain::{Chain, Programs, Service, Traced, service_configuration};
use clap::Parser;

/// The requests whose traces are shown.
const SHOWN: [&str; 3] = ["retried by orders", "denied by the mesh", "logged in"];
/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The whole chain on loopback: client, edge service, gateway, sidecars, workloads, and their logs in Throughline
#[derive(Debug, Parser)]
struct Arguments {
    /// The service
    #[arg(long, value_name = "FILE")]
    throughline: PathBuf,
    /// Envoy
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_ENVOY")]
    envoy: PathBuf,
    /// Viceroy, Fastly's local Compute server
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_VICEROY")]
    viceroy: PathBuf,
    /// The edge service, built for wasm32-wasip1
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_EDGE_WASM")]
    wasm: PathBuf,
    /// Go on serving until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    for program in [&arguments.throughline, &arguments.envoy, &arguments.viceroy, &arguments.wasm] {
        if !program.is_file() {
            bail!("{} is not there; scripts/run-chain builds and fetches all of them", program.display());
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    watch_for_the_end(Arc::clone(&stop))?;
    match run(&arguments, &stop) {
        Err(_) if stop.load(Ordering::Relaxed) => Ok(ExitCode::from(INTERRUPTED)),
        outcome => outcome,
    }
}

/// The first Ctrl-C or SIGTERM ends everything in order; the second ends this process, and everything else with it.
fn watch_for_the_end(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a thread")?;
    let mut terminated = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .context("watch for SIGTERM")?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            for is_first in [true, false] {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminated.recv() => {}
                }
                stop.store(true, Ordering::Relaxed);
                say(if is_first { "ending; once more to end at once" } else { "ended" });
            }
            std::process::exit(i32::from(INTERRUPTED));
        });
    });
    Ok(())
}

#[allow(clippy::print_stderr, reason = "talk to the person at the keyboard")]
fn say(what: &str) {
    eprintln!("{what}");
}

fn run(arguments: &Arguments, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    let step = |what: &str| {
        say(&format!("[{:5.1} s] {what}", begin.elapsed().as_secs_f64()));
        if stop.load(Ordering::Relaxed) { bail!("interrupted") } else { Ok(()) }
    };
    // Dropped last: everything writes into it until it has ended.
    let directory =
        tempfile::Builder::new().prefix("throughline-demo-").tempdir().context("a scratch directory")?;
    let path = directory.path();
    step("starting throughline serve with the embedded engine")?;
    let service = Service::start(&arguments.throughline, path, &service_configuration(path), stop)?;
    step("starting provider, workloads, sidecars, edge in Viceroy, gateway")?;
    let programs = Programs {
        envoy: arguments.envoy.clone(),
        viceroy: arguments.viceroy.clone(),
        wasm: arguments.wasm.clone(),
    };
    let chain = Chain::start(&programs, path, service.http, service.grpc)?;
    step("sending requests")?;
    let driven = chain.drive()?;
    step("waiting for their logs: HTTPS log streaming, ALS, OTLP, a followed file")?;
    let traced = chain.traced(service.http, &driven, stop);
    step("all there")?;

    let url = format!("http://{}", service.http);
    for one in SHOWN.iter().filter_map(|name| traced.iter().find(|one| one.driven.declared.name == *name)) {
        show(arguments, &url, one)?;
    }
    table(&traced)?;
    let faults: Vec<String> = traced
        .iter()
        .flat_map(|one| one.faults.iter().map(|fault| format!("{}: {fault}", one.driven.declared.name)))
        .collect();
    for fault in &faults {
        say(&format!("not as declared: {fault}"));
    }
    if arguments.keep {
        say(&format!(
            "serving on {url} until Ctrl-C; a trace: {} trace ID --url {url}",
            arguments.throughline.display()
        ));
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    step("ending what was started").or_else(|error| if arguments.keep { Ok(()) } else { Err(error) })?;
    let lines = chain.end()?;
    drop(service);
    say(&format!("[{:5.1} s] done; the edge logged {lines} lines", begin.elapsed().as_secs_f64()));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The trace of one request as the CLI prints it.
fn show(arguments: &Arguments, url: &str, one: &Traced) -> anyhow::Result<()> {
    let id = &one.driven.correlation_id;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n── {}: throughline trace {id}\n", one.driven.declared.name).context("print")?;
    out.flush().context("print")?;
    drop(out);
    let mut command = Command::new(&arguments.throughline);
    command.args(["trace", id, "--url", url]);
    if std::io::stdout().is_terminal() {
        command.args(["--color", "auto"]);
    }
    let status = command.status().context("run throughline trace")?;
    if !status.success() {
        bail!("throughline trace {id} ended with {status}");
    }
    Ok(())
}

/// Every request, what the client got, what the edge said, how many hops its trace has.
fn table(traced: &[Traced]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let head = ("request", "client", "edge", "hops", "", "correlation id");
    writeln!(out, "\n{:24} {:6} {:26} {:>4} {:12} {}", head.0, head.1, head.2, head.3, head.4, head.5)
        .context("print")?;
    for one in traced {
        let verdict = match one.driven.declared.verdict {
            Some(verdict) => format!("{} ({})", verdict.outcome, verdict.reason),
            None => "never saw it".to_owned(),
        };
        let spans = one.answer["spans"].as_array().map_or(0, Vec::len);
        let outcome = if one.faults.is_empty() { "as declared" } else { "NOT SO" };
        writeln!(
            out,
            "{:24} {:6} {verdict:26} {spans:4} {outcome:12} {}",
            one.driven.declared.name, one.driven.status, one.driven.correlation_id
        )
        .context("print")?;
    }
    Ok(())
}
