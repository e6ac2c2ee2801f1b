//! Where in `events` a request's rows lie.

use event::HopEvent;
use xxhash_rust::xxh3::xxh3_64;

/// Seconds of one bucket of receipt. The hops of a request arrive within seconds of each other, so most requests lie in
/// one bucket; a bucket at 80,000 events/s holds 48 M rows, still one granule per key.
pub const BUCKET_S: u32 = 600;

/// A place in `events`: the leading columns of its order, after the tenant. All rows of one strongest id received within
/// one bucket share it; other requests' rows may too, by a 64-bit accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator {
    /// Start of the bucket of receipt, unix seconds.
    pub bucket_s: u32,
    /// Hash of the strongest id, or the event key of an event without any.
    pub key: u64,
}

impl Locator {
    /// Where an event is stored.
    pub fn of(event: &HopEvent<'_>) -> Self {
        let ids = [event.correlation_id, event.request_id, event.edge_request_id, event.trace_id];
        let bucket_s = bucket_s(event.received_ns);
        Self::of_ids(bucket_s, ids).unwrap_or(Self { bucket_s, key: event.event_key })
    }

    /// Where the events with these ids are stored, strongest kind first, 0 for none; `None` without any.
    pub(crate) fn of_ids(bucket_s: u32, ids: [u128; 4]) -> Option<Self> {
        let strongest = ids.into_iter().find(|&id| id != 0)?;
        Some(Self { bucket_s, key: xxh3_64(&strongest.to_be_bytes()) })
    }
}

/// The bucket of a time of receipt in unix nanoseconds; times before 1970 and after 2106 go to the first and last.
pub(crate) fn bucket_s(received_ns: i64) -> u32 {
    let second = (received_ns / 1_000_000_000).clamp(0, i64::from(u32::MAX)) as u32;
    second - second % BUCKET_S
}
