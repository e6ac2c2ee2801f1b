//! Remembering which tokens were used, for origins where a request must not happen twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a cache says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Not seen before; it is remembered now.
    First,
    /// Seen before.
    Again,
    /// The cache cannot tell. The request is refused: what cannot be checked is not let in.
    Unknown,
}

/// Remembers the ids of tokens until they end. Implement it over a shared store if several instances serve one audience.
///
/// A proxy that retries sends the same token again, and its retry is then refused: use a replay cache only behind
/// proxies that do not retry these requests.
pub trait ReplayCache: Send + Sync {
    /// Whether the token of this id was seen, and remembers it until `until_unix_s` if not.
    fn sighting(&self, jti: &str, until_unix_s: u64, now_unix_s: u64) -> Sighting;
}

/// A cache for one process, of fixed capacity. Full of tokens that have not ended, it says [`Sighting::Unknown`]:
/// forgetting one early would let it be used again.
#[derive(Debug)]
pub struct MemoryReplayCache {
    capacity: usize,
    seen: Mutex<HashMap<String, u64>>,
}

impl MemoryReplayCache {
    /// Room for this many tokens. A token stays for its lifetime and the skew, at most two minutes, so the capacity
    /// wanted is 120 times the requests a second.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, seen: Mutex::default() }
    }
}

impl ReplayCache for MemoryReplayCache {
    fn sighting(&self, jti: &str, until_unix_s: u64, now_unix_s: u64) -> Sighting {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(jti).is_some_and(|until| *until >= now_unix_s) {
            return Sighting::Again;
        }
        // Sweeping only when full makes it cost one look at each token per capacity's worth of them.
        if seen.len() >= self.capacity {
            seen.retain(|_, until| *until >= now_unix_s);
        }
        if seen.len() >= self.capacity {
            return Sighting::Unknown;
        }
        seen.insert(jti.to_owned(), until_unix_s);
        Sighting::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_first_once_and_forgotten_when_it_ends() {
        let cache = MemoryReplayCache::new(2);
        assert_eq!(cache.sighting("a", 10, 1), Sighting::First);
        assert_eq!(cache.sighting("a", 10, 10), Sighting::Again);
        assert_eq!(cache.sighting("a", 20, 11), Sighting::First);
    }

    #[test]
    fn a_full_cache_forgets_nothing_that_is_still_valid() {
        let cache = MemoryReplayCache::new(2);
        assert_eq!(cache.sighting("a", 10, 1), Sighting::First);
        assert_eq!(cache.sighting("b", 20, 1), Sighting::First);
        assert_eq!(cache.sighting("c", 20, 1), Sighting::Unknown);
        assert_eq!(cache.sighting("a", 10, 1), Sighting::Again);
        assert_eq!(cache.sighting("c", 20, 11), Sighting::First);
        assert_eq!(cache.sighting("b", 20, 11), Sighting::Again);
    }
}
