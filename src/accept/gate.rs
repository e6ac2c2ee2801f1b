//! A budget of bytes for deliveries in memory. Over it a sender is told to come back, so memory stays flat.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// Permits are counted in KiB: a semaphore's permits are 32-bit in one request, and bytes would be too fine.
const UNIT_BYTES: usize = 1024;
/// What a refused sender is told: a delivery takes milliseconds, so room is likely within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a delivery that can be told to come back waits for its turn: who waits is served in order, so that
/// transports that push back do not take all that becomes free.
const TURN_WITHIN: Duration = Duration::from_millis(250);

/// The budget; clones share it.
#[derive(Clone)]
pub(crate) struct Gate {
    units: Arc<Semaphore>,
    bytes: usize,
}

impl Gate {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), bytes: units * UNIT_BYTES }
    }

    /// All of the budget: what is larger never fits, however long its sender waits.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// An empty hold, to be grown as bytes come in.
    pub(crate) fn hold(&self) -> Hold {
        Hold { gate: self.clone(), permit: None, bytes: 0, held_units: 0 }
    }
}

/// Bytes held by one delivery; given back when dropped.
pub(crate) struct Hold {
    gate: Gate,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
    held_units: usize,
}

impl Hold {
    /// Takes more bytes, or says that there is no room now.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.reach_within(self.bytes.saturating_add(bytes), TURN_WITHIN).await
    }

    /// Grows to so many bytes at least, for transports that push back: waits so long for room. Cancel-safe.
    pub(crate) async fn reach_within(&mut self, bytes: usize, patience: Duration) -> Result<(), Refusal> {
        self.bytes = self.bytes.max(bytes);
        let wanted = self.missing()?;
        if wanted == 0 {
            return Ok(());
        }
        let room = Arc::clone(&self.gate.units).acquire_many_owned(wanted);
        let permit = tokio::time::timeout(patience, room)
            .await
            .map_err(|_| Refusal::Busy(RETRY_AFTER))?
            .map_err(|_| Refusal::Stopped)?;
        self.take(wanted, permit);
        Ok(())
    }

    /// So many of these bytes as a hold of their own; what is rounded up is missing here until it grows again.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        let units = bytes.div_ceil(UNIT_BYTES).min(self.held_units);
        let permit = self.permit.as_mut().and_then(|permit| permit.split(units));
        self.bytes -= bytes;
        self.held_units -= units;
        Self { gate: self.gate.clone(), permit, bytes, held_units: units }
    }

    /// Gives back what is more than so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
        let spare = self.held_units.saturating_sub(self.bytes.div_ceil(UNIT_BYTES));
        if let Some(given_back) = self.permit.as_mut().and_then(|permit| permit.split(spare)) {
            self.held_units -= spare;
            drop(given_back);
        }
    }

    fn missing(&self) -> Result<u32, Refusal> {
        let missing = self.bytes.div_ceil(UNIT_BYTES).saturating_sub(self.held_units);
        u32::try_from(missing).map_err(|_| Refusal::Busy(RETRY_AFTER))
    }

    fn take(&mut self, units: u32, permit: OwnedSemaphorePermit) {
        self.held_units += units as usize;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let gate = Gate::new(4 * UNIT_BYTES);
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
        let gate = Gate::new(UNIT_BYTES);
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
        let gate = Gate::new(2 * UNIT_BYTES);
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
}
