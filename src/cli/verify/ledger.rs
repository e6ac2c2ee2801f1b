//! The oracle's memory: how often each record was sent, how often that was acknowledged, and what was damaged on purpose.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lane::Lane;
use super::record::{Number, Origin};

/// What is known of one record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Deliveries that may have become durable: the most rows that it may have.
    pub(super) sent: u16,
    /// Deliveries that were acknowledged: the least rows that it must have.
    pub(super) acknowledged: u16,
}

/// Everything that is judged by, as it is kept beside a failed run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Books {
    pub(super) origin: Origin,
    /// Counts of each lane's records, in order.
    pub(super) lanes: Vec<Vec<Counts>>,
    /// Records in bytes that were damaged after they were acknowledged: the promise for them is to be set aside.
    pub(super) damaged: HashSet<u64>,
}

impl Books {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, lanes: vec![Vec::new(); Lane::ALL.len()], damaged: HashSet::new() }
    }

    pub(super) fn counts(&self, lane: Lane) -> &[Counts] {
        self.lanes.get(lane as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_damaged(&self, number: Number) -> bool {
        self.damaged.contains(&number.bits())
    }
}

/// What is counted beside the records.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    /// Deliveries answered with 503, RESOURCE_EXHAUSTED or UNAVAILABLE.
    pub(super) refused: u64,
    /// Deliveries whose outcome nobody knows: the connection broke, or the sender hung up.
    pub(super) unanswered: u64,
    /// Bodies that were cut off in the middle.
    pub(super) cut: u64,
    /// Acknowledged deliveries that were sent again on purpose.
    pub(super) redelivered: u64,
    /// Answers that no sender should get, the first few in words.
    pub(super) wrong_answers: u64,
    pub(super) wrong_first: Vec<String>,
    /// From the start of a service to its first acknowledgement, milliseconds.
    pub(super) recoveries_ms: Vec<u64>,
}

#[derive(Debug)]
struct State {
    books: Books,
    tally: Tally,
    /// When the service was started, until its first acknowledgement.
    started: Option<Instant>,
}

/// The memory, shared by all lanes.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<State>);

/// How many wrong answers are kept in words.
const WRONG_KEPT: usize = 20;

impl Ledger {
    pub(super) fn new(origin: Origin) -> Self {
        Self(Mutex::new(State { books: Books::new(origin), tally: Tally::default(), started: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn origin(&self) -> Origin {
        self.state().books.origin
    }

    /// Enters so many new records of a lane; the first one's place.
    pub(super) fn enter(&self, lane: Lane, records: u64) -> u64 {
        let mut state = self.state();
        let Some(counts) = state.books.lanes.get_mut(lane as usize) else { return 0 };
        let first = counts.len() as u64;
        counts.resize(counts.len() + records as usize, Counts::default());
        first
    }

    fn change(&self, lane: Lane, places: std::ops::Range<u64>, change: impl Fn(&mut Counts)) {
        let mut state = self.state();
        let counts = state.books.lanes.get_mut(lane as usize);
        let places = places.start as usize..places.end as usize;
        counts.and_then(|counts| counts.get_mut(places)).into_iter().flatten().for_each(change);
    }

    /// A delivery of these records may have become durable.
    pub(super) fn sent(&self, lane: Lane, places: std::ops::Range<u64>, times: u16) {
        self.change(lane, places, |counts| counts.sent = counts.sent.saturating_add(times));
    }

    /// A delivery of these records, sent before, was acknowledged.
    pub(super) fn acknowledged(&self, lane: Lane, places: std::ops::Range<u64>) {
        self.change(lane, places, |counts| counts.acknowledged = counts.acknowledged.saturating_add(1));
        let mut state = self.state();
        // A file's position is looked at when the service is dead, so it says nothing of when.
        if lane != Lane::File
            && let Some(started) = state.started.take()
        {
            state.tally.recoveries_ms.push(started.elapsed().as_millis() as u64);
        }
    }

    /// The service is being started.
    pub(super) fn started(&self) {
        self.state().started = Some(Instant::now());
    }

    /// The service is dead: what it has not acknowledged by now, it will not.
    pub(super) fn ended(&self) {
        self.state().started = None;
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.state().tally);
    }

    pub(super) fn wrong_answer(&self, lane: Lane, what: &str) {
        let mut state = self.state();
        state.tally.wrong_answers += 1;
        if state.tally.wrong_first.len() < WRONG_KEPT {
            state.tally.wrong_first.push(format!("{}: {what}", lane.name()));
        }
    }

    pub(super) fn damage(&self, numbers: impl IntoIterator<Item = Number>) {
        self.state().books.damaged.extend(numbers.into_iter().map(Number::bits));
    }

    pub(super) fn books(&self) -> Books {
        self.state().books.clone()
    }

    pub(super) fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    /// Records sent and acknowledged so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        let state = self.state();
        let all = || state.books.lanes.iter().flatten();
        let some = |is: fn(&Counts) -> bool| all().filter(|counts| is(counts)).count() as u64;
        (some(|counts| counts.sent > 0), some(|counts| counts.acknowledged > 0))
    }
}

/// The slowest of some times, and their middle.
pub(super) fn slowest_and_median(times_ms: &[u64]) -> (Duration, Duration) {
    let mut sorted = times_ms.to_vec();
    sorted.sort_unstable();
    let at = |place: Option<&u64>| Duration::from_millis(place.copied().unwrap_or_default());
    (at(sorted.last()), at(sorted.get(sorted.len() / 2)))
}
