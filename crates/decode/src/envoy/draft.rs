//! A hop event in the making: values come in by target in any order, what depends on several of them is decided last.

use std::borrow::Cow;

use correlation::{Id, IdForm, IdKind, Traceparent};
use event::{HopEvent, Notes, Precision, Text};

use crate::coerce::{self, MAX_ATTRIBUTES, Scalar, Unit};
use crate::envoy::target::{NsSlot, Target, TextSlot};
use crate::envoy::text::{grpc_number, hex64, is_same_path, split_query, without_suffix};
use crate::envoy::{hop, verdict};
use crate::{Delivery, Redactor, Rules, Sink, time};

/// Workload and namespace of a peer, from Istio's peer metadata.
#[derive(Debug, Default)]
pub(crate) struct Peer<'a> {
    pub(crate) workload: Text<'a>,
    pub(crate) namespace: Text<'a>,
}

pub(crate) struct Draft<'a, 'r> {
    pub(crate) event: HopEvent<'a>,
    pub(crate) redactor: &'r Redactor,
    pub(crate) upstream_peer: Peer<'a>,
    pub(crate) downstream_peer: Peer<'a>,
    /// Whether the record marks itself as not the last one of its stream.
    pub(crate) marked_intermediate: bool,
    sent_path: Text<'a>,
    stream_id: Text<'a>,
    attempt_header: u16,
    cluster_is_raw: bool,
    evidence: u32,
    envoy_evidence: u32,
}

impl<'a, 'r> Draft<'a, 'r> {
    pub(crate) fn new(format: &'static str, rules: &'r Rules) -> Self {
        Self {
            event: HopEvent { format: Cow::Borrowed(format), ..HopEvent::default() },
            redactor: &rules.redactor,
            upstream_peer: Peer::default(),
            downstream_peer: Peer::default(),
            marked_intermediate: false,
            sent_path: Cow::Borrowed(""),
            stream_id: Cow::Borrowed(""),
            attempt_header: 0,
            cluster_is_raw: false,
            evidence: 0,
            envoy_evidence: 0,
        }
    }

    /// How many values were found that only a record about a request has.
    pub(crate) fn evidence(&self) -> u32 {
        self.evidence
    }

    /// How many of them only Envoy writes.
    pub(crate) fn envoy_evidence(&self) -> u32 {
        self.envoy_evidence
    }

    /// One value. `name` is what the sender calls it, for what becomes an attribute.
    pub(crate) fn put(&mut self, target: Target, name: &str, value: Scalar<'a>) {
        // `-` counts too: a line without flags has said so.
        self.evidence += u32::from(target.is_evidence());
        self.envoy_evidence += u32::from(target.is_envoys());
        if value.is_absent() {
            return;
        }
        match target {
            Target::Text(slot) => self.put_text(slot, name, value.to_text()),
            Target::Free(slot) => {
                let text = self.redact(value.to_text());
                self.put_text(slot, name, text);
            }
            Target::Url(slot) => {
                let text = self.redact_url(value.to_text());
                self.put_text(slot, name, text);
            }
            Target::Span(slot, unit) => self.put_span(slot, unit, name, value),
            Target::Count(slot) => match value.to_u64() {
                Some(count) => _ = slot(&mut self.event).get_or_insert(count),
                None => self.unreadable(name, value),
            },
            Target::Start => self.put_start(name, value),
            Target::Method => self.put_text(|e| &mut e.method, name, value.to_text()),
            Target::Host => self.put_text(|e| &mut e.host, name, value.to_text()),
            Target::Path | Target::OriginalPath => self.put_path(value.to_text()),
            Target::SentPath => self.sent_path = value.to_text(),
            Target::Status => match value.to_u64().filter(|&code| code < 1000) {
                Some(code) => self.event.status = code as u16,
                None => self.unreadable(name, value),
            },
            Target::Flags => {
                let text = value.to_text();
                self.event.response_flags = match text {
                    Cow::Borrowed(text) => coerce::flags(text),
                    Cow::Owned(text) => Cow::Owned(coerce::flags(&text).into_owned()),
                };
            }
            Target::FlagsLong => self.attribute(name, value.to_text()),
            Target::GrpcStatus => match grpc_number(&value) {
                Some(number) => self.event.grpc_status = Some(number),
                None => self.unreadable(name, value),
            },
            Target::Details => {
                let text = self.redact(value.to_text());
                self.put_text(|e| &mut e.details, name, text);
            }
            Target::Termination => {
                let text = self.redact(value.to_text());
                self.put_text(|e| &mut e.termination_details, name, text);
            }
            Target::ClientAddress => {
                let text = value.to_text();
                self.event.client_address = coerce::address(&text);
                if self.event.downstream_remote.is_empty() {
                    self.event.downstream_remote = text;
                }
            }
            Target::DirectRemote => self.event.downstream_remote = value.to_text(),
            Target::ClusterRaw => {
                self.event.upstream_cluster = value.to_text();
                self.cluster_is_raw = true;
            }
            Target::Cluster if self.cluster_is_raw => {}
            Target::Cluster => self.event.upstream_cluster = without_suffix(value.to_text()),
            Target::Correlation => self.put_id(IdKind::Correlation, name, value.to_text()),
            Target::RequestId => self.put_id(IdKind::Request, name, value.to_text()),
            Target::StreamId => self.stream_id = value.to_text(),
            Target::Traceparent => self.put_traceparent(name, value.to_text()),
            Target::TraceId => {
                let text = value.to_text();
                match correlation::parse_uuid_or_hex(&text) {
                    Some((id, _)) => self.put_trace_id(id),
                    // Zipkin may write 64-bit ids: 16 digits.
                    None => match hex64(&text) {
                        Some(id) => self.put_trace_id(u128::from(id)),
                        None => self.attribute(name, text),
                    },
                }
            }
            Target::SpanId => {
                let text = value.to_text();
                match hex64(&text) {
                    Some(id) => self.event.span_id = id,
                    None => self.attribute(name, text),
                }
            }
            Target::Attempt => match value.to_u64() {
                Some(count) => self.event.attempt = u16::try_from(count).unwrap_or(u16::MAX),
                None => self.unreadable(name, value),
            },
            Target::AttemptHeader => match value.to_u64().and_then(|count| u16::try_from(count).ok()) {
                Some(count) => self.attempt_header = count,
                None => self.unreadable(name, value),
            },
            Target::LogType => self.put_text(|e| &mut e.log_type, name, value.to_text()),
            Target::Node => self.put_text(|e| &mut e.node, name, value.to_text()),
            Target::UpstreamPeer => self.upstream_peer.workload = value.to_text(),
            Target::DownstreamPeer => self.downstream_peer.workload = value.to_text(),
            Target::Secret => self.event.notes.add(Notes::REDACTED),
            Target::Rbac | Target::Attribute => self.attribute(name, value.to_text()),
        }
    }

