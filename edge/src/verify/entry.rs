//! A key set as it is kept: the body as the provider sent it, and before it what most requests want to know without
//! parsing it, in one line of JSON.

use serde::{Deserialize, Serialize};

use super::keys::KeySet;
use crate::encoding::sha256_hex;

/// Machines of a POP, and POPs, may differ by so much; an entry from further ahead is of a clock that was wrong.
const AHEAD_MS: u64 = 60_000;
/// Longest freshness; an entry that claims more was written by a clock that was wrong.
pub(super) const FRESHEST_S: u32 = 3600;

/// What stands before the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    fetched_at_ms: u64,
    fresh_until_ms: u64,
    fingerprint: String,
    kids: Vec<String>,
}

/// An issuer's keys as they are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    head: Head,
    body: Vec<u8>,
}

impl Entry {
    /// Of an answer that came now; `None` when it holds no usable key. Points are looked at here alone: one that is on no
    /// curve verifies nothing later, but as a set's only key it must not replace a set that was good.
    pub(super) fn new(body: Vec<u8>, now_ms: u64, fresh_s: u32) -> Option<Self> {
        let mut keys = KeySet::parse(&body)?.keys;
        keys.retain(|key| key.public.is_sound());
        if keys.is_empty() {
            return None;
        }
        let head = Head {
            fetched_at_ms: now_ms,
            fresh_until_ms: now_ms.saturating_add(u64::from(fresh_s.min(FRESHEST_S)) * 1000),
            fingerprint: sha256_hex(&[&body]),
            kids: keys.into_iter().map(|key| key.kid).collect(),
        };
        Some(Self { head, body })
    }

    /// Reads what [`Entry::write`] wrote.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let at = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, body) = bytes.split_at(at);
        Some(Self { head: serde_json::from_slice(head).ok()?, body: body.get(1..)?.to_vec() })
    }

    /// As it is kept. JSON has no line break of its own, so the first one ends the head.
    pub(super) fn write(&self) -> Vec<u8> {
        let head = serde_json::to_vec(&self.head).unwrap_or_default();
        [&head[..], b"\n", &self.body].concat()
    }

    /// How old it is; `None` when it is from the future.
    fn age_ms(&self, now_ms: u64) -> Option<u64> {
        (self.head.fetched_at_ms <= now_ms.saturating_add(AHEAD_MS))
            .then(|| now_ms.saturating_sub(self.head.fetched_at_ms))
    }

    /// Whether the provider need not be asked again yet.
    pub(super) fn is_fresh(&self, now_ms: u64) -> bool {
        let longest_ms = u64::from(FRESHEST_S) * 1000;
        now_ms < self.head.fresh_until_ms && self.age_ms(now_ms).is_some_and(|age_ms| age_ms < longest_ms)
    }

    /// Whether it may be used at all: keys that were not seen for longer may have been withdrawn meanwhile.
    pub(super) fn is_usable(&self, now_ms: u64, max_stale_s: u64) -> bool {
        self.age_ms(now_ms).is_some_and(|age_ms| age_ms / 1000 < max_stale_s)
    }

    /// Whether it says nothing that a younger one of the same set would not say, within an hour.
    pub(super) fn is_as_good_as(&self, newer: &Self) -> bool {
        let hour_ms = 3_600_000;
        self.body == newer.body
            && self.age_ms(newer.head.fetched_at_ms).is_some_and(|age_ms| age_ms < hour_ms)
    }

    /// When it came, in milliseconds since 1970.
    pub(super) fn fetched_at_ms(&self) -> u64 {
        self.head.fetched_at_ms
    }

    /// Whether a usable key has this id.
    pub(crate) fn has(&self, kid: &str) -> bool {
        self.head.kids.iter().any(|own| own == kid)
    }

    /// Hash of the set's bytes: a verdict holds only under the set by which it was found.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.head.fingerprint
    }

    /// The set, parsed each time: only a signature needs it.
    pub(crate) fn set(&self) -> Option<KeySet> {
        KeySet::parse(&self.body)
    }
}
