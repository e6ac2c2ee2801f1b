//! Events whose requests have not settled: grouped by what they share, held as the bytes they were shipped in.
//!
//! Two events are in one group if they share a per-request id that is not weak, or the span id that the edge sent along:
//! what `trace::requests` may join by. A group is only a gathering of candidates; which of them are one request is not
//! decided here. Decoded events would take five times the room, so only ties and places are kept beside the packed
//! bytes.
//!
//! Bounds: an id on more than [`EVENTS_PER_REQUEST`] events ties no further ones, a group of [`GROUP_EVENTS`] grows no
//! more, and a group older than [`MOST_AGE_US`] is settled though its events go on coming (a WebSocket that reports every
//! few seconds). What comes later is a late record, for which there is a way anyhow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use event::{Hop, HopEvent};
use trace::{EVENTS_PER_REQUEST, EventIds};
use xxhash_rust::xxh3::Xxh3Default;

use super::chunk::{ChunkError, Plain};

/// Events of one group; more are no request of anybody's.
const GROUP_EVENTS: usize = 5_000;
/// How long a group may go on growing, in microseconds.
const MOST_AGE_US: i64 = 300_000_000;
/// What an event, a tie and a group cost beside the packed bytes, in bytes, with the spare room of tables and an entry of
/// the queue for each event.
const EVENT_BYTES: usize = 40;
const TIE_BYTES: usize = 56;
const GROUP_BYTES: usize = 224;

/// Ties are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Which group a tie leads to, and how many events carry it.
#[derive(Debug, Clone, Copy)]
struct Holder {
    group: u32,
    events: u32,
}

/// Where an event's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    chunk: u32,
    at: u32,
}

#[derive(Debug, Default)]
struct Group {
    places: Vec<Place>,
    ties: Vec<u64>,
    first_us: i64,
    last_us: i64,
    /// Told apart from who had this slot before.
    generation: u32,
    alive: bool,
}

#[derive(Debug)]
struct Chunk {
    packed: Bytes,
    /// Events of it that are pending.
    live: u32,
}

/// One settled group: the bytes of its events.
#[derive(Debug)]
pub(crate) struct Settled {
    /// One event after the other, each with its length before it (u32 LE).
    bytes: Vec<u8>,
    /// How many.
    pub(crate) count: usize,
    /// When its first segment was shipped, unix microseconds by the store's clock.
    pub(crate) first_us: i64,
    /// When its last was.
    pub(crate) last_us: i64,
}

impl Settled {
    /// The bytes of each event.
    pub(crate) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (event, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            Some(event)
        })
    }
}

