//! Bytes of one delivery to hop events and rejects: sniff, frame, parse (borrowed), normalize, redact.
//!
//! Pure: no IO, no clock, no environment. Time, tenant and a random delivery id come in with the [`Delivery`]; what
//! comes out goes to a [`Sink`], one borrowed event at a time, so a batch costs no memory per record here.
//!
//! Decoding never fails as a whole: what cannot be read becomes a [`Reject`] and costs its neighbours nothing.
//!
//! | room | reads |
//! |---|---|
//! | [`compression`] | gzip, zstd, snappy, by header and by magic, never past a cap |
//! | [`framing`] | where one record ends and the next begins |
//! | [`fastly`] | Fastly's lines, by presets that are data |
//! | [`envoy`] | Istio's JSON and TEXT lines, custom format strings, ALS messages |
//! | [`otlp`] | OTLP logs as protobuf and JSON |
//! | [`coerce`], [`time`] | text and numbers of a sender to a type of the schema |
//! | [`redact`] | what must not touch the disk |

pub mod coerce;
pub mod compression;
pub mod envoy;
pub mod fastly;
pub mod framing;
pub mod otlp;
mod protobuf;
pub mod redact;
pub mod sniff;
pub mod time;

use event::key::{Place, event_key};
use event::{Direction, Hop, HopEvent, Notes, Reject, RejectReason};

pub use redact::Redactor;

/// Who sent a delivery and when it came: all that is not in its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Set from the ingest token.
    pub tenant: &'a str,
    /// The configured input.
    pub source: &'a str,
    /// When it was accepted, unix nanoseconds.
    pub received_ns: i64,
    /// Random, unique per delivery.
    pub id: u128,
    /// What the configuration says of every record of this source.
    pub origin: &'a Origin,
}

/// What is known of a source apart from its bytes, for records that do not say it themselves (a followed file of one
/// pod, say). Empty means unknown; a record's own word wins.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Hop of every record.
    pub hop: Hop,
    /// Direction of every record.
    pub direction: Direction,
    /// Envoy node id.
    pub node: String,
    /// Pod name.
    pub pod: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Workload name.
    pub workload: String,
    /// Mesh cluster id.
    pub mesh_cluster: String,
}

/// Takes what a decoder finds, in the order of the delivery.
pub trait Sink {
    /// One normalized, redacted event.
    fn event(&mut self, event: &HopEvent<'_>);
    /// One record that could not be read, already redacted.
    fn reject(&mut self, reject: Reject<'_>);
}

/// Everything that normalization is told by configuration, compiled once.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What must not touch the disk.
    pub redactor: Redactor,
    /// Fastly field sets: the built-in ones and the user's, in order of preference.
    pub fastly: fastly::Presets,
    /// Envoy format strings: the user's first, then Istio's defaults.
    pub envoy: envoy::Formats,
}

impl Delivery<'_> {
    /// Last step of every decoder: fills what the delivery knows, makes the event key, hands the event on.
    ///
    /// `index` is the record's place in the delivery (byte offset or ordinal).
    pub(crate) fn finish<'a>(&'a self, mut event: HopEvent<'a>, index: u64, sink: &mut dyn Sink) {
        event.tenant = self.tenant.into();
        event.source = self.source.into();
        event.received_ns = self.received_ns;
        if event.start_ns == 0 {
            event.start_ns = self.received_ns;
            event.notes.add(Notes::TIME_MISSING);
        }
        let origin = self.origin;
        if event.hop == Hop::Unknown {
            event.hop = origin.hop;
        }
        if event.direction == Direction::Unknown {
            event.direction = origin.direction;
        }
        for (field, known) in [
            (&mut event.node, &origin.node),
            (&mut event.pod, &origin.pod),
            (&mut event.namespace, &origin.namespace),
            (&mut event.workload, &origin.workload),
            (&mut event.mesh_cluster, &origin.mesh_cluster),
        ] {
            if field.is_empty() && !known.is_empty() {
                *field = known.as_str().into();
            }
        }
        event.event_key = event_key(&event, Place { delivery: self.id, index });
        sink.event(&event);
    }

    /// Hands on a whole body that could not be unpacked as one reject.
    pub fn refuse_packed(&self, rules: &Rules, detail: &str, packed: &[u8], sink: &mut dyn Sink) {
        self.refuse(rules, "", RejectReason::BadCompression, detail, 0, packed, sink);
    }

    /// Hands on a reject: redacts the bytes and cuts them to their bound.
    #[allow(clippy::too_many_arguments, reason = "each is one field of the reject")]
    pub(crate) fn refuse(
        &self,
        rules: &Rules,
        format: &str,
        reason: RejectReason,
        detail: &str,
        offset: u64,
        bytes: &[u8],
        sink: &mut dyn Sink,
    ) {
        let kept = &bytes[..bytes.len().min(Reject::MAX_BYTES)];
        sink.reject(Reject {
            received_ns: self.received_ns,
            tenant: self.tenant.into(),
            source: self.source.into(),
            format: format.into(),
            reason,
            detail: detail.into(),
            offset,
            length: bytes.len() as u64,
            bytes: rules.redactor.bytes(kept),
        });
    }
}
