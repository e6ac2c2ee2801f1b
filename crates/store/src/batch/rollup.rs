//! Per-minute sums of one batch: what dashboards read instead of events.

use std::borrow::Cow;
use std::collections::HashMap;

use event::HopEvent;
use xxhash_rust::xxh3::Xxh3Default;

use super::put;
use crate::native::{Block, Cell, Layout};

/// Most rollup rows of one batch. Hosts come from clients, so their number must not be theirs to choose; a real batch
/// has some hundreds of rows.
pub(crate) const MAX_ROWS: usize = 20_000;
/// What service and host become beyond [`MAX_ROWS`].
pub(crate) const OTHER: &str = "other";
/// Upper bound of latency bucket 0; each bucket's bound is the square root of two times the one before.
pub(crate) const FIRST_BUCKET_NS: u64 = 100_000;
/// The last bucket with a bound: 100 us * 2^(46/2), about 14 minutes. Longer durations are counted in it.
pub(crate) const LAST_BUCKET: u8 = 46;
/// The bucket of records without a duration.
pub(crate) const NO_DURATION: u8 = 255;

const MINUTE_NS: i64 = 60_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    requests: f64,
    errors: f64,
    response_bytes: f64,
    duration_ns: f64,
}

/// Rows and sums of `rollup_minute`.
#[derive(Debug)]
pub(crate) struct Rollup {
    keys: Block,
    sums: Vec<Sums>,
    rows: HashMap<u128, usize>,
    overflow: u64,
}

impl Rollup {
    pub(crate) fn new() -> Self {
        use Layout::Text;
        let keys = Block::new([
            ("tenant", "String", Text),
            ("minute", "DateTime('UTC')", u32::LAYOUT),
            ("hop", "Int8", u8::LAYOUT),
            ("direction", "Int8", u8::LAYOUT),
            ("service", "String", Text),
            ("namespace", "String", Text),
            ("pop", "String", Text),
            ("host", "String", Text),
            ("status_class", "UInt8", u8::LAYOUT),
            ("cache_result", "String", Text),
            ("verdict", "String", Text),
            ("latency_bucket", "UInt8", u8::LAYOUT),
            ("workload", "String", Text),
            ("workload_revision", "String", Text),
            ("service_version", "String", Text),
            ("policy_version", "String", Text),
            ("verdict_rule", "String", Text),
            ("issuer", "String", Text),
            ("key_id", "String", Text),
            ("requests", f64::TYPE, f64::LAYOUT),
            ("errors", f64::TYPE, f64::LAYOUT),
            ("response_bytes", f64::TYPE, f64::LAYOUT),
            ("duration_ns", f64::TYPE, f64::LAYOUT),
        ]);
        Self { keys, sums: Vec::new(), rows: HashMap::new(), overflow: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.sums.clear();
        self.rows.clear();
        self.overflow = 0;
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Counts an event. Periodic records of a request that goes on are not requests.
    pub(crate) fn add(&mut self, event: &HopEvent<'_>) {
        if event.intermediate {
            return;
        }
        let weight = if event.sample_rate > 0.0 { event.sample_rate } else { 1.0 };
        let failed = event.status >= 500 || (event.status == 0 && !event.response_flags.is_empty());
        let mut key = Key::of(event);
        let mut hash = key.hash();
        if self.sums.len() >= MAX_ROWS && !self.rows.contains_key(&hash) {
            self.overflow += 1;
            key.merge();
            hash = key.hash();
        }
        let row = *self.rows.entry(hash).or_insert_with(|| {
            key.put(&mut self.keys);
            self.sums.push(Sums::default());
            self.sums.len() - 1
        });
        if let Some(sums) = self.sums.get_mut(row) {
            sums.requests += weight;
            sums.errors += if failed { weight } else { 0.0 };
            sums.response_bytes += weight * event.response_bytes.unwrap_or(0) as f64;
            sums.duration_ns += weight * event.duration_ns.unwrap_or(0) as f64;
        }
    }

    /// The rows with their sums, ready to insert.
    pub(crate) fn block(&self) -> Block {
        let mut block = self.keys.slice(0..self.keys.rows);
        let first_sum = block.columns.len().saturating_sub(4);
        for sums in &self.sums {
            let mut columns = block.columns.iter_mut().skip(first_sum);
            put(&mut columns, &sums.requests);
            put(&mut columns, &sums.errors);
            put(&mut columns, &sums.response_bytes);
            put(&mut columns, &sums.duration_ns);
        }
        block
    }
}

struct Key<'e> {
    tenant: &'e str,
    minute_s: u32,
    hop: u8,
    direction: u8,
    service: &'e str,
    namespace: &'e str,
    pop: &'e str,
    host: &'e str,
    status_class: u8,
    cache_result: &'e str,
    verdict: &'e str,
    latency_bucket: u8,
    workload: &'e str,
    workload_revision: &'e str,
    service_version: &'e str,
    policy_version: &'e str,
    verdict_rule: &'e str,
    issuer: &'e str,
    key_id: &'e str,
}

impl<'e> Key<'e> {
    fn of(event: &'e HopEvent<'_>) -> Self {
        let near = event.start_ns.abs_diff(event.received_ns) <= DAY_NS as u64;
        let at_ns = if near { event.start_ns } else { event.received_ns };
        Self {
            tenant: &event.tenant,
            minute_s: ((at_ns - at_ns.rem_euclid(MINUTE_NS)) / 1_000_000_000).clamp(0, i64::from(u32::MAX))
                as u32,
            hop: event.hop as u8,
            direction: event.direction as u8,
            service: if event.service.is_empty() { &event.workload } else { &event.service },
            namespace: &event.namespace,
            pop: &event.pop,
            host: &event.host,
            status_class: (event.status / 100).min(9) as u8,
            cache_result: &event.cache_result,
            verdict: &event.verdict,
            latency_bucket: event.duration_ns.map_or(NO_DURATION, latency_bucket),
            workload: &event.workload,
            workload_revision: &event.workload_revision,
            service_version: &event.service_version,
            policy_version: &event.policy_version,
            verdict_rule: &event.verdict_rule,
            issuer: &event.issuer,
            key_id: &event.key_id,
        }
    }