/// Groups that have not settled.
pub(crate) struct Pending {
    settle_us: i64,
    chunks: HashMap<u32, Chunk>,
    next_chunk: u32,
    holders: HashMap<u64, Holder, BuildHasherDefault<Hashed>>,
    groups: Vec<Group>,
    free: Vec<u32>,
    /// When a group settles if nothing more comes; entries of groups that went on are passed over.
    due: BinaryHeap<Reverse<(i64, u32, u32)>>,
    /// How many groups began at each moment.
    firsts: BTreeMap<i64, u32>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn new(settle_us: i64) -> Self {
        Self {
            settle_us,
            chunks: HashMap::new(),
            next_chunk: 0,
            holders: HashMap::default(),
            groups: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            firsts: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups held.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len() - self.free.len()
    }

    /// When the first segment of any group was shipped.
    pub(crate) fn first_us(&self) -> Option<i64> {
        self.firsts.first_key_value().map(|(&at, _)| at)
    }

    /// Adds the events of a chunk of a segment that was shipped at `shipped_us`; `skip` says which are known.
    /// Gives how many were added, and how many could not be read.
    pub(crate) fn add(
        &mut self,
        packed: Bytes,
        shipped_us: i64,
        skip: impl Fn(u64) -> bool,
    ) -> Result<(u64, u64), ChunkError> {
        let plain = Plain::unpack(packed.clone())?;
        let chunk = self.next_chunk;
        self.next_chunk = self.next_chunk.wrapping_add(1);
        let (mut added, mut unreadable) = (0, 0);
        for event in plain.events() {
            let (at, bytes) = event?;
            match event::wire::read(bytes) {
                Ok(event::Record::Event(event)) if skip(event.event_key) => {}
                Ok(event::Record::Event(event)) => {
                    self.add_event(&event, Place { chunk, at }, shipped_us);
                    added += 1;
                }
                Ok(_) | Err(_) => unreadable += 1,
            }
        }
        if added > 0 {
            self.bytes += packed.len();
            self.chunks.insert(chunk, Chunk { packed, live: added as u32 });
        }
        Ok((added, unreadable))
    }

    fn add_event(&mut self, event: &HopEvent<'_>, place: Place, shipped_us: i64) {
        let mut ties = [0u64; 5];
        let count = ties_of(event, &mut ties);
        let ties = &ties[..count];
        let mut at: Option<u32> = None;
        for tie in ties {
            let Some(holder) = self.holders.get_mut(tie) else { continue };
            holder.events += 1;
            let (group, sound) = (holder.group, holder.events as usize <= EVENTS_PER_REQUEST);
            let room = |at: u32| self.groups[at as usize].places.len() < GROUP_EVENTS;
            at = match at {
                _ if !sound || !room(group) => at,
                None => Some(group),
                Some(first) if first == group || !room(first) => at,
                Some(first) => Some(self.weld(first, group)),
            };
        }
        let at = at.unwrap_or_else(|| self.open(shipped_us));
        for &tie in ties {
            let holder = self.holders.entry(tie).or_insert_with(|| {
                self.groups[at as usize].ties.push(tie);
                self.bytes += TIE_BYTES;
                Holder { group: at, events: 1 }
            });
            // A full group's ties lead to the one that takes over from it.
            let full = |group: u32| self.groups[group as usize].places.len() >= GROUP_EVENTS;
            if holder.group != at && full(holder.group) {
                *holder = Holder { group: at, events: 1 };
                self.groups[at as usize].ties.push(tie);
                self.bytes += TIE_BYTES;
            }
        }
        self.groups[at as usize].places.push(place);
        self.bytes += EVENT_BYTES;
        self.touch(at, shipped_us);
    }

    fn open(&mut self, shipped_us: i64) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            (self.groups.len() - 1) as u32
        });
        let group = &mut self.groups[at as usize];
        (group.first_us, group.last_us, group.alive) = (shipped_us, i64::MIN, true);
        *self.firsts.entry(shipped_us).or_default() += 1;
        self.bytes += GROUP_BYTES;
        at
    }

    /// Notes that something came, and when the group settles if nothing more does.
    fn touch(&mut self, at: u32, shipped_us: i64) {
        let group = &mut self.groups[at as usize];
        if shipped_us < group.first_us {
            let before = std::mem::replace(&mut group.first_us, shipped_us);
            forget(&mut self.firsts, before);
            *self.firsts.entry(shipped_us).or_default() += 1;
        }
        let group = &mut self.groups[at as usize];
        if shipped_us > group.last_us {
            group.last_us = shipped_us;
            self.due.push(Reverse((due_us(group, self.settle_us), at, group.generation)));
        }
    }

    /// Makes one group of two; the one that stays.
    fn weld(&mut self, a: u32, b: u32) -> u32 {
        let larger = |at: u32| self.groups[at as usize].places.len() + self.groups[at as usize].ties.len();
        let (stays, goes) = if larger(a) >= larger(b) { (a, b) } else { (b, a) };
        let gone = self.close(goes);
        for tie in &gone.ties {
            if let Some(holder) = self.holders.get_mut(tie).filter(|holder| holder.group == goes) {
                holder.group = stays;
            }
        }
        let group = &mut self.groups[stays as usize];
        group.places.extend(gone.places);
        group.ties.extend(gone.ties);
        self.touch(stays, gone.first_us);
        self.touch(stays, gone.last_us);
        stays
    }

    /// Takes a group's content and frees its slot.
    fn close(&mut self, at: u32) -> Group {
        let slot = &mut self.groups[at as usize];
        let next = Group { generation: slot.generation.wrapping_add(1), ..Group::default() };
        let gone = std::mem::replace(slot, next);
        self.free.push(at);
        forget(&mut self.firsts, gone.first_us);
        self.bytes = self.bytes.saturating_sub(GROUP_BYTES);
        gone
    }

    /// Takes groups that have settled by `now_us`, in the order in which they did, until they hold `most_events`.
    pub(crate) fn take_settled(&mut self, now_us: i64, most_events: usize) -> Vec<Settled> {
        self.take(most_events, |due_us, _| due_us <= now_us)
    }

    /// Takes the groups that would settle next, until no more than `target_bytes` are held.
    pub(crate) fn take_early(&mut self, target_bytes: usize, most_events: usize) -> Vec<Settled> {
        self.take(most_events, |_, bytes| bytes > target_bytes)
    }

    fn take(&mut self, most_events: usize, wanted: impl Fn(i64, usize) -> bool) -> Vec<Settled> {
        let mut taken: Vec<Group> = Vec::new();
        let mut events = 0;
        while let Some(&Reverse((due, at, generation))) = self.due.peek() {
            let group = &self.groups[at as usize];
            let current =
                group.alive && group.generation == generation && due_us(group, self.settle_us) == due;
            if current && (!wanted(due, self.bytes) || events >= most_events) {
                break;
            }
            self.due.pop();
            if current {
                let group = self.close(at);
                for tie in &group.ties {
                    if self.holders.get(tie).is_some_and(|holder| holder.group == at) {
                        self.holders.remove(tie);
                    }
                }
                let beside = group.ties.len() * TIE_BYTES + group.places.len() * EVENT_BYTES;
                self.bytes = self.bytes.saturating_sub(beside);
                events += group.places.len();
                // Whoever takes by bytes must see what this group frees: its share of its chunks.
                taken.push(group);
                self.release_estimate(taken.last());
            }
        }
        self.read_out(taken)
    }

    /// Lets go of chunks whose last pending events were just taken, as far as the count of bytes goes.
    fn release_estimate(&mut self, group: Option<&Group>) {
        for place in group.into_iter().flat_map(|group| &group.places) {
            if let Some(chunk) = self.chunks.get_mut(&place.chunk) {
                chunk.live = chunk.live.saturating_sub(1);
                if chunk.live == 0 {
                    self.bytes = self.bytes.saturating_sub(chunk.packed.len());
                }
            }
        }
    }

    /// The bytes of groups, each chunk unpacked once.
    fn read_out(&mut self, groups: Vec<Group>) -> Vec<Settled> {
        let mut wanted: Vec<(Place, u32)> = Vec::new();
        let mut settled = Vec::with_capacity(groups.len());
        for (index, group) in groups.into_iter().enumerate() {
            let Group { places, first_us, last_us, .. } = group;
            settled.push(Settled { bytes: Vec::new(), count: places.len(), first_us, last_us });
            wanted.extend(places.into_iter().map(|place| (place, index as u32)));
        }
        wanted.sort_unstable();
        for of_chunk in wanted.chunk_by(|(a, _), (b, _)| a.chunk == b.chunk) {
            let Some((Place { chunk: number, .. }, _)) = of_chunk.first() else { continue };
            let Some(chunk) = self.chunks.get(number) else { continue };
            // It was unpacked when it was added; its bytes are in memory since.
            let Ok(plain) = Plain::unpack(chunk.packed.clone()) else { continue };
            for (place, group) in of_chunk {
                if let Some(event) = plain.event(place.at) {
                    let out = &mut settled[*group as usize].bytes;
                    out.extend_from_slice(&(event.len() as u32).to_le_bytes());
                    out.extend_from_slice(event);
                }
            }
            if chunk.live == 0 {
                self.chunks.remove(number);
            }
        }
        settled
    }
}

