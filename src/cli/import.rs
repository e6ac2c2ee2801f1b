//! `throughline import`: log files and captures to a running service, in bounded memory whatever their size.
//!
//! | room | does |
//! |---|---|
//! | [`opened`] | opens and unpacks a file or stdin |
//! | [`kind`] | tells what is in it, and by which road it goes |
//! | [`pieces`] | cuts the stream between records |
//! | [`send`] | posts a piece until it is taken |
//! | [`otlp`], [`als`] | the roads that are not lines over HTTP |
//! | [`tally`] | counts what became of it |

mod als;
pub(super) mod kind;
pub(super) mod opened;
mod otlp;
pub(super) mod pieces;
mod send;
mod tally;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::{JoinSet, spawn_blocking};

use self::als::Streams;
use self::kind::{Format, Kind};
use self::opened::{Opened, Stream};
use self::pieces::{Cut, Piece, Pieces, RECORD_MOST_BYTES};
use self::send::{Route, Sender};
use self::tally::{Receipt, Tally};
use super::client::{Client, Server, block_on};
use crate::render::{json_line, safe};

/// Pieces on their way at once: enough to keep a service busy while it fsyncs, some 10 MB held here.
const IN_FLIGHT: usize = 4;

/// Lines pack by a factor of ten even at the fastest level.
const ZSTD_LEVEL: i32 = 1;

/// Send log files to a running service.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What the files hold; told by their content where it is `auto`
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Configured source to send lines to
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Where the service listens for gRPC, for captured access log streams
    #[arg(long, env = "THROUGHLINE_GRPC_URL", default_value = "http://127.0.0.1:4317", value_name = "URL")]
    grpc: String,
    /// Exit with 0 even if records were rejected
    #[arg(long)]
    allow_rejects: bool,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
    /// Files, plain or packed with gzip or zstd; `-` for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the subcommand: 0 all taken, 1 something was rejected.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    let done = block_on(import(&arguments, &mut tally));
    // What was sent before an error was sent: say so either way.
    tally.tell(&mut std::io::stderr().lock())?;
    done?;
    if arguments.json {
        json_line(&mut std::io::stdout().lock(), &tally)?;
    }
    Ok(exit_code(&tally, arguments.allow_rejects))
}

