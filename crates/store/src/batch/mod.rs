//! One segment's rows, column by column, ready to insert. Buffers are kept from batch to batch by [`Batch::clear`].

pub(crate) mod events;
pub(crate) mod ledger;
mod rollup;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use correlation::IdKind;
use event::{HopEvent, Record, Reject, RejectReason, Tally};
use xxhash_rust::xxh3::xxh3_128;

use crate::locator::Locator;
use crate::native::{Block, Cell, Column};
use ledger::Ledger;
use rollup::Rollup;

/// Most records of one batch. One insert is one block, and so atomic, below the engine's 1,048,449 rows; ids are at most
/// four an event before they collapse.
pub const MAX_RECORDS: usize = 250_000;

/// Rows of one segment for every table but `shipped`.
#[derive(Debug)]
pub struct Batch {
    pub(crate) events: Block,
    pub(crate) ids: Block,
    pub(crate) rejects: Block,
    pub(crate) recent: Block,
    pub(crate) rollup: Rollup,
    pub(crate) ledger: Ledger,
    /// Sets of ids seen in this batch, by hash: a request's hops share them.
    seen: HashSet<u128>,
    pub(crate) received_ns: Option<(i64, i64)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            events: events::block(),
            ids: ids_block(),
            rejects: rejects_block(),
            recent: recent_block(),
            rollup: Rollup::new(),
            ledger: Ledger::default(),
            seen: HashSet::new(),
            received_ns: None,
        }
    }

    /// Adds a record as it came out of the spool.
    pub fn push(&mut self, record: &Record<'_>) {
        match record {
            Record::Event(event) => self.push_event(event),
            Record::Reject(reject) => self.push_reject(reject),
            Record::Tally(tally) => self.push_tally(tally),
        }
    }

    /// Adds an event, its ids and its part in the rollup.
    pub fn push_event(&mut self, event: &HopEvent<'_>) {
        let locator = Locator::of(event);
        events::put(&mut self.events, event, locator);
        // Rows of `ids` follow from the tenant, the bucket and the event's ids: a set that was here brings nothing new.
        let ids = [event.correlation_id, event.request_id, event.edge_request_id, event.trace_id];
        if self.seen.insert(id_set_hash(&event.tenant, locator.bucket_s, ids)) {
            self.push_ids(&event.tenant, locator.bucket_s, ids);
        }
        self.rollup.add(event);
        self.ledger.event(&event.tenant, &event.source, event.received_ns);
        self.note_received(event.received_ns);
    }

    /// A row for each id, with the others beside it; its own column stays empty.
    fn push_ids(&mut self, tenant: &str, bucket_s: u32, ids: [u128; 4]) {
        for (own, kind) in IdKind::ALL.into_iter().enumerate().filter(|(own, _)| ids[*own] != 0) {
            let mut columns = self.ids.columns.iter_mut();
            put(&mut columns, &Cow::Borrowed(tenant));
            put(&mut columns, &ids[own]);
            put(&mut columns, &(kind as u8));
            put(&mut columns, &bucket_s);
            for (other, id) in ids.iter().enumerate() {
                put(&mut columns, if other == own { &0 } else { id });
            }
            self.ids.rows += 1;
        }
    }

    /// Adds events once more, in the form that correlation reads: `events` of them, packed by the caller.
    pub fn push_recent(&mut self, segment: [u8; 16], events: u32, packed: &[u8]) {
        let chunk = self.recent.rows as u32;
        put_recent(&mut self.recent, segment, chunk, events, packed);
    }

    /// Adds a reject.
    pub fn push_reject(&mut self, reject: &Reject<'_>) {
        put_reject(&mut self.rejects, reject);
        self.ledger.reject(&reject.tenant, &reject.source, reject.received_ns);
        self.note_received(reject.received_ns);
    }

    /// Adds an entry of the ledger.
    pub fn push_tally(&mut self, tally: &Tally<'_>) {
        self.ledger.tally(tally);
        self.note_received(tally.received_ns);
    }

    /// Counts a record that is erased and so does not become a row.
    pub fn push_erased(&mut self, tenant: &str, source: &str, received_ns: i64) {
        self.ledger.erase(tenant, source, received_ns);
        self.note_received(received_ns);
    }

    /// Records pushed, by tenant and source.
    pub fn records_by_source(&self) -> BTreeMap<(String, String), u64> {
        self.ledger.stored()
    }

    /// Events and rejects pushed since the last [`Self::clear`].
    pub fn len(&self) -> usize {
        self.events.rows + self.rejects.rows
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of values held, over all tables.
    pub fn bytes(&self) -> usize {
        self.events.bytes() + self.ids.bytes() + self.rejects.bytes() + self.recent.bytes()
    }

    /// Events whose rollup row lost its service and host to the label `other`, because the batch had too many rows.
    pub fn rollup_overflow(&self) -> u64 {
        self.rollup.overflow()
    }

    /// Forgets the rows and keeps the buffers.
    pub fn clear(&mut self) {
        self.events.clear();
        self.ids.clear();
        self.rejects.clear();
        self.recent.clear();
        self.rollup.clear();
        self.ledger.clear();
        self.seen.clear();
        self.received_ns = None;
    }

    fn note_received(&mut self, at_ns: i64) {
        let (first, last) = self.received_ns.unwrap_or((at_ns, at_ns));
        self.received_ns = Some((first.min(at_ns), last.max(at_ns)));
    }
}

