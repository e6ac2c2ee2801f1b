//! Whether there is room for a group: by the budget and by the disk's floor, and who gives way.

use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::error::{AppendError, FullCause};
use crate::intake::Pending;
use crate::options::WhenFull;

/// How long a disk below its floor is left alone: whoever filled it needs time to give room back.
const FLOOR_PAUSE: Duration = Duration::from_secs(1);

impl Writer {
    /// Why a group may not be written now. Makes room first, where the operator chose that the oldest give way.
    pub(super) fn obstacle(&mut self, group: &[Pending]) -> Option<FullCause> {
        if group.is_empty() {
            return None;
        }
        loop {
            let is_low = self.is_below_floor();
            let cause = match (self.shared.intake.is_within_budget(), is_low) {
                (true, false) => return None,
                (false, _) => FullCause::Budget,
                (true, true) => FullCause::Floor,
            };
            let drops = self.shared.options.when_full == WhenFull::DropOldest;
            if !drops || !self.drop_oldest(cause) {
                return Some(cause);
            }
        }
    }

    /// Asked for each group, which costs a microsecond beside an fsync. A system that does not answer has no floor.
    fn is_below_floor(&self) -> bool {
        let floor = self.shared.options.min_free_bytes;
        let free = if floor == 0 { Ok(None) } else { self.shared.layer.free_bytes(&self.shared.dir) };
        let is_low = matches!(free, Ok(Some(free)) if free < floor);
        self.shared.progress().below_floor = is_low;
        is_low
    }

    /// Deletes the oldest sealed segment that nobody holds; seals the open one where there is no other. False where there
    /// is nothing to delete, or it cannot be.
    fn drop_oldest(&mut self, cause: FullCause) -> bool {
        let shared = Arc::clone(&self.shared);
        let oldest = shared.shelf.take_oldest().or_else(|| {
            self.seal_active();
            shared.shelf.take_oldest()
        });
        let Some(meta) = oldest else { return false };
        if let Err(error) = shared.layer.remove(&meta.path) {
            shared.note_error("delete the oldest segment", &error);
            shared.shelf.put(meta);
            return false;
        }
        tracing::error!(dir = %shared.dir.display(), sequence = meta.sequence, records = meta.records, bytes = meta.bytes, ?cause,
            "the spool is full and `drop_oldest` holds: deleted acknowledged records that were not shipped");
        shared.intake.release(meta.bytes);
        let mut progress = shared.progress();
        progress.dropped_segments += 1;
        progress.dropped_records += meta.records;
        true
    }

    /// Nothing of this group was written.
    pub(super) fn refuse(&mut self, group: &mut [Pending], cause: FullCause) {
        if cause == FullCause::Floor {
            self.shared.intake.pause(FLOOR_PAUSE, cause);
        }
        let bytes = group.iter().map(|p| p.framed.len()).sum();
        self.shared.intake.settle(group.len(), bytes, bytes);
        for ack in group.iter_mut().filter_map(|p| p.ack.take()) {
            let _ = ack.send(Err(AppendError::Full { cause, retry_after: FLOOR_PAUSE }));
        }
    }
}
