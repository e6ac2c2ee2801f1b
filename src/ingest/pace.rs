//! How slow a body may be. A sender that trickles would hold its share of the byte budget for as long as it likes.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// What a body must come at. A POP on a bad link sends a hundred times faster; slower is slow on purpose, or a
/// connection that is dying.
const LEAST_BYTES_A_SECOND: u64 = 8 << 10;

/// The clock of one body. It runs only while the sender is waited for: who is pushed back is not slow.
///
/// Bytes buy time, but none is saved up past the patience: who sends 90 MB at once and then trickles holds 90 MB.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    left: Duration,
}

impl Pace {
    /// `patience` is for what is not the sender's fault, such as a lost packet.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, left: patience }
    }

    /// So much more came in.
    pub(super) fn came(&mut self, bytes: usize) {
        let earned = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / LEAST_BYTES_A_SECOND);
        self.left = self.left.saturating_add(earned).min(self.patience);
    }

    /// What the sender does next, unless it has been too slow by then.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Elapsed> {
        let since = Instant::now();
        let outcome = tokio::time::timeout(self.left, next).await;
        self.left = self.left.saturating_sub(since.elapsed());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_buy_time_and_waiting_spends_it() {
        let patience = Duration::from_millis(40);
        let mut pace = Pace::new(patience);
        pace.came(90 << 20);
        assert_eq!(pace.left, patience, "none is saved up");
        assert!(pace.wait(std::future::pending::<()>()).await.is_err());
        assert_eq!(pace.left, Duration::ZERO);
        // What is there already is taken all the same.
        assert_eq!(pace.wait(std::future::ready(1)).await.unwrap(), 1);
        pace.came(8);
        assert!(pace.left < Duration::from_millis(1), "a trickle does not buy enough");
        pace.came(8 << 10);
        assert_eq!(pace.left, patience);
    }
}
