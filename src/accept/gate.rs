//! A budget of bytes for deliveries in memory. Over it a sender is told to come back, so memory stays flat.
//!
//! Every source owns a small part of the budget; the rest is common. So a source that sends all it can takes the common part
//! from the others, and never the last of what they need to go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// Permits are counted in KiB: a semaphore's permits are 32-bit in one request, and bytes would be too fine.
const UNIT_BYTES: usize = 1024;
/// The part of the budget that sources own, together: 24 MiB of the default. Small, because one large delivery needs nearly
/// all that is common.
const OWNED: usize = 16;
/// What a refused sender is told: a delivery takes milliseconds, so room is likely within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a delivery that can be told to come back waits for its turn: who waits is served in order, so that
/// transports that push back do not take all that becomes free.
const TURN_WITHIN: Duration = Duration::from_millis(250);

/// The budget; clones share it.
#[derive(Clone)]
pub(crate) struct Gate {
    common: Arc<Semaphore>,
    common_units: usize,
    own_units: usize,
}

impl Gate {
    /// A budget for so many sources.
    pub(crate) fn new(bytes: usize, sources: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        let own_units = units / OWNED / sources.max(1);
        let common_units = units - own_units * sources;
        Self { common: Arc::new(Semaphore::new(common_units)), common_units, own_units }
    }

    /// One source's part of it.
    pub(crate) fn share(&self) -> Share {
        Share { gate: self.clone(), own: Arc::new(Semaphore::new(self.own_units)) }
    }
}

/// What one source may draw on: what it owns, then what is common. Clones share it.
#[derive(Clone)]
pub(crate) struct Share {
    gate: Gate,
    own: Arc<Semaphore>,
}

impl Share {
    /// What one delivery can ever hold: what is larger never fits, however long its sender waits.
    pub(crate) fn most_bytes(&self) -> usize {
        self.gate.common_units * UNIT_BYTES
    }

    /// An empty hold, to be grown as bytes come in.
    pub(crate) fn hold(&self) -> Hold {
        Hold { share: self.clone(), own: None, common: None, bytes: 0 }
    }
}

/// Bytes held by one delivery; given back when dropped.
pub(crate) struct Hold {
    share: Share,
    own: Option<OwnedSemaphorePermit>,
    common: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Hold {
    /// Takes more bytes, or says that there is no room now.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.reach_within(self.bytes.saturating_add(bytes), TURN_WITHIN).await
    }

    /// Grows to so many bytes at least, for transports that push back: waits so long for room. Cancel-safe.
    pub(crate) async fn reach_within(&mut self, bytes: usize, patience: Duration) -> Result<(), Refusal> {
        self.bytes = self.bytes.max(bytes);
        let wanted = self.bytes.div_ceil(UNIT_BYTES).saturating_sub(self.units());
        let wanted = wanted - self.take_own(wanted);
        if wanted == 0 {
            return Ok(());
        }
        let wanted = u32::try_from(wanted).map_err(|_| Refusal::Busy(RETRY_AFTER))?;
        let room = Arc::clone(&self.share.gate.common).acquire_many_owned(wanted);
        let permit = tokio::time::timeout(patience, room)
            .await
            .map_err(|_| Refusal::Busy(RETRY_AFTER))?
            .map_err(|_| Refusal::Stopped)?;
        merge(&mut self.common, permit);
        Ok(())
    }

    /// So many of these bytes as a hold of their own; what is rounded up is missing here until it grows again.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let (own, common) = self.part(bytes.div_ceil(UNIT_BYTES).min(self.units()));
        Self { share: self.share.clone(), own, common, bytes }
    }

    /// Gives back what is more than so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
        drop(self.part(self.units().saturating_sub(self.bytes.div_ceil(UNIT_BYTES))));
    }

    fn units(&self) -> usize {
        units(self.own.as_ref()) + units(self.common.as_ref())
    }

    /// Takes up to so many units of what the source owns.
    fn take_own(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(self.share.own.available_permits());
        let some = u32::try_from(wanted).ok().filter(|some| *some > 0);
        // Somebody else may have been faster; then it is the common part's turn.
        let taken = some.and_then(|some| Arc::clone(&self.share.own).try_acquire_many_owned(some).ok());
        taken.map_or(0, |permit| {
            merge(&mut self.own, permit);
            wanted
        })
    }

    /// Takes so many units out, of the common part first: others wait for that.
    fn part(&mut self, wanted: usize) -> (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>) {
        let of_common = wanted.min(units(self.common.as_ref()));
        let common = self.common.as_mut().and_then(|permit| permit.split(of_common));
        let own = self.own.as_mut().and_then(|permit| permit.split(wanted - of_common));
        (own, common)
    }
}

