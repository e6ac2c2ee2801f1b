//! Decoded events held in memory within a bound: their bytes, and for each what may tie it to others.
//!
//! Events lie in buckets of one minute by their start. When there is no more room the oldest minute goes, and all that
//! comes later for it or from before it is left out, so that the requests that stay are whole but for the edge of
//! what went. What was left out is counted.

use std::collections::BTreeMap;

use event::{HopEvent, Record, wire};

const MINUTE_NS: i64 = 60_000_000_000;

/// Bytes of the first chunk of a bucket, and of the largest: doubled from one to the other.
const CHUNK_LEAST_BYTES: usize = 8 << 10;
const CHUNK_MOST_BYTES: usize = 1 << 20;

/// What joining takes beside each row: its ties sorted, its group, its place in the groups.
const JOIN_BYTES: usize = 96;

/// Ids and the like that may tie one event to others.
pub(super) const TIES: usize = 5;

/// One event without its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Start by its own clock.
    pub(super) start_ns: i64,
    /// Bytes of the event.
    pub(super) length: u32,
    /// Hashes of what ties it to others; 0 for none.
    pub(super) ties: [u64; TIES],
}

/// Where an event lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    from: u32,
    row: Row,
}

#[derive(Debug, Default)]
struct Bucket {
    chunks: Vec<Vec<u8>>,
    places: Vec<Place>,
    bytes: usize,
}

/// Events in the order of their minutes.
#[derive(Debug)]
pub(super) struct Held {
    most_bytes: usize,
    bytes: usize,
    buckets: BTreeMap<i64, Bucket>,
    /// The newest minute of which something was left out.
    floor: Option<i64>,
    left_out: u64,
}

/// What was left out for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// How many events.
    pub(super) events: u64,
    /// What started before this is missing, unix nanoseconds.
    pub(super) before_ns: i64,
}

impl Held {
    /// Room for about so many bytes, joining included.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, buckets: BTreeMap::new(), floor: None, left_out: 0 }
    }

    /// Adds events; `bytes` are those of the rows, one after the other.
    pub(super) fn add(&mut self, rows: &[Row], bytes: &[u8]) {
        let mut from = 0;
        for row in rows {
            let end = from + row.length as usize;
            let event = bytes.get(from..end).unwrap_or_default();
            from = end;
            let minute = row.start_ns.div_euclid(MINUTE_NS);
            while self.bytes >= self.most_bytes && self.drop_before(minute) {}
            let is_gone = self.floor.is_some_and(|floor| {
                minute < floor || minute == floor && !self.buckets.contains_key(&minute)
            });
            if is_gone || self.bytes >= self.most_bytes {
                self.leave_out(minute, 1);
                continue;
            }
            let bucket = self.buckets.entry(minute).or_default();
            let before = bucket.bytes;
            bucket.add(*row, event);
            self.bytes += bucket.bytes - before;
        }
    }

    /// Drops the oldest minute if it is older than `minute`.
    fn drop_before(&mut self, minute: i64) -> bool {
        let Some(oldest) = self.buckets.first_entry().filter(|oldest| *oldest.key() < minute) else {
            return false;
        };
        let (oldest, bucket) = oldest.remove_entry();
        self.bytes -= bucket.bytes;
        self.leave_out(oldest, bucket.places.len() as u64);
        true
    }

    fn leave_out(&mut self, minute: i64, events: u64) {
        self.left_out += events;
        self.floor = self.floor.max(Some(minute));
    }

    /// What was left out, if anything was.
    pub(super) fn left_out(&self) -> Option<LeftOut> {
        let before_ns = (self.floor?.saturating_add(1)).saturating_mul(MINUTE_NS);
        (self.left_out > 0).then_some(LeftOut { events: self.left_out, before_ns })
    }

    /// No more will come: the events in one list.
    pub(super) fn finish(self) -> Events {
        let mut events = Events { buckets: Vec::new(), places: Vec::new() };
        for (at, bucket) in self.buckets.into_values().enumerate() {
            events.places.extend(bucket.places.into_iter().map(|place| (at as u32, place)));
            events.buckets.push(bucket.chunks);
        }
        events
    }
}

