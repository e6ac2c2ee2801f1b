//! What senders report of themselves: Envoy's own counts of the access log records it wrote and dropped, read from its
//! statistics (`stats` of a source) and entered into the ledger beside what was received.
//!
//! Envoy counts as written what it hands to a connection, also to one that nobody takes: only both numbers together tell
//! of a loss. What is entered is the growth between two looks; the first look at a sender is where counting begins. What
//! was seen last is kept in `reported` in the data directory, so that what senders wrote while the service was down is
//! counted, too: that is when most is lost.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use event::Counter;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::books::Books;
use crate::config::{Settings, Source, SourceKind};
use crate::metrics::Metrics;

/// How long a sender may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Senders asked at once.
const AT_ONCE: usize = 8;
/// Largest answer that is read. A sidecar's is some megabytes where every statistic is on.
const MOST_BYTES: usize = 64 << 20;
/// Longest line that is read whole.
const LINE_BYTES: usize = 64 << 10;

/// Counts since a sender's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Report {
    written: u64,
    dropped: u64,
}

/// Looks at the senders of all sources that name some, every `interval`, until told to stop.
pub(crate) fn watch(
    settings: &Settings,
    books: Arc<Books>,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("prepare the HTTP client for senders' statistics")?;
    let senders: Vec<(Arc<Source>, String)> = settings
        .sources
        .iter()
        .flat_map(|source| {
            let source = Arc::new(source.clone());
            source.stats.clone().into_iter().map(move |url| (Arc::clone(&source), url))
        })
        .collect();
    let (interval, file) = (settings.stats_interval, settings.data_dir.join("reported"));
    Ok(async move {
        if senders.is_empty() {
            return;
        }
        let mut known = kept(&file, &senders);
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stopping.cancelled() => return,
            }
            let before = known.clone();
            let mut answers = futures_util::stream::iter(senders.clone())
                .map(|(source, url)| {
                    let client = client.clone();
                    async move {
                        let answer = ask(&client, source.kind, &url).await;
                        (source, url, answer)
                    }
                })
                .buffer_unordered(AT_ONCE);
            loop {
                let next = tokio::select! {
                    next = answers.next() => next,
                    () = stopping.cancelled() => return,
                };
                let Some((source, url, answer)) = next else { break };
                let place = format!("{} {url}", source.name);
                match answer {
                    Ok(report) => {
                        if let Some(Some(before)) = known.insert(place, Some(report)) {
                            enter(&books, &metrics, &source, grown(before, report));
                        }
                    }
                    Err(error) => {
                        metrics.reported(&source, "unanswered", 1);
                        // Said once: a sender that is gone stays gone, and others come in its place.
                        if let Entry::Vacant(new) = known.entry(place) {
                            new.insert(None);
                            tracing::warn!(
                                source = source.name,
                                url,
                                error = format!("{error:#}"),
                                "a sender's statistics cannot be read; what it loses is not seen"
                            );
                        }
                    }
                }
            }
            drop(answers);
            if known != before {
                keep(&file, &known).await;
            }
        }
    })
}

/// The last report of each sender, `None` for one that has not answered yet; by source and URL.
type Known = BTreeMap<String, Option<Report>>;

/// What was seen last by the run before, of the senders that there still are.
fn kept(file: &Path, senders: &[(Arc<Source>, String)]) -> Known {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let read = |line: &str| {
        let (written, rest) = line.split_once(' ')?;
        let (dropped, place) = rest.split_once(' ')?;
        let report = Report { written: written.parse().ok()?, dropped: dropped.parse().ok()? };
        let is_there = senders.iter().any(|(source, url)| place == format!("{} {url}", source.name));
        is_there.then(|| (place.to_owned(), Some(report)))
    };
    text.lines().filter_map(read).collect()
}

/// Keeps it for the next run. A torn file costs what senders wrote meanwhile, so it is put in place whole.
async fn keep(file: &Path, known: &Known) {
    let seen = known.iter().filter_map(|(place, report)| report.map(|report| (place, report)));
    let text: String =
        seen.map(|(place, report)| format!("{} {} {place}\n", report.written, report.dropped)).collect();
    let (file, fresh): (PathBuf, PathBuf) = (file.to_owned(), file.with_extension("tmp"));
    let written = tokio::task::spawn_blocking(move || {
        std::fs::write(&fresh, text)?;
        std::fs::rename(&fresh, &file)
    });
    if let Ok(Err(error)) = written.await {
        tracing::warn!(%error, "cannot keep what senders reported; what they lose while the service is down is not seen");
    }
}

fn enter(books: &Books, metrics: &Metrics, source: &Source, grown: Report) {
    for (counter, outcome, count) in [
        (Counter::SenderWritten, "written", grown.written),
        (Counter::SenderDropped, "dropped", grown.dropped),
    ] {
        if count > 0 {
            books.note(&source.tenant, &source.name, counter, count);
            metrics.reported(source, outcome, count);
        }
    }
}