    /// Keeps what the schema has no field for, redacted by name and shape.
    pub(crate) fn attribute(&mut self, name: &str, value: Text<'a>) {
        self.named_attribute(Cow::Owned(name.to_owned()), name, value);
    }

    /// As [`Self::attribute`], with a name for the redactor that differs from the one kept (`cookie` of
    /// `http.request.header.cookie`).
    pub(crate) fn named_attribute(&mut self, kept: Text<'a>, name: &str, value: Text<'a>) {
        if self.event.attributes.len() >= MAX_ATTRIBUTES {
            self.event.notes.add(Notes::TRUNCATED);
            return;
        }
        let value = self.bounded(value);
        let (value, redacted) = self.redactor.value(name, value);
        self.note_if(redacted, Notes::REDACTED);
        self.event.attributes.push((kept, value));
    }

    fn unreadable(&mut self, name: &str, value: Scalar<'a>) {
        self.event.notes.add(Notes::UNREADABLE_FIELD);
        self.attribute(name, value.to_text());
    }

    fn put_text(&mut self, slot: TextSlot, name: &str, text: Text<'a>) {
        let text = self.bounded(text);
        let field = slot(&mut self.event);
        if field.is_empty() {
            *field = text;
        } else if *field != text {
            self.attribute(name, text);
        }
    }

    /// Of two phases of different fineness (`%REQUEST_DURATION%` in ms, `%COMMON_DURATION(…:us)%`) the finer is kept.
    fn put_span(&mut self, slot: NsSlot, unit: Unit, name: &str, value: Scalar<'a>) {
        match coerce::duration_ns(&value, unit) {
            Ok(None) => {}
            Ok(Some(ns)) => {
                let field = slot(&mut self.event);
                if field.is_none_or(|known| known % Unit::Ms.ns() == 0 && unit != Unit::Ms) {
                    *field = Some(ns);
                }
            }
            Err(error) => {
                self.event.notes.add(error.note());
                self.attribute(name, value.to_text());
            }
        }
    }

    /// The finest of several times of one start wins.
    fn put_start(&mut self, name: &str, value: Scalar<'a>) {
        let instant = match &value {
            Scalar::Text(text) => time::parse_text(text),
            Scalar::Int(number) => time::from_integer(*number),
            Scalar::Float(number) => time::from_float(*number),
            _ => None,
        };
        match instant {
            Some(instant) => {
                // Envoy counts microseconds; nine digits end in three zeros.
                let precision = match instant.precision {
                    Precision::Nanosecond if instant.ns % 1_000 == 0 => Precision::Microsecond,
                    precision => precision,
                };
                self.put_start_ns(instant.ns, precision, instant.notes);
            }
            None => self.unreadable(name, value),
        }
    }

    pub(crate) fn put_start_ns(&mut self, ns: i64, precision: Precision, notes: Notes) {
        if precision > self.event.start_precision {
            self.event.start_ns = ns;
            self.event.start_precision = precision;
            self.event.notes.add(notes);
        }
    }

    fn put_path(&mut self, text: Text<'a>) {
        let text = self.redact_url(text);
        let text = self.bounded(text);
        (self.event.path, self.event.query) = split_query(text);
    }

