//! Writes sample traffic as log files of every sender, for the demo and for trying things out.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser;
use event::{Direction, Hop};
use testkit::{Mix, Request, Story, TrueHop, fastly, istio};

/// Writes log lines of requests that cross edge, shield, gateway and sidecars.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many requests.
    #[arg(long, default_value_t = 300)]
    requests: u64,
    /// Same seed and start, same traffic [default: from the clock, so that every run has new ids]
    #[arg(long)]
    seed: Option<u64>,
    /// Start of the first request, unix milliseconds [default: so that the last one has just ended]
    #[arg(long)]
    start_unix_ms: Option<u64>,
    /// Directory for the files; made if it is missing.
    #[arg(long)]
    out: PathBuf,
}

/// Time between two requests: 300 of them fill a minute of panels.
const INTERVAL_US: u64 = 200_000;

/// Longer than any request of the mix takes, so that none ends in the future.
const LONGEST_MS: u64 = 5_000;

/// Every fifth request, the workload behind still logs in Istio's default TEXT: found by `x-request-id` only.
const TEXT_EVERY: u64 = 5;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set before 1970")?;
    let span_ms = arguments.requests * INTERVAL_US / 1000 + LONGEST_MS;
    let start_ms = arguments.start_unix_ms.unwrap_or((now.as_millis() as u64).saturating_sub(span_ms));
    let seed = arguments.seed.unwrap_or(now.as_nanos() as u64);
    let mix = Mix::new(seed).starting(start_ms, INTERVAL_US);

    let out = arguments.out.as_path();
    fs::create_dir_all(out).with_context(|| format!("making directory {}", out.display()))?;
    let mut edge = Lines::create(out, "fastly.sample.ndjson")?;
    let mut gateway = Lines::create(out, "envoy.gateway.log")?;
    let mut sidecar = Lines::create(out, "envoy.sidecar.log")?;
    let mut text = Lines::create(out, "envoy.text.log")?;
    let mut ids = Lines::create(out, "ids.txt")?;
    for n in 0..arguments.requests {
        // The one that is shown first fails, and everybody saw it.
        let request = if n == 0 { mix.request_as(0, Story::Timeout) } else { mix.request(n) };
        ids.put(&request.correlation_text())?;
        let last = request.hops.len() - 1;
        for (index, hop) in request.hops.iter().enumerate() {
            let in_text = n % TEXT_EVERY == 1 && index == last && is_inner(hop);
            match hop.hop {
                Hop::Edge | Hop::Shield => edge.put(&fastly::vcl_line(&request, hop))?,
                Hop::Gateway => gateway.put(&json(&request, hop))?,
                _ if in_text => text.put(&istio::text_line(&request, hop))?,
                _ => sidecar.put(&json(&request, hop))?,
            }
        }
    }
    let mut talk = std::io::stderr();
    for lines in [edge, gateway, sidecar, text] {
        writeln!(talk, "{:>6} lines  {}", lines.count, lines.path.display())?;
        lines.end()?;
    }
    writeln!(talk, "{:>6} ids    {} (seed {seed})", ids.count, ids.path.display())?;
    ids.end()
}

fn is_inner(hop: &TrueHop) -> bool {
    hop.hop == Hop::Sidecar && hop.direction == Direction::Inbound
}

fn json(request: &Request, hop: &TrueHop) -> String {
    istio::json_line_with_ids(request, hop)
}

/// One file of lines.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
}

impl Lines {
    fn create(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let path = directory.join(name);
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, file: BufWriter::new(file), count: 0 })
    }

    fn put(&mut self, line: &str) -> anyhow::Result<()> {
        self.count += 1;
        writeln!(self.file, "{line}").with_context(|| format!("writing {}", self.path.display()))
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("writing {}", self.path.display()))
    }
}