fn units(permit: Option<&OwnedSemaphorePermit>) -> usize {
    permit.map_or(0, OwnedSemaphorePermit::num_permits)
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let gate = Gate::new(4 * UNIT_BYTES, 1).share();
        let mut first = gate.hold();
        first.grow(3 * UNIT_BYTES).await.unwrap();
        first.grow(1).await.unwrap();
        let mut second = gate.hold();
        assert!(matches!(second.grow(1).await, Err(Refusal::Busy(_))));
        first.shrink_to(UNIT_BYTES + 1);
        gate.hold().grow(2 * UNIT_BYTES).await.unwrap();
        assert!(gate.hold().grow(2 * UNIT_BYTES + 1).await.is_err());
        drop(first);
        gate.hold().grow(4 * UNIT_BYTES).await.unwrap();
    }

    #[tokio::test]
    async fn who_is_pushed_back_does_not_starve_who_is_told_to_come_back() {
        let gate = Gate::new(UNIT_BYTES, 1).share();
        let mut holder = gate.hold();
        holder.grow(1).await.unwrap();
        let waiter = gate.clone();
        // Takes what becomes free, again and again.
        let greedy = tokio::spawn(async move {
            loop {
                let mut hold = waiter.hold();
                hold.reach_within(1, Duration::from_secs(10)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
                drop(hold);
                // The next one queues up before anybody else runs.
            }
        });
        tokio::task::yield_now().await;
        drop(holder);
        for _ in 0..5 {
            gate.hold().grow(1).await.unwrap();
        }
        greedy.abort();
    }

    #[tokio::test]
    async fn who_waits_gets_what_another_gives_back() {
        let gate = Gate::new(2 * UNIT_BYTES, 1).share();
        let mut first = gate.hold();
        first.grow(2 * UNIT_BYTES).await.unwrap();
        let short = Duration::from_millis(10);
        assert!(matches!(gate.hold().reach_within(1, short).await, Err(Refusal::Busy(_))));
        let part = first.split(UNIT_BYTES + 1);
        assert!(gate.hold().grow(1).await.is_err(), "a part is held as the whole was");
        let mut second = gate.hold();
        let wait = second.reach_within(2 * UNIT_BYTES, 100 * short);
        let (grown, ()) = tokio::join!(wait, async { drop((first, part)) });
        grown.unwrap();
    }

    #[tokio::test]
    async fn a_source_that_takes_all_it_can_leaves_the_others_what_is_theirs() {
        let gate = Gate::new(64 * UNIT_BYTES, 2);
        let (greedy, modest) = (gate.share(), gate.share());
        let mut all = greedy.hold();
        let most = gate.common_units + gate.own_units;
        assert_eq!(most, 62);
        all.grow(most * UNIT_BYTES).await.unwrap();
        assert!(all.grow(1).await.is_err());
        let mut theirs = modest.hold();
        theirs.grow(2 * UNIT_BYTES).await.unwrap();
        assert!(modest.hold().grow(1).await.is_err());
        // What is given back is common first.
        all.shrink_to(UNIT_BYTES);
        modest.hold().grow(modest.most_bytes()).await.unwrap();
        let part = theirs.split(UNIT_BYTES);
        drop(theirs);
        assert_eq!(modest.own.available_permits(), 1);
        drop(part);
        assert_eq!(modest.own.available_permits(), 2);
        drop(all);
        assert_eq!(gate.common.available_permits(), gate.common_units);
    }
}