impl Bucket {
    fn add(&mut self, row: Row, event: &[u8]) {
        let has_room = |chunk: &Vec<u8>| {
            chunk.capacity() - chunk.len() >= event.len() && chunk.len() < u32::MAX as usize / 2
        };
        if !self.chunks.last().is_some_and(has_room) {
            let doubled = self.chunks.last().map_or(CHUNK_LEAST_BYTES, |chunk| chunk.capacity() * 2);
            let capacity = doubled.min(CHUNK_MOST_BYTES).max(event.len());
            self.bytes += capacity;
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let chunk = self.chunks.len() as u32 - 1;
        if let Some(last) = self.chunks.last_mut() {
            self.places.push(Place { chunk, from: last.len() as u32, row });
            last.extend_from_slice(event);
            self.bytes += size_of::<Place>() + size_of::<u32>() + JOIN_BYTES;
        }
    }
}

/// Every event that was held.
#[derive(Debug)]
pub(super) struct Events {
    buckets: Vec<Vec<Vec<u8>>>,
    places: Vec<(u32, Place)>,
}

impl Events {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What may tie an event to others.
    pub(super) fn ties(&self, at: usize) -> &[u64; TIES] {
        &self.places[at].1.row.ties
    }

    /// An event as it was decoded. `None` never happens to bytes that were written by this program.
    pub(super) fn event(&self, at: usize) -> Option<HopEvent<'_>> {
        let (bucket, place) = self.places.get(at)?;
        let chunk = self.buckets.get(*bucket as usize)?.get(place.chunk as usize)?;
        let from = place.from as usize;
        match wire::read(chunk.get(from..from + place.row.length as usize)?) {
            Ok(Record::Event(event)) => Some(*event),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(minute: i64, number: u64) -> (Row, Vec<u8>) {
        let start_ns = minute * MINUTE_NS + number as i64;
        let mut bytes = Vec::new();
        wire::put_event(
            &HopEvent { start_ns, event_key: number, path: "/x".repeat(50).into(), ..HopEvent::default() },
            &mut bytes,
        );
        (Row { start_ns, length: bytes.len() as u32, ties: [number, 0, 0, 0, 0] }, bytes)
    }

    fn add(held: &mut Held, minute: i64, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let (row, bytes) = row(minute, number);
            held.add(&[row], &bytes);
        }
    }

    #[test]
    fn events_come_back_as_they_were() {
        let mut held = Held::new(usize::MAX);
        add(&mut held, 7, 0..1000);
        add(&mut held, 3, 1000..1100);
        assert_eq!(held.left_out(), None);
        let events = held.finish();
        assert_eq!(events.len(), 1100);
        let keys: Vec<u64> = (0..events.len()).map(|at| events.event(at).unwrap().event_key).collect();
        assert_eq!(keys, (1000..1100).chain(0..1000).collect::<Vec<u64>>());
        assert!((0..events.len()).all(|at| events.ties(at)[0] == events.event(at).unwrap().event_key));
    }

    #[test]
    fn the_oldest_minutes_go_and_are_counted() {
        let mut held = Held::new(100_000);
        for minute in 0..50 {
            add(&mut held, minute, 0..20);
        }
        let left_out = held.left_out().unwrap();
        assert!(held.bytes <= 100_000 + CHUNK_MOST_BYTES);
        let kept_from = left_out.before_ns / MINUTE_NS;
        assert_eq!(left_out.events, kept_from as u64 * 20);
        // What comes late for a minute that went is left out, too.
        add(&mut held, 0, 0..5);
        assert_eq!(held.left_out().unwrap().events, left_out.events + 5);
        assert_eq!(held.finish().len() as u64, 1000 - left_out.events);
    }

    #[test]
    fn a_minute_that_does_not_fit_is_kept_as_far_as_there_is_room() {
        let mut held = Held::new(30_000);
        add(&mut held, 5, 0..1000);
        let left_out = held.left_out().unwrap();
        assert!((1..1000).contains(&left_out.events));
        assert_eq!(left_out.before_ns, 6 * MINUTE_NS);
        assert_eq!(held.finish().len() as u64, 1000 - left_out.events);
    }
}
