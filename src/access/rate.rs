//! How fast one source may send: a bucket of bytes. What is sent may overdraw it, so that a delivery larger than the
//! burst gets through once; the next one waits until the debt is paid.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest that a sender is told to stay away; a longer debt is told in parts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A bucket that fills by itself.
#[derive(Debug)]
pub(crate) struct Bucket {
    bytes_per_s: f64,
    burst_bytes: f64,
    level: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(bytes_per_s: u64, burst_bytes: u64, now: Instant) -> Self {
        let (bytes_per_s, burst_bytes) = (bytes_per_s as f64, burst_bytes as f64);
        Self { bytes_per_s, burst_bytes, level: Mutex::new((burst_bytes, now)) }
    }

    /// How long to stay away; `None` where there is something in the bucket.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let level = self.filled(now);
        (level <= 0.0).then(|| Duration::from_secs_f64((1.0 - level) / self.bytes_per_s).min(LONGEST_WAIT))
    }

    /// Takes bytes out, also more than there are.
    pub(crate) fn spend(&self, bytes: usize, now: Instant) {
        self.filled(now);
        self.level.lock().unwrap_or_else(PoisonError::into_inner).0 -= bytes as f64;
    }

    fn filled(&self, now: Instant) -> f64 {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(level.1).as_secs_f64() * self.bytes_per_s;
        *level = ((level.0 + gained).min(self.burst_bytes), now.max(level.1));
        level.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_rate_one_waits_until_the_debt_is_paid() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let bucket = Bucket::new(100, 1_000, start);
        assert_eq!(bucket.wait(start), None);
        bucket.spend(1_500, start);
        let wait = bucket.wait(start).unwrap();
        assert!(wait > Duration::from_secs(5) && wait < Duration::from_secs(6), "{wait:?}");
        assert!(bucket.wait(at(5)).is_some());
        assert_eq!(bucket.wait(at(6)), None, "what it was told is enough");
        bucket.spend(10_000_000, at(6));
        assert_eq!(bucket.wait(at(6)), Some(LONGEST_WAIT));
        let full = Bucket::new(100, 1_000, start);
        full.spend(1_000, at(1_000_000));
        assert!(full.wait(at(1_000_000)).is_some(), "idle time fills no more than the burst");
    }
}
