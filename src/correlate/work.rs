//! The loop while the lease is held: read what was shipped, take what settled, hand on what was decided, say how far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::query::ShippedRow;
use store::{Decided, Store, StoreError};
use tokio::sync::mpsc;

use super::assemble::{Assembled, Assembly};
use super::complete::{Late, complete};
use super::judge::Judge;
use super::pending::{Pending, Settled};
use super::seen::{SEEN_BYTES, Seen, of_id, of_key};
use super::segments::{OVERLAP_US, Segments, Unread};
use super::skews::Skews;
use super::{Correlator, StoreSource};
use crate::export::Batch;
use crate::metrics::Metrics;

/// Between two looks for shipped segments.
const TICK: Duration = Duration::from_millis(500);
/// Events read with one question: some ten megabytes packed.
const READ_EVENTS: u64 = 50_000;
/// Events read before what settled by them is taken: a backlog is worked off in such steps.
const READ_AT_ONCE: u64 = 200_000;
/// Events that are assembled together: what is decoded at once, some 2.5 kB each, and one batch of the exporter.
const TAKE_EVENTS: usize = 8_000;
/// Incomplete requests looked up in the store per tick. Where hops are missing for good, every request looks incomplete,
/// and looking all of them up would cost more than everything else.
const LOOK_UPS: i64 = 50;
/// Late groups completed with one round of questions.
const LATE_AT_ONCE: usize = 100;
/// What is read back at the start: decisions for the filter and how far back, and events that were decided among those
/// that are read again, eight bytes each: a hundred seconds at 80,000 a second.
const WARM_DECISIONS: u32 = 500_000;
const WARM_US: i64 = 7_200_000_000;
const REPLAYED_EVENTS: u32 = 10_000_000;
/// At the bound of memory, groups are settled early until this share is free again.
const FREED_SHARE: f64 = 0.1;

/// What correlation holds in memory.
pub(super) struct Work<'c> {
    source: &'c StoreSource,
    metrics: &'c Metrics,
    memory_bytes: usize,
    /// How long what is read is kept.
    recent_us: i64,
    assembly: Arc<Assembly>,
    pending: Pending,
    segments: Segments,
    skews: Skews,
    /// How far everything was decided when this began. What was shipped before and is not there to read is no loss:
    /// the one before read it, or correlation was off.
    begun_us: i64,
    /// Events that the one before decided: they are read again and passed over.
    decided_before: Vec<u64>,
    /// Until when they may come.
    replayed_until_us: i64,
    batches: mpsc::Sender<Batch>,
    finished: mpsc::Receiver<u64>,
    /// Batches that are not finished: since when, and what was decided in them.
    under_way: BTreeMap<u64, (i64, Vec<Decided>)>,
    next_number: u64,
    /// When the store's clock was read last.
    looked: Instant,
    through_us: &'c AtomicI64,
}

