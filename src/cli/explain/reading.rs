//! Files to held events: opened, told apart, cut into pieces, decoded on all cores, merged in the order of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use decode::envoy::AlsStream;
use decode::{Origin, Rules};
use event::Hop;
use indicatif::ProgressBar;

use super::decoded::{self, Decoded, Input, Rejected};
use super::facts::Facts;
use super::guess;
use super::held::Held;
use crate::cli::import::kind::{self, Format, Kind};
use crate::cli::import::opened::{self, Opened, Stream};
use crate::cli::import::pieces::{Piece, Pieces, RECORD_MOST_BYTES};

/// Rejects that are shown of one file.
const REJECTS_SHOWN: usize = 3;

/// Pieces under way for each worker: one that it decodes and one that waits.
const JOBS_PER_WORKER: usize = 2;

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The hop of its records, as the person says.
    pub(super) hop: Option<Hop>,
}

/// What became of one file.
#[derive(Debug, Default)]
pub(super) struct FileRead {
    pub(super) name: String,
    /// What it holds, in words; empty if nothing was told.
    pub(super) kind: &'static str,
    /// The hop that its records were taken for because of its name.
    pub(super) hop_by_name: Option<Hop>,
    pub(super) events: u64,
    pub(super) rejected: u64,
    pub(super) by_reason: BTreeMap<&'static str, u64>,
    pub(super) first_rejects: Vec<Rejected>,
    pub(super) facts: Facts,
    /// Why it could not be read, or not to its end.
    pub(super) problem: Option<String>,
    /// What it looks like, where nothing of it could be read.
    pub(super) looks_like: Option<String>,
}

/// How to read.
pub(super) struct Reading<'a> {
    pub(super) rules: &'a Rules,
    pub(super) format: Format,
    pub(super) received_ns: i64,
    pub(super) workers: usize,
    pub(super) bar: ProgressBar,
}

impl Reading<'_> {
    /// Reads one file into `held`. Trouble with a file is part of the answer: the others are read all the same.
    pub(super) fn read(&self, number: u32, file: &File, held: &mut Held) -> FileRead {
        let mut read = FileRead { name: file.path.display().to_string(), ..FileRead::default() };
        let counter = self.bar.clone();
        match opened::open(&file.path, move |bytes| counter.inc(bytes)) {
            Ok(opened) => self.read_opened(number, file, opened, held, &mut read),
            Err(error) => read.problem = Some(root_cause(&file.path, &error)),
        }
        read
    }

    fn read_opened(&self, number: u32, file: &File, opened: Opened, held: &mut Held, read: &mut FileRead) {
        self.bar.inc_length(opened.size_bytes.unwrap_or(0));
        let head = opened.head;
        if head.trim_ascii().is_empty() {
            read.problem = Some("it is empty".to_owned());
            return;
        }
        if let Some(foreign) = guess::foreign(&head) {
            read.looks_like = Some(foreign);
            return;
        }
        let Ok(kind) = kind::of(self.format, &head) else {
            read.looks_like = Some(guess::looks_like(&head));
            return;
        };
        read.kind = words(kind);
        read.hop_by_name =
            if file.hop.is_none() { guess::hop_by_name(&file.path, kind, &head) } else { None };
        let origin = Origin { hop: file.hop.or(read.hop_by_name).unwrap_or_default(), ..Origin::default() };
        let is_guessed = self.format == Format::Auto;
        let input = Input { kind, is_guessed, origin, number, received_ns: self.received_ns };
        let pieces = Pieces::new(opened.stream, kind.cut(&head));
        let outcome = match kind {
            Kind::Als => self.stream(&input, pieces, held, read),
            _ => self.pieces(&input, pieces, held, read),
        };
        if let Err(error) = outcome {
            read.problem = Some(format!("not read to its end: {error}"));
        }
        if read.events == 0 {
            read.looks_like = Some(guess::looks_like(&head));
        }
    }

    /// A captured access log stream: its messages in order, for only the first of a stream names its sender.
    fn stream(
        &self,
        input: &Input,
        mut pieces: Pieces<Stream>,
        held: &mut Held,
        read: &mut FileRead,
    ) -> std::io::Result<()> {
        let mut stream = AlsStream::new("file");
        while let Some(piece) = pieces.next_piece()? {
            match piece {
                Piece::Whole { offset, bytes } => {
                    let decoded = decoded::message(input, &mut stream, self.rules, offset, &bytes);
                    read.take(decoded, held);
                }
                Piece::TooLarge { offset } => read.take(too_large(offset), held),
            }
        }
        Ok(())
    }

    /// Pieces that stand by themselves, decoded side by side and taken in order.
    fn pieces(
        &self,
        input: &Input,
        mut pieces: Pieces<Stream>,
        held: &mut Held,
        read: &mut FileRead,
    ) -> std::io::Result<()> {
        let most = self.workers.max(1) * JOBS_PER_WORKER;
        // Neither channel is ever full: no more than `most` pieces are under way.
        let (to_do, jobs) = sync_channel::<(u64, u64, Vec<u8>)>(most);
        let (done, results) = sync_channel::<(u64, Decoded)>(most);
        let jobs = Mutex::new(jobs);
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                let (jobs, done) = (&jobs, done.clone());
                scope.spawn(move || work(input, self.rules, jobs, &done));
            }
            drop(done);
            let mut order = Order { results, waiting: BTreeMap::new(), next: 0, sent: 0 };
            let outcome = loop {
                let piece = match pieces.next_piece() {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                };
                let Piece::Whole { offset, bytes } = piece else {
                    let Piece::TooLarge { offset } = piece else { continue };
                    order.finish(held, read);
                    read.take(too_large(offset), held);
                    continue;
                };
                if bytes.trim_ascii().is_empty() {
                    continue;
                }
                if to_do.send((order.sent, offset, bytes)).is_err() {
                    break Ok(());
                }
                order.sent += 1;
                if order.sent - order.next >= most as u64 {
                    order.take_one(held, read);
                }
            };
            drop(to_do);
            order.finish(held, read);
            outcome
        })
    }
}