fn id_set_hash(tenant: &str, bucket_s: u32, ids: [u128; 4]) -> u128 {
    let mut set = [0; 68];
    for (place, id) in set.chunks_exact_mut(16).zip(ids) {
        place.copy_from_slice(&id.to_le_bytes());
    }
    set[64..].copy_from_slice(&bucket_s.to_le_bytes());
    xxh3_128(&set) ^ xxh3_128(tenant.as_bytes())
}

/// Puts the next column's value.
fn put<'c, T: Cell>(columns: &mut impl Iterator<Item = &'c mut Column>, value: &T) {
    if let Some(column) = columns.next() {
        value.put(column);
    }
}

fn ids_block() -> Block {
    Block::new([
        ("tenant", "String", crate::native::Layout::Text),
        ("id", u128::TYPE, u128::LAYOUT),
        ("kind", "Int8", u8::LAYOUT),
        ("bucket", "DateTime('UTC')", u32::LAYOUT),
        ("correlation_id", u128::TYPE, u128::LAYOUT),
        ("request_id", u128::TYPE, u128::LAYOUT),
        ("edge_request_id", u128::TYPE, u128::LAYOUT),
        ("trace_id", u128::TYPE, u128::LAYOUT),
    ])
}

/// Appends one row of `recent`.
pub(crate) fn put_recent(block: &mut Block, segment: [u8; 16], chunk: u32, events: u32, packed: &[u8]) {
    let mut columns = block.columns.iter_mut();
    put(&mut columns, &u128::from_be_bytes(segment));
    put(&mut columns, &chunk);
    put(&mut columns, &events);
    put(&mut columns, &Cow::Borrowed(packed));
    block.rows += 1;
}

/// No rows of `recent` yet.
pub(crate) fn recent_block() -> Block {
    Block::new([
        ("segment", u128::TYPE, u128::LAYOUT),
        ("chunk", u32::TYPE, u32::LAYOUT),
        ("events", u32::TYPE, u32::LAYOUT),
        ("bytes", "String", crate::native::Layout::Text),
    ])
}

/// An empty block of `rejects`.
pub(crate) fn rejects_block() -> Block {
    use crate::native::Layout::Text;
    Block::new([
        ("tenant", "String", Text),
        ("source", "String", Text),
        ("format", "String", Text),
        ("received_ns", i64::TYPE, i64::LAYOUT),
        ("reason", RejectReason::TYPE, Text),
        ("detail", "String", Text),
        ("offset", u64::TYPE, u64::LAYOUT),
        ("length", u64::TYPE, u64::LAYOUT),
        ("bytes", "String", Text),
    ])
}

/// Appends one reject.
pub(crate) fn put_reject(block: &mut Block, reject: &Reject<'_>) {
    let mut columns = block.columns.iter_mut();
    put(&mut columns, &reject.tenant);
    put(&mut columns, &reject.source);
    put(&mut columns, &reject.format);
    put(&mut columns, &reject.received_ns);
    put(&mut columns, &reject.reason);
    put(&mut columns, &reject.detail);
    put(&mut columns, &reject.offset);
    put(&mut columns, &reject.length);
    put(&mut columns, &reject.bytes);
    block.rows += 1;
}
