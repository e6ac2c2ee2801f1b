//! A budget of bytes for deliveries in memory. Over it a sender is told to come back, so memory stays flat.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// Permits are counted in KiB: a semaphore's permits are 32-bit in one request, and bytes would be too fine.
const UNIT_BYTES: usize = 1024;
/// What a refused sender is told: a delivery takes milliseconds, so room is likely within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The budget; clones share it.
#[derive(Clone)]
pub(crate) struct Gate {
    units: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(bytes.div_ceil(UNIT_BYTES))) }
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
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(bytes);
        let missing = self.bytes.div_ceil(UNIT_BYTES).saturating_sub(self.held_units);
        if missing == 0 {
            return Ok(());
        }
        let wanted = u32::try_from(missing).map_err(|_| Refusal::Busy(RETRY_AFTER))?;
        let permit = Arc::clone(&self.gate.units)
            .try_acquire_many_owned(wanted)
            .map_err(|_| Refusal::Busy(RETRY_AFTER))?;
        self.held_units += missing;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let gate = Gate::new(4 * UNIT_BYTES);
        let mut first = gate.hold();
        first.grow(3 * UNIT_BYTES).unwrap();
        first.grow(1).unwrap();
        let mut second = gate.hold();
        assert!(matches!(second.grow(1), Err(Refusal::Busy(_))));
        drop(first);
        gate.hold().grow(4 * UNIT_BYTES).unwrap();
    }
}
