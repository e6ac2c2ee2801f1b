//! `throughline spool`: what lies in a spool's directory, segment by segment; read only, also while a service has it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use spool::{FileState, Surveyed};

use crate::accept::unix_ns;
use crate::api::time_text;
use crate::render::safe;

/// Exit code where something is damaged.
const DAMAGED: u8 = 1;

/// List the segments of a spool.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The spool's directory: DATA_DIR/spool
    directory: PathBuf,
    /// Print one JSON object a segment
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand: 0 all sound, 1 something is damaged.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let found = spool::survey(directory).with_context(|| {
        format!("cannot read {}: give the directory `spool` of a data directory", directory.display())
    })?;
    let mut out = std::io::stdout().lock();
    for segment in &found {
        let line = if arguments.json { as_json(segment).to_string() } else { as_text(segment) };
        writeln!(out, "{line}")?;
    }
    let sum = |of: fn(&Surveyed) -> u64| {
        found.iter().filter(|segment| segment.state != FileState::Corrupt).map(of).sum::<u64>()
    };
    writeln!(
        std::io::stderr(),
        "{} segments, {} records, {} bytes wait",
        sum(|_| 1),
        sum(|segment| segment.records),
        sum(|segment| segment.bytes)
    )?;
    let damaged = found.iter().any(|segment| segment.damage.is_some());
    Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

fn state(segment: &Surveyed) -> &'static str {
    match segment.state {
        FileState::Open => "open",
        FileState::Sealed => "sealed",
        FileState::Corrupt => "corrupt",
    }
}

fn as_text(segment: &Surveyed) -> String {
    let now_ms = (unix_ns() / 1_000_000).unsigned_abs();
    let age_s = now_ms.saturating_sub(segment.first_append_unix_ms) / 1000;
    let age = if segment.first_append_unix_ms == 0 { "-".to_owned() } else { format!("{age_s} s old") };
    let damage = segment
        .damage
        .as_ref()
        .map_or_else(String::new, |(at, what)| format!(", damaged at byte {at}: {}", safe(what)));
    format!(
        "{} {}: {} records in {} batches, {} bytes, {age}, record version {}{damage}",
        safe(&segment.name),
        state(segment),
        segment.records,
        segment.batches,
        segment.bytes,
        segment.payload_version
    )
}

fn as_json(segment: &Surveyed) -> serde_json::Value {
    let first_ns = i64::try_from(segment.first_append_unix_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    json!({
        "name": segment.name,
        "state": state(segment),
        "segment": segment.id.map(|id| format!("{:032x}", u128::from_be_bytes(id))),
        "records": segment.records,
        "batches": segment.batches,
        "bytes": segment.bytes,
        "first_append": (first_ns > 0).then(|| time_text(first_ns)),
        "record_version": segment.payload_version,
        "damage": segment.damage.as_ref().map(|(at, what)| json!({"at": at, "what": what})),
    })
}