/// Decodes pieces until there are no more.
fn work(
    input: &Input,
    rules: &Rules,
    jobs: &Mutex<Receiver<(u64, u64, Vec<u8>)>>,
    done: &SyncSender<(u64, Decoded)>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((turn, offset, bytes)) = job else { return };
        if done.send((turn, decoded::piece(input, rules, offset, &bytes))).is_err() {
            return;
        }
    }
}

/// Results in the order of the file, so that the same files always give the same answer.
struct Order {
    results: Receiver<(u64, Decoded)>,
    waiting: BTreeMap<u64, Decoded>,
    next: u64,
    sent: u64,
}

impl Order {
    fn take_one(&mut self, held: &mut Held, read: &mut FileRead) {
        while !self.waiting.contains_key(&self.next) {
            let Ok((turn, decoded)) = self.results.recv() else { return };
            self.waiting.insert(turn, decoded);
        }
        if let Some(decoded) = self.waiting.remove(&self.next) {
            read.take(decoded, held);
        }
        self.next += 1;
    }

    fn finish(&mut self, held: &mut Held, read: &mut FileRead) {
        while self.next < self.sent {
            let before = self.next;
            self.take_one(held, read);
            if self.next == before {
                return;
            }
        }
    }
}

impl FileRead {
    fn take(&mut self, decoded: Decoded, held: &mut Held) {
        self.events += decoded.rows.len() as u64;
        self.facts.merge(decoded.facts);
        held.add(&decoded.rows, &decoded.bytes);
        for rejected in decoded.rejected {
            self.rejected += 1;
            *self.by_reason.entry(rejected.reason).or_default() += 1;
            if self.first_rejects.len() < REJECTS_SHOWN {
                self.first_rejects.push(rejected);
            }
        }
    }
}

fn too_large(offset: u64) -> Decoded {
    let rejected = Rejected {
        offset,
        length: RECORD_MOST_BYTES as u64,
        reason: event::RejectReason::TooLarge.name(),
        detail: format!("a record of more than {RECORD_MOST_BYTES} bytes"),
        head: String::new(),
    };
    Decoded { rejected: vec![rejected], ..Decoded::default() }
}

/// What a kind of file is called.
fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Fastly => "Fastly lines",
        Kind::Envoy => "Envoy lines",
        Kind::Als => "captured access log stream",
        Kind::OtlpJson => "OTLP logs (JSON)",
        Kind::OtlpFrames | Kind::OtlpMessage => "OTLP logs (protobuf)",
    }
}

/// The error without its first half, which only repeats the path.
fn root_cause(path: &Path, error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let prefix = format!("read {}: ", path.display());
    text.strip_prefix(&prefix).unwrap_or(&text).to_owned()
}
