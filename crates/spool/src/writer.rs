//! The one thread that writes: takes what is queued, writes it, syncs once, acknowledges, seals.

mod room;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::error::{FullCause, SealError};
use crate::files::SegmentFile;
use crate::intake::{Pending, Turn, io_failure};
use crate::layout::{self, Extent, HEADER_BYTES, Header, TRAILER_BYTES};
use crate::names::{self, Kind};
use crate::reserve::Reserve;
use crate::seal::{Closing, unix_ms};
use crate::shared::Shared;

/// Small batches are gathered into writes of this size; a larger batch is written as it is.
const GATHER_BYTES: usize = 256 << 10;
/// How soon after its loss the reserve is built anew; until then the disk is likely still full.
const RESERVE_RETRY: Duration = Duration::from_secs(30);

/// Sealed segments that nobody holds from which on a segment's age is no reason to seal it.
const BACKLOG: usize = 2;
pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Acknowledged segments whose sealing failed.
    failing: Vec<Closing>,
    retry_at: Option<Instant>,
    reserve: Reserve,
    reserve_at: Option<Instant>,
    next_sequence: u64,
    gather: Vec<u8>,
    gone: watch::Sender<bool>,
}

/// The segment being written.
struct Active {
    file: Box<dyn SegmentFile>,
    path: PathBuf,
    header: Header,
    durable: Extent,
    /// When it is sealed for its age.
    due: Instant,
}

impl Active {
    /// Whether so much more may be added to what `extent` holds already.
    fn fits(extent: &Extent, pending: &Pending, shared: &Shared) -> bool {
        let bytes = extent.bytes + pending.framed.len() + TRAILER_BYTES as u64;
        let records = extent.records + u64::from(pending.framed.records);
        bytes <= shared.options.segment_max_bytes && records <= u64::from(shared.options.segment_max_records)
    }
}