    /// Into the few rows that are left for what comes beyond [`MAX_ROWS`]: without what senders may choose freely.
    fn merge(&mut self) {
        (self.service, self.host) = (OTHER, OTHER);
        let chosen = [
            &mut self.workload,
            &mut self.workload_revision,
            &mut self.service_version,
            &mut self.policy_version,
            &mut self.verdict_rule,
            &mut self.issuer,
            &mut self.key_id,
        ];
        for text in chosen.into_iter().filter(|text| !text.is_empty()) {
            *text = OTHER;
        }
    }

    fn hash(&self) -> u128 {
        let mut hash = Xxh3Default::new();
        let texts = [
            self.tenant,
            self.service,
            self.namespace,
            self.pop,
            self.host,
            self.cache_result,
            self.verdict,
            self.workload,
            self.workload_revision,
            self.service_version,
            self.policy_version,
            self.verdict_rule,
            self.issuer,
            self.key_id,
        ];
        for text in texts {
            hash.update(&(text.len() as u32).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&self.minute_s.to_le_bytes());
        hash.update(&[self.hop, self.direction, self.status_class, self.latency_bucket]);
        hash.digest128()
    }

    fn put(&self, block: &mut Block) {
        let mut columns = block.columns.iter_mut();
        let text = Cow::Borrowed;
        put(&mut columns, &text(self.tenant));
        put(&mut columns, &self.minute_s);
        put(&mut columns, &self.hop);
        put(&mut columns, &self.direction);
        put(&mut columns, &text(self.service));
        put(&mut columns, &text(self.namespace));
        put(&mut columns, &text(self.pop));
        put(&mut columns, &text(self.host));
        put(&mut columns, &self.status_class);
        put(&mut columns, &text(self.cache_result));
        put(&mut columns, &text(self.verdict));
        put(&mut columns, &self.latency_bucket);
        put(&mut columns, &text(self.workload));
        put(&mut columns, &text(self.workload_revision));
        put(&mut columns, &text(self.service_version));
        put(&mut columns, &text(self.policy_version));
        put(&mut columns, &text(self.verdict_rule));
        put(&mut columns, &text(self.issuer));
        put(&mut columns, &text(self.key_id));
        block.rows += 1;
    }
}

/// The smallest bucket whose bound is at least `duration_ns`; the bound of bucket n is 100 us * 2^(n/2).
pub(crate) fn latency_bucket(duration_ns: u64) -> u8 {
    if duration_ns <= FIRST_BUCKET_NS {
        return 0;
    }
    let halves = 2.0 * (duration_ns as f64 / FIRST_BUCKET_NS as f64).log2();
    // Bounds of even buckets are exact powers of two; rounding up must not lift them.
    ((halves - 1e-9).ceil() as u8).min(LAST_BUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_bounds_are_upper_bounds() {
        assert_eq!(latency_bucket(0), 0);
        assert_eq!(latency_bucket(100_000), 0);
        assert_eq!(latency_bucket(100_001), 1);
        assert_eq!(latency_bucket(200_000), 2);
        assert_eq!(latency_bucket(200_001), 3);
        assert_eq!(latency_bucket(u64::MAX), LAST_BUCKET);
    }

    #[test]
    fn hosts_beyond_the_bound_share_a_row_and_are_counted() {
        let mut rollup = Rollup::new();
        for host in 0..MAX_ROWS + 50 {
            rollup.add(&HopEvent { host: host.to_string().into(), ..HopEvent::default() });
        }
        assert_eq!(rollup.overflow(), 50);
        assert_eq!(rollup.block().rows, MAX_ROWS + 1);
    }

    #[test]
    fn no_text_of_a_sender_makes_rows_beyond_the_bound() {
        type Set = fn(&mut HopEvent<'_>, String);
        let chosen: [Set; 7] = [
            |event, text| event.workload = text.into(),
            |event, text| event.workload_revision = text.into(),
            |event, text| event.service_version = text.into(),
            |event, text| event.policy_version = text.into(),
            |event, text| event.verdict_rule = text.into(),
            |event, text| event.issuer = text.into(),
            |event, text| event.key_id = text.into(),
        ];
        for (place, set) in chosen.into_iter().enumerate() {
            let mut rollup = Rollup::new();
            for n in 0..MAX_ROWS + 50 {
                let mut event = HopEvent::default();
                set(&mut event, n.to_string());
                rollup.add(&event);
            }
            assert_eq!(rollup.block().rows, MAX_ROWS + 1, "field {place}");
        }
    }

    #[test]
    fn what_decides_and_what_runs_are_kept_apart() {
        let mut rollup = Rollup::new();
        let plain = HopEvent { workload: "checkout".into(), ..HopEvent::default() };
        for event in [
            HopEvent { workload_revision: "v2".into(), ..plain.clone() },
            HopEvent { service_version: "43".into(), ..plain.clone() },
            HopEvent { policy_version: "7".into(), ..plain.clone() },
            HopEvent { verdict_rule: "members".into(), ..plain.clone() },
            HopEvent { issuer: "a".into(), ..plain.clone() },
            HopEvent { key_id: "a".into(), ..plain.clone() },
            HopEvent::default(),
            plain,
        ] {
            rollup.add(&event);
            rollup.add(&event);
        }
        assert_eq!(rollup.block().rows, 8);
    }

    #[test]
    fn a_broken_clock_falls_back_to_the_receipt() {
        let event = HopEvent { start_ns: 5, received_ns: 10 * DAY_NS, ..HopEvent::default() };
        assert_eq!(Key::of(&event).minute_s, 10 * 86_400);
    }
}
