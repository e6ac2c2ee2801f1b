//! What the service counts of itself, for `/metrics`. Labels come from configuration or closed vocabularies only, so
//! their number is bounded. Counted per delivery or segment, never per event.

mod correlation;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::accept::{Receipt, Refusal};
use crate::config::{Source, SourceKind};
pub(crate) use correlation::Correlation;
pub(crate) use store::StoreRoom;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSource {
    tenant: String,
    source: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rejected {
    tenant: String,
    source: String,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    tenant: String,
    source: String,
    cause: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TurnedAway {
    kind: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSender {
    tenant: String,
    source: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfToken {
    owner: &'static str,
    name: String,
    token: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    end: &'static str,
}

/// Who ended a stream of ALS, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StreamEnd {
    /// Its sender.
    Sender,
    /// The service, because it had reached its age.
    Aged,
    /// The service, because it drains.
    Drained,
    /// Its sender did not hear of the end in time: what it still sent is lost.
    Cut,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

/// Counters and gauges of one instance.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    deliveries: Family<OfSource, Counter>,
    events: Family<OfSource, Counter>,
    rejects: Family<Rejected, Counter>,
    refused: Family<Refused, Counter>,
    unread: Family<Refused, Counter>,
    turned_away: Family<TurnedAway, Counter>,
    payload_bytes: Family<OfSource, Counter>,
    stored: Family<OfSource, Counter>,
    sender: Family<OfSender, Counter>,
    segments: Family<Outcome, Counter>,
    streams: Family<Ended, Counter>,
    shipped_events: Counter,
    engine_restarts: Counter,
    tokens: Family<OfToken, Gauge>,
    connections_ended: Family<Why, Counter>,
    spool_used: Gauge,
    spool_max: Gauge,
    spool_oldest: Gauge<f64, AtomicU64>,
    spool_waiting: Gauge,
    /// Of the store's disk.
    pub(crate) store: StoreRoom,
    /// Of correlation and export.
    pub(crate) correlation: Correlation,
}

impl Metrics {
    /// Counts one delivery by its outcome.
    pub(crate) fn delivered(&self, source: &Source, outcome: &Result<Receipt, Refusal>) {
        let (tenant, name) = (source.tenant.clone(), source.name.clone());
        match outcome {
            Ok(receipt) => {
                let labels = OfSource { tenant, source: name };
                self.deliveries.get_or_create(&labels).inc();
                self.events.get_or_create(&labels).inc_by(receipt.accepted);
                self.payload_bytes.get_or_create(&labels).inc_by(receipt.payload_bytes);
                for (&reason, &count) in &receipt.by_reason {
                    let OfSource { tenant, source } = labels.clone();
                    self.rejects.get_or_create(&Rejected { tenant, source, reason }).inc_by(count);
                }
            }
            Err(refusal) => self.refused(source, refusal),
        }
    }

    /// Counts one delivery that was refused.
    fn refused(&self, source: &Source, refusal: &Refusal) {
        let (tenant, source) = (source.tenant.clone(), source.name.clone());
        self.refused.get_or_create(&Refused { tenant, source, cause: refusal.cause() }).inc();
    }

    /// Counts one delivery that was not read to its end.
    pub(crate) fn unread(&self, source: &Source, cause: &'static str) {
        let labels = Refused { tenant: source.tenant.clone(), source: source.name.clone(), cause };
        self.unread.get_or_create(&labels).inc();
    }

    /// Counts one delivery that no source's token opened: whose it is, nobody knows.
    pub(crate) fn turned_away(&self, kind: SourceKind, cause: &'static str) {
        self.turned_away.get_or_create(&TurnedAway { kind: kind.name(), cause }).inc();
    }

    /// Counts what senders of a source say of themselves.
    pub(crate) fn reported(&self, source: &Source, outcome: &'static str, records: u64) {
        let (tenant, name) = (source.tenant.clone(), source.name.clone());
        self.sender.get_or_create(&OfSender { tenant, source: name, outcome }).inc_by(records);
    }

    /// Counts one segment that is in the store and deleted, with its records by tenant and source.
    pub(crate) fn shipped(&self, events: u64, records: BTreeMap<(String, String), u64>) {
        for ((tenant, source), count) in records {
            self.stored.get_or_create(&OfSource { tenant, source }).inc_by(count);
        }
        self.segments.get_or_create(&Outcome { outcome: "shipped" }).inc();
        self.shipped_events.inc_by(events);
    }

    /// Counts one try at a segment that failed and will be repeated.
    pub(crate) fn ship_failed(&self) {
        self.segments.get_or_create(&Outcome { outcome: "retried" }).inc();
    }

    /// Counts one segment that could not be read and was set aside.
    pub(crate) fn set_aside(&self) {
        self.segments.get_or_create(&Outcome { outcome: "set_aside" }).inc();
    }

    /// Counts one segment that waits for a newer version.
    pub(crate) fn held(&self) {
        self.segments.get_or_create(&Outcome { outcome: "held" }).inc();
    }

    /// Counts one end of a stream of ALS.
    pub(crate) fn stream_ended(&self, end: StreamEnd) {
        let end = match end {
            StreamEnd::Sender => "sender",
            StreamEnd::Aged => "aged",
            StreamEnd::Drained => "drained",
            StreamEnd::Cut => "cut",
        };
        self.streams.get_or_create(&Ended { end }).inc();
    }

    /// Counts one start of the engine after the first.
    pub(crate) fn engine_restarted(&self) {
        self.engine_restarts.inc();
    }

    /// Counts connections that the service ended, or did not let in.
    pub(crate) fn connection_ended(&self, why: &'static str, count: u64) {
        self.connections_ended.get_or_create(&Why { why }).inc_by(count);
    }

    /// When each token was presented last: whose, its name, the token's short hash, unix seconds (0 for never). What is
    /// not named has gone.
    pub(crate) fn set_tokens(&self, uses: impl Iterator<Item = (&'static str, String, String, u64)>) {
        self.tokens.clear();
        for (owner, name, token, at_s) in uses {
            let labels = OfToken { owner, name, token };
            self.tokens.get_or_create(&labels).set(i64::try_from(at_s).unwrap_or(i64::MAX));
        }
    }

    /// The exposition text of all of it, with the spool as it stands now.
    pub(crate) fn text(&self, spool: &spool::Stats) -> Result<String, std::fmt::Error> {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.spool_used.set(gauge(spool.used_bytes));
        self.spool_max.set(gauge(spool.max_bytes));
        self.spool_waiting.set(gauge(spool.sealed_waiting as u64));
        self.spool_oldest.set(spool.oldest_age.unwrap_or_default().as_secs_f64());

        let mut registry = Registry::with_prefix("throughline");
        registry.register("deliveries", "Deliveries acknowledged", self.deliveries.clone());
        registry.register("events", "Hop events acknowledged", self.events.clone());
        registry.register("rejects", "Rejects stored", self.rejects.clone());
        registry.register("refusals", "Deliveries refused, to be sent again", self.refused.clone());
        registry.register(
            "unread_deliveries",
            "Deliveries that were not read to their end",
            self.unread.clone(),
        );
        registry.register(
            "turned_away",
            "Deliveries that no source's token opened",
            self.turned_away.clone(),
        );
        registry.register_with_unit(
            "payload",
            "Payloads acknowledged, unpacked",
            Unit::Bytes,
            self.payload_bytes.clone(),
        );
        registry.register("stored_records", "Events and rejects in the store", self.stored.clone());
        registry.register("sender_records", "Records by what senders report", self.sender.clone());
        registry.register("segments", "Tries at shipping a segment", self.segments.clone());
        registry.register(
            "als_streams_ended",
            "Ends of ALS streams, by who ended them",
            self.streams.clone(),
        );
        registry.register("shipped_events", "Hop events in the store", self.shipped_events.clone());
        registry.register(
            "engine_restarts",
            "Starts of the engine after the first",
            self.engine_restarts.clone(),
        );
        let counted = |count: u64| {
            let counter = Counter::<u64>::default();
            counter.inc_by(count);
            counter
        };
        registry.register(
            "spool_dropped_segments",
            "Segments deleted unshipped by a full spool",
            counted(spool.dropped_segments),
        );
        registry.register("spool_dropped_records", "Records in them", counted(spool.dropped_records));
        registry.register(
            "connections_ended",
            "Connections that the service ended or did not let in",
            self.connections_ended.clone(),
        );
        registry.register_with_unit(
            "token_last_used",
            "Unix time at which a token was presented last, by the first digits of its hash; 0 for not since the start",
            Unit::Seconds,
            self.tokens.clone(),
        );
        registry.register_with_unit(
            "spool_used",
            "Disk taken by waiting segments",
            Unit::Bytes,
            self.spool_used.clone(),
        );
        registry.register_with_unit(
            "spool_max",
            "Disk that segments may take",
            Unit::Bytes,
            self.spool_max.clone(),
        );
        registry.register(
            "spool_segments_waiting",
            "Sealed segments not yet shipped",
            self.spool_waiting.clone(),
        );
        registry.register_with_unit(
            "spool_oldest_age",
            "Age of the oldest record not in the store",
            Unit::Seconds,
            self.spool_oldest.clone(),
        );
        self.store.register(&mut registry);
        self.correlation.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