impl Drop for Writer {
    /// Also on a panic: nobody may wait for a thread that is gone.
    fn drop(&mut self) {
        let mut progress = self.shared.progress();
        (progress.writing_since, progress.writer_gone) = (None, true);
        drop(progress);
        self.shared.intake.abandon();
        self.shared.shelf.close();
        self.gone.send_replace(true);
    }
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        reserve: Reserve,
        next_sequence: u64,
        gone: watch::Sender<bool>,
    ) -> Self {
        let reserve_at = (!reserve.is_intact()).then(|| Instant::now() + RESERVE_RETRY);
        Self {
            shared,
            active: None,
            failing: Vec::new(),
            retry_at: None,
            reserve,
            reserve_at,
            next_sequence,
            gather: Vec::new(),
            gone,
        }
    }

    /// Runs until the intake is closed and empty. Blocks; has a thread of its own.
    pub(crate) fn run(mut self) {
        loop {
            self.shared.progress().writing_since = None;
            let Turn { mut group, seals, closing } = self.shared.intake.take(self.deadline());
            self.shared.progress().writing_since = Some(Instant::now());
            match self.obstacle(&group) {
                None => self.write_group(group),
                Some(cause) => self.refuse(&mut group, cause),
            }
            let now = Instant::now();
            if closing || !seals.is_empty() {
                self.seal_active();
            } else if self.aged_at().is_some_and(|at| at <= now) {
                self.seal_aged(now);
            }
            if closing || !seals.is_empty() || self.retry_at.is_some_and(|at| at <= now) {
                self.retry_seals();
            }
            if self.reserve_at.is_some_and(|at| at <= now) && !closing {
                self.restore_reserve();
            }
            for ack in seals {
                // A caller that stopped waiting is no error.
                let _ = ack.send(self.seal_outcome());
            }
            if closing {
                break;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.aged_at(), self.retry_at, self.reserve_at].into_iter().flatten().min()
    }

    fn aged_at(&self) -> Option<Instant> {
        self.active.as_ref().map(|active| active.due)
    }

    /// Where segments queue up already, one more makes no record visible sooner: this one may grow instead. Few large
    /// segments are shipped many times faster than many small ones, which is what catching up needs.
    fn seal_aged(&mut self, now: Instant) {
        match &mut self.active {
            Some(active) if self.shared.shelf.count().waiting >= BACKLOG => {
                active.due = now + self.shared.options.segment_max_age;
            }
            _ => self.seal_active(),
        }
    }

    /// Writes a group in as few fsyncs as segment bounds allow: one, nearly always.
    fn write_group(&mut self, mut group: Vec<Pending>) {
        let mut start = 0;
        while start < group.len() {
            let rest = group.split_at_mut(start).1;
            let fitting = self.make_room(rest);
            let now = rest.split_at_mut(fitting).0;
            match self.commit(now) {
                Ok(()) => self.acknowledge(now),
                Err(error) => return self.fail(rest, error),
            }
            start += fitting;
        }
    }

    /// How many of these batches the open segment takes; seals it first if that would be none. At least 1, as
    /// every batch was checked to fit an empty segment.
    fn make_room(&mut self, group: &[Pending]) -> usize {
        let open = self.active.as_ref().map(|active| active.durable);
        let first_fits = group
            .first()
            .is_none_or(|first| Active::fits(&open.unwrap_or(Extent::EMPTY), first, &self.shared));
        if !first_fits {
            self.seal_active();
        }
        let mut extent = self.active.as_ref().map_or(Extent::EMPTY, |active| active.durable);
        let fits = |pending: &&Pending| {
            let fits = Active::fits(&extent, pending, &self.shared);
            extent = extent.with(pending.framed.len(), pending.framed.records, 0);
            fits
        };
        group.iter().take_while(fits).count().max(1)
    }

    /// Writes and syncs these batches into the open segment, or a new one. On an error none of them counts.
    fn commit(&mut self, group: &mut [Pending]) -> io::Result<()> {
        let opened = match self.active.take() {
            Some(active) => active,
            None => self.open_segment()?,
        };
        let active = self.active.insert(opened);
        let fresh = active.durable.batches == 0;
        self.gather.clear();
        let mut extent = active.durable;
        // Where the gathered bytes begin in the file.
        let mut gather_at = extent.bytes;
        if fresh {
            self.gather.extend_from_slice(&active.header.encode());
            gather_at = 0;
        }
        for Pending { framed, .. } in group.iter_mut() {
            let crc = layout::bind_batch(&mut framed.bytes, &active.header.id, extent.bytes);
            if self.gather.len() + framed.bytes.len() > GATHER_BYTES {
                flush(active.file.as_mut(), &mut self.gather, gather_at)?;
                gather_at = extent.bytes;
            }
            if framed.bytes.len() > GATHER_BYTES {
                active.file.write_all_at(&framed.bytes, extent.bytes)?;
                gather_at = extent.bytes + framed.len();
            } else {
                self.gather.extend_from_slice(&framed.bytes);
            }
            extent = extent.with(framed.len(), framed.records, crc);
        }
        flush(active.file.as_mut(), &mut self.gather, gather_at)?;
        active.file.sync()?;
        if fresh {
            // Without this the file itself might be gone after a power failure, durable blocks and all.
            self.shared.layer.sync_dir(&self.shared.dir)?;
        }
        active.durable = extent;
        Ok(())
    }

    fn open_segment(&mut self) -> io::Result<Active> {
        let sequence = self.next_sequence;
        // Taken even if creating fails: the name may be there all the same.
        self.next_sequence += 1;
        let path = names::path(&self.shared.dir, sequence, Kind::Open);
        let file = self.shared.layer.create(&path)?;
        self.shared.intake.charge((HEADER_BYTES + TRAILER_BYTES) as u64);
        let header = Header {
            payload_version: self.shared.options.payload_version,
            id: Uuid::new_v4().into_bytes(),
            sequence,
            created_unix_ms: unix_ms(),
        };
        let due = Instant::now() + self.shared.options.segment_max_age;
        Ok(Active { file, path, header, durable: Extent::EMPTY, due })
    }

    fn acknowledge(&mut self, group: &mut [Pending]) {
        let (batches, bytes) = (group.len(), group.iter().map(|p| p.framed.len()).sum::<u64>());
        {
            let mut progress = self.shared.progress();
            progress.appended_batches += batches as u64;
            progress.appended_records += group.iter().map(|p| u64::from(p.framed.records)).sum::<u64>();
            progress.appended_bytes += bytes;
            progress.fsyncs += 1;
            progress.open = self.active.as_ref().map(|a| (a.durable, a.header.created_unix_ms));
        }
        self.shared.intake.settle(batches, bytes, 0);
        for ack in group.iter_mut().filter_map(|p| p.ack.take()) {
            let _ = ack.send(Ok(()));
        }
    }

    /// Nothing of this group is durable: says so, leaves the segment at its durable length, and lets the disk rest.
    fn fail(&mut self, group: &mut [Pending], error: io::Error) {
        tracing::error!(dir = %self.shared.dir.display(), batches = group.len(), %error, "cannot write to the spool");
        self.shared.note_error("write", &error);
        self.shared.progress().appends_failed += group.len() as u64;
        let (pause, error) = (self.shared.options.io_pause, Arc::new(error));
        self.shared.intake.pause(pause, FullCause::Disk);
        self.abandon_active();
        let bytes = group.iter().map(|p| p.framed.len()).sum();
        self.shared.intake.settle(group.len(), bytes, bytes);
        for ack in group.iter_mut().filter_map(|p| p.ack.take()) {
            let _ = ack.send(Err(io_failure(Arc::clone(&error), pause)));
        }
    }

    /// After an error: no further batch into this file, and never again this descriptor.
    fn abandon_active(&mut self) {
        let Some(active) = self.active.take() else { return };
        if active.durable.batches > 0 {
            self.active = Some(active);
            return self.seal_active();
        }
        drop(active.file);
        self.shared.progress().open = None;
        self.shared.intake.release((HEADER_BYTES + TRAILER_BYTES) as u64);
        // Nothing in it was acknowledged, so if it cannot be removed now the next start removes it.
        if let Err(error) = self.shared.layer.remove(&active.path) {
            self.shared.note_error("remove an unused segment", &error);
        }
    }

    fn seal_active(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.shared.progress().open = None;
        self.seal(Closing { header: active.header, extent: active.durable });
    }

    fn retry_seals(&mut self) {
        self.retry_at = None;
        for closing in std::mem::take(&mut self.failing) {
            self.seal(closing);
        }
    }

    fn seal(&mut self, closing: Closing) {
        let result = closing.seal(self.shared.layer.as_ref(), &self.shared.dir, &mut self.reserve, &[]);
        let sealed = result.is_ok();
        match result {
            Ok(meta) => self.shared.shelf.put(meta),
            Err(error) => {
                tracing::error!(dir = %self.shared.dir.display(), sequence = closing.header.sequence, %error,
                    "cannot seal a segment; what it holds is durable and sealing is retried");
                self.shared.note_error("seal", &error);
                self.failing.push(closing);
                self.retry_at = Some(Instant::now() + self.shared.options.io_pause);
            }
        }
        if !self.reserve.is_intact() && self.reserve_at.is_none() {
            tracing::warn!(dir = %self.shared.dir.display(), "disk is full: the spool gave up its reserve to seal");
            self.reserve_at = Some(Instant::now() + RESERVE_RETRY);
        }
        let mut progress = self.shared.progress();
        progress.fsyncs += 1;
        progress.segments_sealed += u64::from(sealed);
        progress.seals_failing = self.failing.len();
        progress.failing_since_unix_ms = self.failing.iter().map(|c| c.header.created_unix_ms).min();
        progress.reserve_intact = self.reserve.is_intact();
    }

    fn seal_outcome(&self) -> Result<(), SealError> {
        if self.failing.is_empty() {
            return Ok(());
        }
        let told = self.shared.progress().last_error.as_ref().map(|(told, _)| told.clone());
        Err(SealError::Io { source: Arc::new(io::Error::other(told.unwrap_or_default())) })
    }

    fn restore_reserve(&mut self) {
        let restored = self.reserve.restore(self.shared.layer.as_ref());
        if let Err(error) = &restored {
            self.shared.note_error("restore the reserve", error);
        }
        self.reserve_at = restored.is_err().then(|| Instant::now() + RESERVE_RETRY);
        self.shared.progress().reserve_intact = self.reserve.is_intact();
    }
}

fn flush(file: &mut dyn SegmentFile, gather: &mut Vec<u8>, offset: u64) -> io::Result<()> {
    if !gather.is_empty() {
        file.write_all_at(gather, offset)?;
        gather.clear();
    }
    Ok(())
}