impl<'c> Work<'c> {
    /// Runs until it is dropped.
    pub(super) async fn run(
        correlator: &'c Correlator,
        batches: mpsc::Sender<Batch>,
        finished: mpsc::Receiver<u64>,
        through_us: &'c AtomicI64,
    ) {
        let settle = correlator.settings.settle;
        let judge = correlator.export.as_ref().map(|(settings, transport)| Judge {
            mode: settings.mode,
            keep: settings.keep,
            own: transport.host_and_path(),
        });
        let assembly = Assembly {
            judge,
            seen: RwLock::new(Seen::new(SEEN_BYTES)),
            settle_ns: settle.as_nanos() as i64,
            look_ups: AtomicI64::new(LOOK_UPS),
            erasures: Some(Arc::clone(&correlator.erasures)),
        };
        let mut work = Self {
            source: &correlator.source,
            metrics: &correlator.metrics,
            memory_bytes: correlator.settings.memory_bytes.saturating_sub(SEEN_BYTES),
            recent_us: i64::from(correlator.recent_hours) * 3_600_000_000,
            assembly: Arc::new(assembly),
            pending: Pending::new(settle.as_micros() as i64),
            segments: Segments::after(through_us.load(Ordering::Relaxed)),
            skews: Skews::default(),
            begun_us: through_us.load(Ordering::Relaxed),
            decided_before: Vec::new(),
            replayed_until_us: 0,
            batches,
            finished,
            under_way: BTreeMap::new(),
            next_number: 0,
            looked: Instant::now(),
            through_us,
        };
        work.warm().await;
        loop {
            if !work.tick().await {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    /// Reads back what was decided lately.
    async fn warm(&mut self) {
        let through_us = self.through_us.load(Ordering::Relaxed);
        let Before { now_us, entries, keys } =
            ask!(*self.source, "warm", |store| read_back(&store, through_us));
        let mut seen = self.assembly.seen.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Oldest first, so that the newest stay longest.
        entries.into_iter().rev().for_each(|entry| seen.insert(entry));
        drop(seen);
        // What is older than this is not kept; a service that did not correlate for a week does not look through it.
        let kept_us = now_us - self.recent_us;
        if through_us < kept_us {
            tracing::warn!(
                hours = (kept_us - through_us) / 3_600_000_000,
                "correlation was behind by more than retention.recent_hours; what was shipped so long ago is not exported"
            );
            (self.segments, self.begun_us) = (Segments::after(kept_us), kept_us);
            self.through_us.store(kept_us, Ordering::Relaxed);
        }
        self.replayed_until_us = if keys.is_empty() { 0 } else { now_us + OVERLAP_US };
        self.decided_before = keys;
    }

    /// One look; whether there is more to do at once.
    async fn tick(&mut self) -> bool {
        self.assembly.look_ups.store(LOOK_UPS, Ordering::Relaxed);
        let segments = &self.segments;
        let (now_us, unread) = ask!(*self.source, "look for segments", |store| look(&store, segments));
        self.looked = Instant::now();
        let (horizon_us, more) = self.read(unread, now_us).await;
        loop {
            let settled = self.pending.take_settled(horizon_us, TAKE_EVENTS);
            if settled.is_empty() {
                break;
            }
            self.decide(settled, now_us).await;
        }
        // Where even the settle window does not fit, its oldest part must go before its time: waiting would not help.
        while more && self.pending.bytes() >= self.memory_bytes {
            let target = (self.memory_bytes as f64 * (1.0 - FREED_SHARE)) as usize;
            let early = self.pending.take_early(target, TAKE_EVENTS);
            if early.is_empty() {
                break;
            }
            self.metrics.correlation.early.inc_by(early.len() as u64);
            self.decide(early, now_us).await;
        }
        self.finish(horizon_us, now_us).await;
        more
    }

    /// Reads segments as far as memory allows; up to when everything is read, and whether there are others.
    async fn read(&mut self, unread: Unread, now_us: i64) -> (i64, bool) {
        let mut rest = unread.rows.as_slice();
        let mut read = 0;
        while !rest.is_empty() && read < READ_AT_ONCE && self.pending.bytes() < self.memory_bytes {
            let mut events = 0;
            let fits = |row: &&ShippedRow| {
                events += row.events;
                events <= READ_EVENTS
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (part, after) = rest.split_at(count);
            read += part.iter().map(|row| row.events).sum::<u64>();
            self.read_segments(part).await;
            rest = after;
        }
        match rest.first() {
            Some(next) => (next.shipped_at_us - 1, true),
            None if unread.complete => (now_us, false),
            None => (unread.rows.last().map_or(now_us, |last| last.shipped_at_us), true),
        }
    }

    async fn read_segments(&mut self, rows: &[ShippedRow]) {
        let ids: Vec<[u8; 16]> = rows.iter().filter(|row| row.events > 0).map(|row| row.segment).collect();
        let chunks = ask!(*self.source, "read segments", |store| store.recent(&ids));
        let mut read: BTreeMap<[u8; 16], u64> = BTreeMap::new();
        let replaying = !self.decided_before.is_empty();
        let when: BTreeMap<[u8; 16], i64> = rows.iter().map(|row| (row.segment, row.shipped_at_us)).collect();
        tokio::task::block_in_place(|| {
            for chunk in chunks {
                let Some(&shipped_us) = when.get(&chunk.segment) else { continue };
                *read.entry(chunk.segment).or_default() += u64::from(chunk.events);
                let known = |key: u64| replaying && self.decided_before.binary_search(&key).is_ok();
                match self.pending.add(Bytes::from(chunk.packed), shipped_us, known) {
                    Ok((added, unreadable)) => {
                        self.metrics.correlation.events.inc_by(added);
                        self.metrics.correlation.unreadable.inc_by(unreadable);
                    }
                    Err(error) => {
                        tracing::error!(%error, events = chunk.events, "a chunk of a segment cannot be read; its events are not correlated");
                        self.metrics.correlation.unreadable.inc_by(chunk.events.into());
                    }
                }
            }
        });
        for row in rows {
            let expected = row.events > 0 && row.shipped_at_us > self.begun_us;
            if expected && !read.contains_key(&row.segment) {
                self.metrics.correlation.missed.inc();
                if self.source.log.now("missed") {
                    tracing::error!(
                        instance = row.instance,
                        "a segment is not there for correlation: shipped with correlation off, or longer ago than retention.recent_hours"
                    );
                }
            }
            self.segments.note(row);
        }
    }

    /// Assembles groups, completes the late ones from the store, and hands on what was decided.
    async fn decide(&mut self, settled: Vec<Settled>, now_us: i64) {
        let first_us = settled.iter().map(|group| group.first_us).min().unwrap_or(now_us);
        let mut assembled = self.assemble(settled, now_us).await;
        {
            let mut seen = self.assembly.seen.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            assembled.entries.drain(..).for_each(|entry| seen.insert(entry));
        }
        let counts = &self.metrics.correlation;
        counts.late("known", assembled.late.len() as u64);
        counts.late("incomplete", assembled.fragments.len() as u64);
        counts.late("unlooked", assembled.unlooked);
        let mut late = std::mem::take(&mut assembled.late);
        late.append(&mut assembled.fragments);
        if !late.is_empty() {
            self.complete(late, &mut assembled, now_us).await;
        }
        self.metrics.correlation.settled.inc_by(assembled.settled);
        for (tenant, observation) in assembled.observations.drain(..) {
            self.skews.add(&tenant, observation);
        }
        if assembled.outgoing.is_empty() {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let decided = assembled.outgoing.iter().map(|outgoing| outgoing.decided.clone()).collect();
        self.under_way.insert(number, (first_us, decided));
        let batch = Batch { number, outgoing: assembled.outgoing, now_us, looked: self.looked };
        loop {
            tokio::select! {
                permit = self.batches.reserve() => {
                    // Closed only when all of this ends.
                    let Ok(permit) = permit else { return };
                    permit.send(batch);
                    return;
                }
                Some(number) = self.finished.recv() => {
                    self.under_way.remove(&number);
                }
                // A receiver that is away must not hide how far behind this is.
                () = tokio::time::sleep(TICK) => self.show(now_us).await,
            }
        }
    }

    async fn assemble(&self, settled: Vec<Settled>, now_us: i64) -> Assembled {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let share = settled.len().div_ceil(threads).max(1);
        let mut rest = settled;
        let mut under_way = Vec::new();
        while !rest.is_empty() {
            let after = rest.split_off(rest.len().min(share));
            let part = std::mem::replace(&mut rest, after);
            let assembly = Arc::clone(&self.assembly);
            let now_ns = now_us.saturating_mul(1000);
            under_way.push(tokio::task::spawn_blocking(move || assembly.assemble(&part, now_ns)));
        }
        let mut all = Assembled::default();
        for part in under_way {
            match part.await {
                Ok(part) => all.append(part),
                Err(error) => tracing::error!(%error, "assembling failed; its requests are not exported"),
            }
        }
        all
    }

    async fn complete(&self, late: Vec<Late>, out: &mut Assembled, now_us: i64) {
        let mut by_tenant: BTreeMap<String, Vec<Late>> = BTreeMap::new();
        for one in late {
            let tenant = one.events.first().map_or_else(String::new, |event| event.tenant.to_string());
            by_tenant.entry(tenant).or_default().push(one);
        }
        for (tenant, mut rest) in by_tenant {
            while !rest.is_empty() {
                let after = rest.split_off(rest.len().min(LATE_AT_ONCE));
                let part = std::mem::replace(&mut rest, after);
                let completed = ask!(*self.source, "complete", |store| complete(&store, &tenant, &part));
                let mut elsewhere: Vec<&Decided> =
                    self.under_way.values().flat_map(|(_, decided)| decided).collect();
                elsewhere.extend(out.outgoing.iter().map(|outgoing| &outgoing.decided));
                let now_ns = now_us.saturating_mul(1000);
                let done = tokio::task::block_in_place(|| {
                    self.assembly.assemble_late(&part, completed, &elsewhere, now_ns)
                });
                out.append(done);
            }
        }
    }

    /// Says how far everything is decided, and shows the figures.
    async fn finish(&mut self, horizon_us: i64, now_us: i64) {
        while let Ok(number) = self.finished.try_recv() {
            self.under_way.remove(&number);
        }
        let waiting = self.under_way.values().map(|(first_us, _)| *first_us).chain(self.pending.first_us());
        let through_us = waiting.map(|first_us| first_us - 1).chain([horizon_us]).min().unwrap_or(horizon_us);
        self.through_us.store(through_us, Ordering::Relaxed);
        if self.replayed_until_us != 0 && horizon_us > self.replayed_until_us {
            self.decided_before = Vec::new();
            self.replayed_until_us = 0;
        }
        let rows = self.skews.due(now_us / 1_000_000);
        if !rows.is_empty() {
            ask!(*self.source, "write clock skew", |store| store.note_skews(&rows));
        }
        let counts = &self.metrics.correlation;
        counts.lag.set(now_us.saturating_sub(horizon_us).max(0) as f64 / 1e6);
        counts.groups.set(self.pending.groups() as i64);
        counts.bytes.set(self.pending.bytes() as i64);
    }

    /// Shows the lag while nothing moves.
    async fn show(&self, since_us: i64) {
        let Some(store) = self.source.store.borrow().clone() else { return };
        if let Ok(now_us) = store.now_us().await {
            let behind_us = now_us.saturating_sub(since_us).max(0);
            self.metrics.correlation.lag.set(behind_us as f64 / 1e6);
        }
    }
}

/// What was decided lately.
struct Before {
    now_us: i64,
    /// Entries of the filter, newest first.
    entries: Vec<u64>,
    /// Events that are read again and were decided, ascending.
    keys: Vec<u64>,
}

async fn read_back(store: &Store, through_us: i64) -> Result<Before, StoreError> {
    let now_us = store.now_us().await?;
    let mut entries = Vec::new();
    let remember = |id, keys: &[u64]| {
        entries.push(of_id(id));
        entries.extend(keys.iter().map(|&key| of_key(key)));
    };
    store.decided_since(now_us - WARM_US, WARM_DECISIONS, remember).await?;
    let keys = store.keys_decided_since(through_us.saturating_sub(OVERLAP_US), REPLAYED_EVENTS).await?;
    if keys.len() == REPLAYED_EVENTS as usize {
        tracing::warn!("more was decided lately than is read back; some spans are sent again with equal ids");
    }
    Ok(Before { now_us, entries, keys })
}

/// The store's clock and what is to be read. The clock first: what is shipped after it was read settles later.
async fn look(store: &Store, segments: &Segments) -> Result<(i64, Unread), StoreError> {
    let now_us = store.now_us().await?;
    Ok((now_us, segments.unread(store).await?))
}