fn due_us(group: &Group, settle_us: i64) -> i64 {
    group.last_us.saturating_add(settle_us).min(group.first_us.saturating_add(MOST_AGE_US))
}

fn forget(firsts: &mut BTreeMap<i64, u32>, at: i64) {
    if let Some(count) = firsts.get_mut(&at) {
        *count -= 1;
        if *count == 0 {
            firsts.remove(&at);
        }
    }
}

/// What may tie an event to others of its request; how many there are.
fn ties_of(event: &HopEvent<'_>, out: &mut [u64; 5]) -> usize {
    let mut count = 0;
    let mut push = |kind: u8, high: u128, low: u64| {
        let mut hash = Xxh3Default::new();
        hash.update(event.tenant.as_bytes());
        hash.update(&[kind]);
        hash.update(&high.to_le_bytes());
        hash.update(&low.to_le_bytes());
        if let Some(place) = out.get_mut(count) {
            *place = hash.digest();
            count += 1;
        }
    };
    let ids = EventIds::from(event);
    let mut from_edge = false;
    for (kind, value) in ids.bridging() {
        push(kind as u8, value, 0);
        from_edge |= kind != correlation::IdKind::Request;
    }
    // The edge's own span, found again as the parent. Hops that carry an id of the edge's need no such tie.
    let span = match event.hop {
        Hop::Edge | Hop::Shield => event.span_id,
        _ if !from_edge => event.parent_span_id,
        _ => 0,
    };
    if span != 0 && event.trace_id != 0 {
        push(0, event.trace_id, span);
    }
    count
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
