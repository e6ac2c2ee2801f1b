//! Span and trace ids: the tracer's where there was one, else made so that everybody makes the same.

use correlation::IdKind;
use event::HopEvent;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The span id of an event: its own, where a tracer (or our edge) gave it one, else a hash of the event key.
///
/// Never a hash of the canonical id, which a late record may change, and never the span id out of a logged
/// `traceparent`, which is the caller's where no tracer ran. Never 0. SQL makes the same: `xxh3(event_key)` over the
/// eight little-endian bytes.
pub fn span_id(event: &HopEvent<'_>) -> u64 {
    match event.span_id {
        0 => xxh3_64(&event.event_key.to_le_bytes()).max(1),
        own => own,
    }
}

/// The trace id of a request: the entry's, where it has a valid one, else a hash of the canonical id, else of the
/// entry's event key. Never 0.
pub fn trace_id(entry: &HopEvent<'_>, canonical: Option<(IdKind, u128)>) -> u128 {
    match (entry.trace_id, canonical) {
        (0, Some((_, canonical))) => xxh3_128(&canonical.to_be_bytes()).max(1),
        (0, None) => xxh3_128(&entry.event_key.to_le_bytes()).max(1),
        (own, _) => own,
    }
}