/// What came since the last look. A sender that counts less than before was started again.
fn grown(before: Report, now: Report) -> Report {
    let growth = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
    Report { written: growth(before.written, now.written), dropped: growth(before.dropped, now.dropped) }
}

async fn ask(client: &reqwest::Client, kind: SourceKind, url: &str) -> anyhow::Result<Report> {
    let response = client.get(url).send().await?.error_for_status()?;
    let mut reading = Reading::new(kind);
    let mut chunks = response.bytes_stream();
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        bytes += chunk.len();
        anyhow::ensure!(
            bytes <= MOST_BYTES,
            "the answer has more than {MOST_BYTES} bytes: add a filter to the URL"
        );
        reading.push(&chunk);
    }
    reading
        .finish()
        .context("no count of access logs is in the answer: let the proxy keep `access_logs` statistics")
}

/// Reads Prometheus text as it comes, and keeps no more of it than a line.
struct Reading {
    prefix: &'static str,
    line: Vec<u8>,
    found: Option<Report>,
}

impl Reading {
    fn new(kind: SourceKind) -> Self {
        let prefix = match kind {
            SourceKind::Otlp => "envoy_access_logs_open_telemetry_access_log_",
            _ => "envoy_access_logs_grpc_access_log_",
        };
        Self { prefix, line: Vec::new(), found: None }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            self.keep(head);
            self.end_line();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Some((name, value)) = std::str::from_utf8(&line).ok().and_then(|line| sample(line, self.prefix))
        else {
            return;
        };
        let report = self.found.get_or_insert_default();
        if name.ends_with("logs_written") {
            report.written = report.written.saturating_add(value);
        } else if name.ends_with("logs_dropped") {
            report.dropped = report.dropped.saturating_add(value);
        }
    }

    /// The sum over all loggers; `None` where there is none.
    fn finish(mut self) -> Option<Report> {
        self.end_line();
        self.found
    }
}

/// Name and value of `name{labels} value [time]`, if the name begins so.
fn sample<'l>(line: &'l str, prefix: &str) -> Option<(&'l str, u64)> {
    let rest = line.strip_prefix(prefix)?;
    let (name, rest) = rest.split_once(['{', ' '])?;
    // A label's value may hold blanks, so that the value is what comes behind the last brace.
    let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value).split_whitespace().next()?;
    let value: f64 = value.parse().ok()?;
    (value >= 0.0).then_some((name, value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE envoy_access_logs_grpc_access_log_logs_dropped counter\n\
        envoy_access_logs_grpc_access_log_logs_dropped{} 3\n\
        # TYPE envoy_access_logs_grpc_access_log_logs_written counter\n\
        envoy_access_logs_grpc_access_log_logs_written{a=\"} 9 {\"} 40\n\
        envoy_access_logs_grpc_access_log_shop_logs_written 2 1795290064000\n\
        envoy_access_logs_open_telemetry_access_log_logs_written{} 80\n\
        envoy_http_downstream_rq_total{} 7";

    fn read(kind: SourceKind, text: &str, piece: usize) -> Option<Report> {
        let mut reading = Reading::new(kind);
        text.as_bytes().chunks(piece).for_each(|chunk| reading.push(chunk));
        reading.finish()
    }

    #[test]
    fn counts_are_found_wherever_the_text_is_cut() {
        for piece in [1, 7, 1_000] {
            assert_eq!(read(SourceKind::Als, TEXT, piece), Some(Report { written: 42, dropped: 3 }));
            assert_eq!(read(SourceKind::Otlp, TEXT, piece), Some(Report { written: 80, dropped: 0 }));
        }
        assert_eq!(read(SourceKind::Als, "envoy_http_downstream_rq_total{} 7\n", 9), None);
        assert_eq!(read(SourceKind::Als, &"x".repeat(3 * LINE_BYTES), 1_000), None);
    }

    #[tokio::test]
    async fn what_was_seen_last_is_kept_for_the_senders_that_there_still_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reported");
        let source = Arc::new(Source::open(SourceKind::Als, "als"));
        let report = Report { written: 5, dropped: 2 };
        let known: Known = [
            ("als http://a/ b".to_owned(), Some(report)),
            ("als http://gone/".to_owned(), Some(report)),
            ("als http://silent/".to_owned(), None),
        ]
        .into();
        keep(&file, &known).await;
        let senders = ["http://a/ b", "http://silent/"].map(|url| (Arc::clone(&source), url.to_owned()));
        assert_eq!(kept(&file, &senders), [("als http://a/ b".to_owned(), Some(report))].into());
        std::fs::write(&file, "x y z\n7\n").unwrap();
        assert!(kept(&file, &senders).is_empty());
    }

    #[test]
    fn a_sender_that_was_started_again_counts_from_nothing() {
        let report = |written, dropped| Report { written, dropped };
        assert_eq!(grown(report(10, 1), report(15, 1)), report(5, 0));
        assert_eq!(grown(report(10, 4), report(3, 0)), report(3, 0));
    }
}
