//! Health tied to progress: alive is not ready, and ready means that a delivery would be accepted now.
//!
//! **Not alive** is only what a restart mends: the writer thread is gone, or has been at one disk operation for longer
//! than any kernel retries it, as on a mount that was lost. The answer comes from the runtime that serves everyone, so
//! a runtime that is stuck fails the probe by not answering.
//!
//! **Ready although nothing is shipped**, on purpose: the store is the same for all instances. If all of them turned
//! senders away at once, what the spools have room for (hours) would be lost where the sender keeps nothing. The spool
//! being full is when it ends.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use spool::Spool;
use tokio_util::sync::CancellationToken;

use super::{Api, Problem};
use crate::ship::Progress;

/// An I/O error of the spool this recent means that deliveries are refused.
const RECENT_ERROR: Duration = Duration::from_secs(5);
/// Sealing and shipping take one second or two; an answer need not mention that.
const USUAL_WAIT: Duration = Duration::from_secs(4);
/// A writer at one turn for so long does not acknowledge; a slow disk needs a tenth of it.
const WRITER_STUCK: Duration = Duration::from_secs(5);
/// Kernels give up on a disk after 30 to 180 s, and report an error then. What still hangs will not come back by itself.
const WRITER_LOST: Duration = Duration::from_secs(300);
/// Records this old without a shipped segment in between: shipping hangs. Longer than any restart of the engine.
const SHIPPING_STUCK: Duration = Duration::from_secs(120);

/// What readiness is judged by; clones share it.
#[derive(Clone)]
pub(crate) struct Readiness {
    spool: Arc<Spool>,
    progress: Arc<Progress>,
    prepared: Arc<AtomicBool>,
    stopping: CancellationToken,
}

impl Readiness {
    pub(crate) fn new(spool: Arc<Spool>, progress: Arc<Progress>, stopping: CancellationToken) -> Self {
        Self { spool, progress, prepared: Arc::default(), stopping }
    }

    /// The store's schema is current: queries can be answered.
    pub(crate) fn prepared(&self) {
        self.prepared.store(true, Ordering::Release);
    }

    pub(crate) fn spool(&self) -> spool::Stats {
        self.spool.stats()
    }

    /// What answers do not show yet: records that wait in this instance's spool for longer than is usual.
    pub(crate) fn not_yet_visible(&self) -> Option<(u64, Duration)> {
        let stats = self.spool.stats();
        let age = stats.oldest_age.filter(|age| *age > USUAL_WAIT)?;
        (stats.waiting_records > 0).then_some((stats.waiting_records, age))
    }

    /// Why this process will accept nothing until it is started anew.
    fn lost(&self) -> Option<String> {
        let stats = self.spool.stats();
        if stats.writer_gone && !self.stopping.is_cancelled() {
            return Some("the spool's writer has ended; the log says why".to_owned());
        }
        let stuck = stats.writing_for.filter(|stuck| *stuck > WRITER_LOST)?;
        Some(format!("the spool's disk has not answered for {stuck:.0?}"))
    }

    /// Why a sender should go elsewhere, and what is slow but works.
    fn judge(&self) -> (Vec<String>, Vec<String>) {
        let stats = self.spool.stats();
        let (mut down, mut slow) = (Vec::new(), Vec::new());
        if self.stopping.is_cancelled() || stats.closed {
            down.push("draining".to_owned());
        }
        if !self.prepared.load(Ordering::Acquire) {
            down.push("the store's schema is not prepared yet".to_owned());
        }
        if stats.below_floor {
            down.push("the spool's disk has less room than `spool.min_free`".to_owned());
        }
        if stats.used_bytes >= stats.max_bytes {
            down.push(format!("the spool is full ({} of {} bytes)", stats.used_bytes, stats.max_bytes));
        }
        if let Some(stuck) = stats.writing_for.filter(|stuck| *stuck > WRITER_STUCK) {
            down.push(format!("the spool's disk has not answered for {stuck:.0?}"));
        }
        if let Some((error, ago)) = stats.last_error.filter(|(_, ago)| *ago < RECENT_ERROR) {
            down.push(format!("the spool's disk failed {ago:.0?} ago: {error}"));
        }
        // Senders need not go elsewhere for this: what they send is durable and waits.
        if let Some(age) = stats.oldest_age.filter(|age| (*age).min(self.progress.since()) > SHIPPING_STUCK) {
            slow.push(format!(
                "nothing was shipped for {:.0?}; the oldest waiting record is {age:.0?} old",
                self.progress.since()
            ));
        }
        (down, slow)
    }
}