    fn put_id(&mut self, kind: IdKind, name: &str, text: Text<'a>) {
        let field = match kind {
            IdKind::Correlation => &mut self.event.correlation_id,
            _ => &mut self.event.request_id,
        };
        let Some(id) = Id::parse(kind, &text) else {
            self.attribute(name, text);
            return;
        };
        if *field != 0 {
            if *field != id.value {
                self.attribute(name, text);
            }
            return;
        }
        *field = id.value;
        if kind == IdKind::Request {
            self.event.request_id_reason = id.trace_reason;
        }
        self.note_if(id.weak, Notes::WEAK_ID);
        if id.form == IdForm::Opaque {
            self.named_attribute(Cow::Borrowed(kind.name()), kind.name(), text);
        }
    }

    fn put_traceparent(&mut self, name: &str, text: Text<'a>) {
        match Traceparent::parse(&text) {
            Ok(parent) => {
                self.put_trace_id(parent.trace_id);
                self.event.parent_span_id = parent.parent_id;
            }
            // Envoy passes an invalid one on unmodified: it is the caller's text, not an id.
            Err(_) => self.attribute(name, text),
        }
    }

    /// A tracer's own trace id and the one in a `traceparent` can differ (B3): the first is kept, the other shown.
    fn put_trace_id(&mut self, id: u128) {
        if self.event.trace_id == 0 {
            self.event.trace_id = id;
        } else if id != 0 && self.event.trace_id != id {
            self.attribute("other_trace_id", Cow::Owned(format!("{id:032x}")));
        }
    }

    pub(crate) fn redact(&mut self, text: Text<'a>) -> Text<'a> {
        // What nearly every record says, and a list of IPv4 addresses, is no secret.
        if text == "via_upstream" || text.len() < 128 && text.bytes().all(is_address_byte) {
            return text;
        }
        let (text, redacted) = self.redactor.text(text);
        self.note_if(redacted, Notes::REDACTED);
        text
    }

    fn redact_url(&mut self, text: Text<'a>) -> Text<'a> {
        let (text, redacted) = self.redactor.url(text);
        self.note_if(redacted, Notes::REDACTED);
        text
    }

    fn bounded(&mut self, text: Text<'a>) -> Text<'a> {
        let (text, cut) = coerce::bounded(text);
        self.note_if(cut, Notes::TRUNCATED);
        text
    }

    fn note_if(&mut self, holds: bool, note: Notes) {
        if holds {
            self.event.notes.add(note);
        }
    }

    /// Decides what hangs on several values, and hands the event on. `index` is the record's place in the delivery.
    pub(crate) fn finish(mut self, delivery: &Delivery<'_>, index: u64, sink: &mut dyn Sink) {
        let sent = std::mem::take(&mut self.sent_path);
        if !sent.is_empty() {
            if self.event.path.is_empty() {
                self.put_path(sent);
            } else {
                let sent = self.redact_url(sent);
                let sent = self.bounded(sent);
                if !is_same_path(&sent, &self.event) {
                    self.event.upstream_path = sent;
                }
            }
        }
        let stream = std::mem::take(&mut self.stream_id);
        if !stream.is_empty() {
            if self.event.request_id == 0 {
                self.put_id(IdKind::Request, "stream_id", stream);
            } else if Id::parse(IdKind::Request, &stream).is_none_or(|id| id.value != self.event.request_id) {
                self.attribute("stream_id", stream);
            }
        }
        let is_progress = ["Start", "Periodic", "Connected", "Established", "PoolReady"]
            .iter()
            .any(|word| self.event.log_type.ends_with(word));
        self.event.intermediate = self.marked_intermediate || !self.event.log_type.is_empty() && is_progress;
        hop::infer(&mut self.event, delivery.origin);
        self.settle_attempt();
        let peer = match self.event.direction {
            event::Direction::Inbound => self.downstream_peer,
            _ if self.upstream_peer.workload.is_empty() => self.downstream_peer,
            _ => self.upstream_peer,
        };
        (self.event.peer_workload, self.event.peer_namespace) = (peer.workload, peer.namespace);
        verdict::from_details(&mut self.event);
        delivery.finish(self.event, index, sink);
    }

    /// At an inbound sidecar the attempt is the caller's: the header it received tells retries apart, its own count
    /// is that of its one call to the application.
    fn settle_attempt(&mut self) {
        if self.attempt_header == 0 || self.attempt_header == self.event.attempt {
            return;
        }
        if self.event.direction == event::Direction::Inbound || self.event.attempt == 0 {
            self.event.attempt = self.attempt_header;
        } else {
            self.attribute("x-envoy-attempt-count", Cow::Owned(self.attempt_header.to_string()));
        }
    }
}

/// Decimal addresses and what stands between them.
fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b' ')
}

impl<'a> Peer<'a> {
    /// One field of Istio's peer metadata. Keys changed over versions: `WORKLOAD_NAME`, then `workload`.
    pub(crate) fn put(&mut self, name: &str, value: Text<'a>) {
        match name {
            "WORKLOAD_NAME" | "workload" => self.workload = value,
            "NAMESPACE" | "namespace" => self.namespace = value,
            _ => {}
        }
    }
}
