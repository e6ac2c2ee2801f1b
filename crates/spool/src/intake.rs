//! The bounded queue between callers and the writer thread, and the books of what the directory holds.
//!
//! One mutex, held for a few instructions; the writer takes everything queued at once, which is what makes a group
//! share one fsync. A hand-made queue rather than a channel, because room is counted in bytes as well, a seal
//! request must get through when the queue is full, and the writer waits with a deadline.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::batch::Framed;
use crate::error::{AppendError, FullCause, SealError};
use crate::options::{Options, WhenFull};

/// One fsync frees the queue, and even a slow disk manages several a second.
const QUEUE_RETRY: Duration = Duration::from_millis(200);
/// The budget only moves when a segment is shipped, about once a second.
const BUDGET_RETRY: Duration = Duration::from_secs(2);
/// Seal requests are for shutdown and tests; more waiting than this is a mistake.
const SEALS_MAX: usize = 1024;

pub(crate) type Ack = oneshot::Sender<Result<(), AppendError>>;
pub(crate) type SealAck = oneshot::Sender<Result<(), SealError>>;

/// A batch on its way to the disk. Whoever waits for `ack` may be gone; the batch is written all the same.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) framed: Framed,
    pub(crate) ack: Option<Ack>,
}

/// What the writer has to do next.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) group: Vec<Pending>,
    pub(crate) seals: Vec<SealAck>,
    pub(crate) closing: bool,
}

#[derive(Debug, Default)]
struct State {
    turn: Turn,
    /// Queued or being written; both hold memory.
    queued_batches: usize,
    queued_bytes: u64,
    /// Queued, being written, or on disk.
    used_bytes: u64,
    paused_until: Option<(Instant, FullCause)>,
    refused: u64,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Intake {
    state: Mutex<State>,
    work: Condvar,
    room: Notify,
    queue_max_batches: usize,
    queue_max_bytes: u64,
    max_bytes: u64,
    when_full: WhenFull,
}

/// The queue's share of [`crate::Stats`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct IntakeDepth {
    pub(crate) batches: usize,
    pub(crate) bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) refused: u64,
    pub(crate) closed: bool,
}

impl Intake {
    pub(crate) fn new(options: &Options, used_bytes: u64) -> Self {
        Self {
            state: Mutex::new(State { used_bytes, ..State::default() }),
            work: Condvar::new(),
            room: Notify::new(),
            queue_max_batches: options.queue_max_batches,
            queue_max_bytes: options.queue_max_bytes as u64,
            max_bytes: options.max_bytes,
            when_full: options.when_full,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves the books whole, so a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a batch, or gives it back with the reason.
    pub(crate) fn push(
        &self,
        framed: Framed,
    ) -> Result<oneshot::Receiver<Result<(), AppendError>>, (Framed, AppendError)> {
        let length = framed.len();
        let mut state = self.state();
        if state.closed {
            return Err((framed, AppendError::Closed));
        }
        if let Some((cause, retry_after)) = self.obstacle(&state, length) {
            state.refused += 1;
            return Err((framed, AppendError::Full { cause, retry_after }));
        }
        let (ack, answer) = oneshot::channel();
        state.queued_batches += 1;
        state.queued_bytes += length;
        state.used_bytes += length;
        state.turn.group.push(Pending { framed, ack: Some(ack) });
        drop(state);
        self.work.notify_one();
        Ok(answer)
    }

    fn obstacle(&self, state: &State, length: u64) -> Option<(FullCause, Duration)> {
        if let Some((until, cause)) = state.paused_until {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Some((cause, left));
            }
        }
        // Where the oldest give way the writer makes the room; what may be queued meanwhile is bounded below.
        if self.when_full == WhenFull::Refuse && state.used_bytes + length > self.max_bytes {
            return Some((FullCause::Budget, BUDGET_RETRY));
        }
        let crowded = state.queued_batches >= self.queue_max_batches
            || (state.queued_batches > 0 && state.queued_bytes + length > self.queue_max_bytes);
        crowded.then_some((FullCause::Queue, QUEUE_RETRY))
    }

    /// Asks for everything queued before this call to be sealed.
    pub(crate) fn push_seal(&self) -> Result<oneshot::Receiver<Result<(), SealError>>, SealError> {
        let mut state = self.state();
        if state.closed {
            return Err(SealError::Closed);
        }
        if state.turn.seals.len() >= SEALS_MAX {
            return Err(SealError::Busy);
        }
        let (ack, answer) = oneshot::channel();
        state.turn.seals.push(ack);
        drop(state);
        self.work.notify_one();
        Ok(answer)
    }

    /// Waits for work or the deadline, and takes all there is.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Turn {
        let mut state = self.state();
        loop {
            let idle = state.turn.group.is_empty() && state.turn.seals.is_empty() && !state.turn.closing;
            if !idle {
                break;
            }
            let Some(deadline) = deadline else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let closing = state.turn.closing;
        let turn = std::mem::take(&mut state.turn);
        state.turn.closing = closing;
        turn
    }

    /// The writer is through with these batches; `lost_bytes` of them did not reach the disk.
    pub(crate) fn settle(&self, batches: usize, bytes: u64, lost_bytes: u64) {
        let mut state = self.state();
        state.queued_batches = state.queued_batches.saturating_sub(batches);
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        state.used_bytes = state.used_bytes.saturating_sub(lost_bytes);
        drop(state);
        self.room.notify_waiters();
    }

    /// Enters bytes that no batch brought: headers and trailers.
    pub(crate) fn charge(&self, bytes: u64) {
        self.state().used_bytes += bytes;
    }

    /// Strikes bytes that are no longer on disk.
    pub(crate) fn release(&self, bytes: u64) {
        let mut state = self.state();
        state.used_bytes = state.used_bytes.saturating_sub(bytes);
        drop(state);
        self.room.notify_waiters();
    }

    /// Refuses appends for a while.
    pub(crate) fn pause(&self, pause: Duration, cause: FullCause) {
        self.state().paused_until = Some((Instant::now() + pause, cause));
    }

    /// Whether all segments and what is queued are within the budget.
    pub(crate) fn is_within_budget(&self) -> bool {
        self.state().used_bytes <= self.max_bytes
    }

    /// Ends intake; what is queued is still written.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.turn.closing = true;
        drop(state);
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// The writer is gone: answers whoever it left behind.
    pub(crate) fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.state().turn);
        for ack in left.group.into_iter().filter_map(|p| p.ack) {
            let _ = ack.send(Err(AppendError::Closed));
        }
        for ack in left.seals {
            let _ = ack.send(Err(SealError::Closed));
        }
    }

    /// Notified whenever a queue or the budget may have room again, and at close.
    pub(crate) fn room(&self) -> &Notify {
        &self.room
    }

    pub(crate) fn depth(&self) -> IntakeDepth {
        let state = self.state();
        IntakeDepth {
            batches: state.queued_batches,
            bytes: state.queued_bytes,
            used_bytes: state.used_bytes,
            refused: state.refused,
            closed: state.closed,
        }
    }
}

/// The error for every batch of a group whose write or fsync failed.
pub(crate) fn io_failure(source: Arc<io::Error>, retry_after: Duration) -> AppendError {
    AppendError::Io { source, retry_after }
}
