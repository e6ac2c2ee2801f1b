//! The handle: opening, appending, taking sealed segments, closing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::batch::{Batch, Framed};
use crate::error::{AppendError, OpenError, SealError};
use crate::files::{FileLayer, StdFiles};
use crate::intake::Intake;
use crate::names::{CORRUPT, LOCK};
use crate::options::Options;
use crate::recover::{Recovered, Recovery, recover};
use crate::seal::unix_ms;
use crate::sealed::Sealed;
use crate::shared::{Progress, Shared};
use crate::shelf::Shelf;
use crate::stats::Stats;
use crate::writer::Writer;

type Answer = oneshot::Receiver<Result<(), AppendError>>;

/// An open spool: cheap to clone, one directory, one writer thread.
///
/// When the last clone goes, what is queued is still written and the thread ends; that drop waits for it, so prefer
/// [`Spool::close`] in async code.
#[derive(Debug, Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    gone: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.intake.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its panic, if any, was reported by the runtime; there is nobody left to tell here.
            let _ = thread.join();
        }
    }
}

impl Spool {
    /// Opens the spool in `dir`, creating it if need be, and recovers what an earlier run left.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it, an option makes no sense, or the directory cannot be used. Single
    /// damaged files are in the [`Recovery`], never an error.
    pub async fn open(dir: impl Into<PathBuf>, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Arc::new(StdFiles), dir, options).await
    }

    /// [`Spool::open`] on a file layer of the caller's choice: how tests break the disk.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub async fn open_on(
        layer: Arc<dyn FileLayer>,
        dir: impl Into<PathBuf>,
        options: Options,
    ) -> Result<(Self, Recovery), OpenError> {
        options.validate()?;
        let dir = dir.into();
        let path = dir.clone();
        let opened = tokio::task::spawn_blocking(move || open_blocking(layer, dir, options)).await;
        opened.map_err(|error| io_error("recover", &path)(std::io::Error::other(error)))?
    }

    /// Resolves once the batch is durable. An empty batch is so at once.
    ///
    /// Cancel-safe: the batch is queued, whole, at the first poll; dropping the future later only means that nobody
    /// hears the outcome, and the batch will most likely be durable all the same.
    ///
    /// # Errors
    /// After an error the batch was not acknowledged and will not be given to a reader in this run.
    /// [`AppendError::retry_after`] tells whether to try again.
    pub async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        let Some(framed) = self.framed(batch)? else { return Ok(()) };
        self.shared().intake.push(framed).map_or_else(|(_, error)| Err(error), Ok)?.outcome().await
    }

    /// [`Spool::append`] for senders that are slowed rather than refused (streams, files): waits while the spool is
    /// full. Wrap it in a timeout where the wait must end.
    ///
    /// # Errors
    /// As [`Spool::append`], but never [`AppendError::Full`].
    pub async fn append_when_room(&self, batch: Batch) -> Result<(), AppendError> {
        let Some(mut framed) = self.framed(batch)? else { return Ok(()) };
        let intake = &self.shared().intake;
        loop {
            let room = intake.room().notified();
            tokio::pin!(room);
            // Registered before looking, so room made in between is not missed.
            room.as_mut().enable();
            match intake.push(framed) {
                Ok(answer) => return answer.outcome().await,
                Err((back, AppendError::Full { retry_after, .. })) => {
                    framed = back;
                    // A pause after an I/O error ends without a notification.
                    let _ = tokio::time::timeout(retry_after, room).await;
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn framed(&self, batch: Batch) -> Result<Option<Framed>, AppendError> {
        if batch.is_empty() { Ok(None) } else { batch.frame(&self.shared().options).map(Some) }
    }

    /// Seals the open segment; when this resolves, every batch submitted before is in a sealed one.
    ///
    /// # Errors
    /// [`SealError`]: durable all the same, and sealing is retried.
    pub async fn seal_now(&self) -> Result<(), SealError> {
        self.shared().intake.push_seal()?.await.unwrap_or(Err(SealError::Closed))
    }

    /// The oldest sealed segment that nobody holds; waits for one. `None` once the spool is closed and none is left.
    ///
    /// Cancel-safe. Several tasks may wait; each segment goes to one of them.
    pub async fn next_sealed(&self) -> Option<Sealed> {
        let meta = self.shared().shelf.next().await?;
        Some(Sealed::new(meta, Arc::clone(self.shared())))
    }

    /// Writes what is queued, seals it, ends the thread. Sealed segments may still be taken and finished afterwards.
    /// The directory stays locked until the spool and every [`Sealed`] are dropped.
    ///
    /// # Errors
    /// [`SealError`]: something durable could not be sealed; the next start does it.
    pub async fn close(&self) -> Result<(), SealError> {
        let last = self.shared().intake.push_seal();
        self.shared().intake.close();
        // Closed before, or the seal queue is full: then there is only the end to wait for.
        let sealed = match last {
            Ok(answer) => answer.await.unwrap_or(Ok(())),
            Err(_) => Ok(()),
        };
        // An error means that the writer is gone, which is what we wait for.
        let _ = self.inner.gone.clone().wait_for(|gone| *gone).await;
        sealed
    }

    /// A snapshot for metrics and readiness. Takes three short locks, no I/O.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let (depth, shelf) = (shared.intake.depth(), shared.shelf.count());
        let progress = shared.progress();
        let (open, open_since) = progress.open.unzip();
        let oldest =
            [shelf.oldest_unix_ms, open_since, progress.failing_since_unix_ms].into_iter().flatten().min();
        Stats {
            used_bytes: depth.used_bytes,
            max_bytes: shared.options.max_bytes,
            open_bytes: open.map_or(0, |extent| extent.bytes),
            open_records: open.map_or(0, |extent| extent.records),
            sealed_waiting: shelf.waiting,
            sealed_out: shelf.out,
            seals_failing: progress.seals_failing,
            oldest_age: oldest.map(|ms| Duration::from_millis(unix_ms().saturating_sub(ms))),
            queue_batches: depth.batches,
            queue_bytes: depth.bytes,
            appended_batches: progress.appended_batches,
            appended_records: progress.appended_records,
            appended_bytes: progress.appended_bytes,
            segments_sealed: progress.segments_sealed,
            fsyncs: progress.fsyncs,
            appends_refused: depth.refused,
            appends_failed: progress.appends_failed,
            io_errors: progress.io_errors,
            last_error: progress.last_error.as_ref().map(|(told, at)| (told.clone(), at.elapsed())),
            writing_for: progress.writing_since.map(|since| since.elapsed()),
            writer_gone: progress.writer_gone,
            reserve_intact: progress.reserve_intact,
            set_aside: progress.set_aside,
            dropped_segments: progress.dropped_segments,
            dropped_records: progress.dropped_records,
            below_floor: progress.below_floor,
            waiting_records: shelf.records + open.map_or(0, |extent| extent.records),
            closed: depth.closed,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

/// The writer answers every batch it took; if it vanished, the batch is not acknowledged.
trait Outcome {
    async fn outcome(self) -> Result<(), AppendError>;
}

impl Outcome for Answer {
    async fn outcome(self) -> Result<(), AppendError> {
        self.await.unwrap_or(Err(AppendError::Closed))
    }
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { verb, path, source }
}

fn open_blocking(
    layer: Arc<dyn FileLayer>,
    dir: PathBuf,
    options: Options,
) -> Result<(Spool, Recovery), OpenError> {
    layer.create_dir(&dir).map_err(io_error("create", &dir))?;
    let lock_path = dir.join(LOCK);
    let lock = layer.lock(&lock_path).map_err(io_error("lock", &lock_path))?;
    let Some(lock) = lock else { return Err(OpenError::Locked { dir }) };
    let corrupt = dir.join(CORRUPT);
    layer.create_dir(&corrupt).map_err(io_error("create", &corrupt))?;

    let recovered = recover(layer.as_ref(), &dir, options.reserve_bytes)?;
    let Recovered { report, sealed, used_bytes, next_sequence, mut reserve } = recovered;
    if let Err(error) = reserve.restore(layer.as_ref()) {
        tracing::warn!(dir = %dir.display(), %error, "no room for the spool's disk reserve; it is tried again");
    }
    let set_aside = report.set_aside.len() as u64;
    let progress = Progress { reserve_intact: reserve.is_intact(), set_aside, ..Progress::default() };
    let shared = Arc::new(Shared {
        intake: Intake::new(&options, used_bytes),
        shelf: Shelf::default(),
        progress: Mutex::new(progress),
        layer,
        dir,
        options,
        _lock: lock,
    });
    for meta in sealed {
        shared.shelf.put(meta);
    }
    let (gone_sender, gone) = watch::channel(false);
    let writer = Writer::new(Arc::clone(&shared), reserve, next_sequence, gone_sender);
    let spawned = thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run());
    let thread = spawned.map_err(io_error("start the writer thread of", &shared.dir))?;
    let inner = Inner { shared, gone, thread: Mutex::new(Some(thread)) };
    Ok((Spool { inner: Arc::new(inner) }, report))
}