fn exit_code(tally: &Tally, allow_rejects: bool) -> ExitCode {
    if tally.rejected > 0 && !allow_rejects { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

async fn import(arguments: &Arguments, tally: &mut Tally) -> anyhow::Result<()> {
    let sender = Arc::new(Sender::new(Client::new(&arguments.server)?));
    let bar = progress();
    for file in &arguments.files {
        let before = (tally.records, tally.rejected);
        let sent = import_file(arguments, file, &sender, &bar, tally).await;
        if sent.is_err() {
            bar.finish_and_clear();
        }
        sent.with_context(|| format!("import {}", file.display()))?;
        tally.files += 1;
        if bar.is_hidden() {
            let (records, rejected) = (tally.records - before.0, tally.rejected - before.1);
            let name = file.display().to_string();
            writeln!(std::io::stderr().lock(), "{}: {records} records, {rejected} rejected", safe(&name))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn import_file(
    arguments: &Arguments,
    file: &Path,
    sender: &Arc<Sender>,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (path, counter) = (file.to_owned(), bar.clone());
    // Reading may block for as long as a pipe is silent.
    let opened = spawn_blocking(move || opened::open(&path, move |bytes| counter.inc(bytes))).await??;
    bar.inc_length(opened.size_bytes.unwrap_or(0));
    let name = file.display().to_string();
    bar.set_message(safe(&name).into_owned());
    if opened.head.is_empty() {
        return Ok(());
    }
    let kind = kind::of(arguments.format, &opened.head)?;
    let route = kind.route(arguments.source.as_deref())?;
    match route {
        Some(route) => upload(sender, kind, route, opened, &name, tally).await,
        None => replay(arguments, opened, &name, tally).await,
    }
}

/// Sends pieces over HTTP, a few at once.
async fn upload(
    sender: &Arc<Sender>,
    kind: Kind,
    route: Route,
    opened: Opened,
    name: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut flights = JoinSet::new();
    let mut pieces = Pieces::new(opened.stream, kind.cut(&opened.head));
    loop {
        let next;
        (pieces, next) = spawn_blocking(move || next_piece(pieces, kind)).await?;
        match next? {
            None => break,
            Some(Next::TooLarge { offset }) => {
                let detail = format!("longer than {RECORD_MOST_BYTES} bytes; not sent");
                tally.reject(name, offset, 1, "too_large", &detail);
            }
            Some(Next::Body { offset, records, body }) => {
                let (sender, route) = (Arc::clone(sender), route.clone());
                flights.spawn(async move {
                    let reply = sender.post(&route, body).await?;
                    Ok(Landed { offset, records, body: reply.body })
                });
            }
        }
        while flights.len() >= IN_FLIGHT {
            land(flights.join_next().await, kind, name, tally)?;
        }
    }
    while !flights.is_empty() {
        land(flights.join_next().await, kind, name, tally)?;
    }
    Ok(())
}

/// A piece made ready on the blocking thread.
enum Next {
    Body { offset: u64, records: u64, body: Bytes },
    TooLarge { offset: u64 },
}

/// An answered piece.
struct Landed {
    offset: u64,
    records: u64,
    body: Vec<u8>,
}

/// Cuts, counts and packs the next piece; gives the cutter back, for it is needed again.
fn next_piece(mut pieces: Pieces<Stream>, kind: Kind) -> (Pieces<Stream>, anyhow::Result<Option<Next>>) {
    let next = loop {
        break match pieces.next_piece() {
            Err(error) => Err(error.into()),
            Ok(None) => Ok(None),
            Ok(Some(Piece::TooLarge { offset })) => Ok(Some(Next::TooLarge { offset })),
            // What stands between documents.
            Ok(Some(Piece::Whole { bytes, .. })) if bytes.trim_ascii().is_empty() => continue,
            Ok(Some(Piece::Whole { offset, bytes })) => ready(kind, offset, bytes).map(Some),
        };
    };
    (pieces, next)
}

fn ready(kind: Kind, offset: u64, bytes: Vec<u8>) -> anyhow::Result<Next> {
    let (records, body) = match kind {
        Kind::OtlpJson => (otlp::records_of_json(&bytes), bytes),
        Kind::OtlpFrames | Kind::OtlpMessage => (otlp::records_of_protobuf(&bytes), bytes),
        // The answer counts the records of lines.
        Kind::Fastly | Kind::Envoy | Kind::Als => (0, zstd::encode_all(bytes.as_slice(), ZSTD_LEVEL)?),
    };
    Ok(Next::Body { offset, records, body: body.into() })
}

fn land(
    landed: Option<Result<anyhow::Result<Landed>, tokio::task::JoinError>>,
    kind: Kind,
    name: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let Some(landed) = landed else { return Ok(()) };
    let Landed { offset, records, body } = landed??;
    match kind {
        Kind::OtlpJson => otlp::add(tally, name, offset, records, &body, true),
        Kind::OtlpFrames | Kind::OtlpMessage => otlp::add(tally, name, offset, records, &body, false),
        Kind::Fastly | Kind::Envoy | Kind::Als => {
            let receipt: Receipt = serde_json::from_slice(&body)
                .context("the service took a piece, but its answer is not like one of this version")?;
            tally.add(name, offset, receipt);
        }
    }
    Ok(())
}

/// Sends captured access log messages through gRPC.
async fn replay(arguments: &Arguments, opened: Opened, name: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let mut streams = Streams::connect(&arguments.grpc, arguments.server.token.as_ref()).await?;
    let mut pieces = Pieces::new(opened.stream, Cut::Frames);
    loop {
        let next;
        (pieces, next) = spawn_blocking(move || {
            let next = pieces.next_piece();
            (pieces, next)
        })
        .await?;
        let sent = match next? {
            Some(Piece::Whole { bytes, .. }) => streams.add(bytes.into()).await?,
            Some(Piece::TooLarge { offset }) => {
                let detail = format!("a message of more than {RECORD_MOST_BYTES} bytes; not sent");
                tally.reject(name, offset, 1, "too_large", &detail);
                0
            }
            None => {
                let sent = streams.finish().await?;
                tally.sent_unanswered(sent);
                return Ok(());
            }
        };
        tally.sent_unanswered(sent);
    }
}

/// A bar of packed bytes on a terminal; hidden elsewhere, where a line a file is written instead.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(0);
    // A template that does not parse would show the plain bar: still progress.
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
#[path = "import/import_tests.rs"]
mod tests;
