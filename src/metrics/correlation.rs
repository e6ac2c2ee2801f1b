//! What correlation and export count. All of it stands still on an instance that does not hold the lease.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use store::Decision;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters and gauges of correlation and export.
#[derive(Debug)]
pub(crate) struct Correlation {
    /// 1 while this instance correlates.
    pub(crate) lease: Gauge,
    /// Seconds between what is read and what the store has.
    pub(crate) lag: Gauge<f64, AtomicU64>,
    pub(crate) groups: Gauge,
    pub(crate) bytes: Gauge,
    /// Events read.
    pub(crate) events: Counter,
    /// Events whose bytes this build cannot read.
    pub(crate) unreadable: Counter,
    /// Segments that correlation never saw: too old, or shipped by an instance that does not correlate.
    pub(crate) missed: Counter,
    /// Requests put together, whatever is done with them.
    pub(crate) settled: Counter,
    requests: Family<Decided, Counter>,
    late: Family<Reason, Counter>,
    /// Groups settled before their time, for want of memory.
    pub(crate) early: Counter,
    pub(crate) spans: Counter,
    pub(crate) refused_spans: Counter,
    pub(crate) retries: Counter,
    /// From the last record's shipping to the receiver's answer.
    age: Histogram,
}

impl Default for Correlation {
    fn default() -> Self {
        // The settle window is 15 s by default; what matters is how much longer it takes.
        let age = Histogram::new([5.0, 10.0, 15.0, 16.0, 17.0, 18.0, 20.0, 30.0, 60.0, 300.0, 1800.0]);
        Self {
            lease: Gauge::default(),
            lag: Gauge::default(),
            groups: Gauge::default(),
            bytes: Gauge::default(),
            events: Counter::default(),
            unreadable: Counter::default(),
            missed: Counter::default(),
            settled: Counter::default(),
            requests: Family::default(),
            late: Family::default(),
            early: Counter::default(),
            spans: Counter::default(),
            refused_spans: Counter::default(),
            retries: Counter::default(),
            age,
        }
    }
}

impl Correlation {
    /// Counts requests that were decided alike.
    pub(crate) fn decided(&self, decision: Decision, count: u64) {
        self.requests.get_or_create(&Decided { decision: decision.name() }).inc_by(count);
    }

    /// Counts groups that were looked up in the store, or not looked up for there were too many, and why.
    pub(crate) fn late(&self, reason: &'static str, count: u64) {
        self.late.get_or_create(&Reason { reason }).inc_by(count);
    }

    /// Counts a request that the receiver has, by how long after its last record.
    pub(crate) fn exported_after(&self, age: Duration) {
        self.age.observe(age.as_secs_f64());
    }

    /// Names everything for the exposition text.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("correlation_lease", "1 where this instance correlates", self.lease.clone());
        let lag = "How far correlation is behind what is in the store";
        registry.register_with_unit("correlation_lag", lag, Unit::Seconds, self.lag.clone());
        registry.register(
            "correlation_groups",
            "Groups of events that have not settled",
            self.groups.clone(),
        );
        let bytes = "Memory that they take";
        registry.register_with_unit("correlation_pending", bytes, Unit::Bytes, self.bytes.clone());
        registry.register("correlation_events", "Hop events read by correlation", self.events.clone());
        let unreadable = "Hop events that a newer version wrote, left out of correlation";
        registry.register("correlation_unreadable_events", unreadable, self.unreadable.clone());
        let missed = "Segments that correlation could not read: too old, or shipped without it";
        registry.register("correlation_missed_segments", missed, self.missed.clone());
        registry.register("settled_requests", "Requests that settled", self.settled.clone());
        registry.register("requests", "Settled requests by what was decided", self.requests.clone());
        let late = "Groups completed from the store, by why; unlooked: too many at once";
        registry.register("correlation_late_groups", late, self.late.clone());
        let early = "Groups settled before their time for want of memory";
        registry.register("correlation_early_groups", early, self.early.clone());
        registry.register("exported_spans", "Spans that the receiver took", self.spans.clone());
        registry.register("refused_spans", "Spans that the receiver refused", self.refused_spans.clone());
        registry.register(
            "export_retries",
            "Requests to the receiver that failed and are repeated",
            self.retries.clone(),
        );
        let age = "From the shipping of a request's last record to the receiver's answer";
        registry.register_with_unit("export_age", age, Unit::Seconds, self.age.clone());
    }
}