/// 200 unless only a restart helps.
pub(super) async fn alive(State(api): State<Api>) -> Response {
    match api.readiness.lost() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("restart: {why}\n")).into_response(),
    }
}

/// 200 where a delivery would be accepted now, 503 with the reasons where not.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let (down, slow) = api.readiness.judge();
    let mut body = if down.is_empty() { "ready\n".to_owned() } else { "not ready\n".to_owned() };
    for reason in down.iter().chain(&slow) {
        let _ = writeln!(body, "- {reason}");
    }
    let status = if down.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

/// Prometheus exposition.
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let uses = api.keyrings.iter().flat_map(|keyring| {
        let (kind, name) = keyring.owner();
        keyring.uses().into_iter().map(move |(token, at)| (kind, name.to_owned(), token.short(), at))
    });
    api.metrics.set_tokens(uses);
    let text = api
        .metrics
        .text(&api.readiness.spool())
        .map_err(|_| Problem::unavailable("metrics cannot be written"))?;
    let kind = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([kind], text).into_response())
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::io;
    use std::path::Path;
    use std::sync::mpsc;
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    use spool::{Batch, DirEntry, FileLayer, SegmentFile, StdFiles};

    use super::*;

    /// A disk whose first new file hangs until told to go on.
    struct Hanging(Mutex<Option<mpsc::Receiver<()>>>);

    impl FileLayer for Hanging {
        fn create_dir(&self, dir: &Path) -> io::Result<()> {
            StdFiles.create_dir(dir)
        }
        fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
            StdFiles.lock(path)
        }
        fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
            StdFiles.list(dir)
        }
        fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
            if path.extension().is_some_and(|extension| extension == "open") {
                let hang = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(hang) = hang {
                    let _ = hang.recv();
                }
            }
            StdFiles.create(path)
        }
        fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
            StdFiles.open(path)
        }
        fn read(&self, path: &Path, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
            StdFiles.read(path, offset, max_bytes)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            StdFiles.rename(from, to)
        }
        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            StdFiles.link(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            StdFiles.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            StdFiles.sync_dir(dir)
        }
        fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
            StdFiles.free_bytes(dir)
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_without_an_error_is_seen_and_seen_to_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let (go_on, hang) = mpsc::channel();
        let disk = Arc::new(Hanging(Mutex::new(Some(hang))));
        let opened = Spool::open_on(disk, directory.path().join("spool"), spool::Options::default()).await;
        let spool = Arc::new(opened.unwrap().0);
        let readiness = Readiness::new(Arc::clone(&spool), Arc::default(), CancellationToken::new());
        readiness.prepared();
        assert!(readiness.judge().0.is_empty());
        let appending = Arc::clone(&spool);
        let append = tokio::spawn(async move {
            let mut batch = Batch::new();
            batch.push(b"record");
            appending.append(batch).await
        });
        let until = Instant::now() + 3 * WRITER_STUCK;
        while readiness.judge().0.is_empty() {
            assert!(Instant::now() < until, "never said that the disk hangs");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(readiness.judge().0[0].contains("has not answered for"), "{:?}", readiness.judge().0);
        assert_eq!(readiness.lost(), None, "a restart would not help yet");
        go_on.send(()).unwrap();
        append.await.unwrap().unwrap();
        // The writer acknowledges before its turn is over.
        let until = Instant::now() + WRITER_STUCK;
        while !readiness.judge().0.is_empty() {
            assert!(Instant::now() < until, "still not ready: {:?}", readiness.judge().0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_gone_asks_for_a_restart_unless_the_service_ends() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(directory.path(), spool::Options::default()).await.unwrap().0);
        let stopping = CancellationToken::new();
        let readiness = Readiness::new(Arc::clone(&spool), Arc::default(), stopping.clone());
        assert_eq!(readiness.lost(), None);
        spool.close().await.unwrap();
        assert!(readiness.lost().is_some());
        stopping.cancel();
        assert_eq!(readiness.lost(), None);
    }
}
