//! Values of one record to the fields of a hop event.

use std::borrow::Cow;

use correlation::{Id, IdForm, IdKind, Traceparent, parse_uuid_or_hex};
use event::{Hop, HopEvent, Notes};

use super::normalize;
use super::target::{Clean, Target};
use crate::coerce::{self, MAX_ATTRIBUTES, Scalar, Unit};
use crate::time::{self, Instant};
use crate::{Delivery, Redactor};

/// An event in the making.
pub(crate) struct Draft<'m, 'e> {
    pub(crate) event: HopEvent<'e>,
    pub(super) redactor: &'m Redactor,
    /// Whether the record says it is of the edge or of a shield.
    edge: Option<bool>,
    fetch_first_ns: Option<u64>,
    fetch_last_ns: Option<u64>,
    /// The span id came out of the `traceparent` that the edge minted.
    has_minted_span: bool,
    /// Fields of the schema that were filled.
    pub(crate) known: u32,
}

impl<'m, 'e> Draft<'m, 'e> {
    pub(crate) fn new(format: &'e str, redactor: &'m Redactor) -> Self {
        let event = HopEvent { format: Cow::Borrowed(format), ..HopEvent::default() };
        Self {
            event,
            redactor,
            edge: None,
            fetch_first_ns: None,
            fetch_last_ns: None,
            has_minted_span: false,
            known: 0,
        }
    }

    /// Whether a value that only holds at the edge is to be believed.
    pub(crate) fn may_be_edge(&self) -> bool {
        self.edge != Some(false)
    }

    pub(crate) fn note(&mut self, note: Notes) {
        self.event.notes.add(note);
    }

    pub(super) fn cleaned(&mut self, (text, redacted): (Cow<'e, str>, bool)) -> Cow<'e, str> {
        if redacted {
            self.note(Notes::REDACTED);
        }
        text
    }

    pub(super) fn bounded(&mut self, text: Cow<'e, str>) -> Cow<'e, str> {
        if text.len() <= coerce::MAX_TEXT_BYTES {
            return text;
        }
        self.note(Notes::TRUNCATED);
        coerce::bounded(text).0
    }

    /// Keeps what the schema has no field for; what says "none" is not kept.
    pub(crate) fn attribute(&mut self, name: &'e str, value: Scalar<'e>) {
        self.attribute_judged(name, None, value);
    }

    /// As [`Self::attribute`], where it may be known already whether the name is secret.
    pub(crate) fn attribute_judged(&mut self, name: &'e str, secret: Option<bool>, value: Scalar<'e>) {
        if value.is_absent() || normalize::is_absent_geo(name, &value) {
            return;
        }
        if self.event.attributes.len() >= MAX_ATTRIBUTES {
            self.note(Notes::TRUNCATED);
            return;
        }
        let text = self.bounded(value.to_text());
        let secret = secret.unwrap_or_else(|| self.redactor.is_secret_name(name));
        let text = self.redactor.value_judged(secret, text);
        let text = self.cleaned(text);
        self.event.attributes.push((Cow::Borrowed(name), text));
    }

    fn unreadable(&mut self, name: &'e str, value: Scalar<'e>) {
        self.note(Notes::UNREADABLE_FIELD);
        self.attribute(name, value);
    }

    /// Fills `target` from a value. A field that is filled already keeps its value; the other becomes an attribute.
    pub(crate) fn put(&mut self, target: Target, name: &'e str, value: Scalar<'e>) {
        if value.is_absent() || matches!(&value, Scalar::Text(text) if text == "?") {
            return;
        }
        // Each arm answers with the value where it could not be used.
        let left = match target {
            Target::Text(field, clean) => {
                if !field(&mut self.event).is_empty() {
                    Some(value).filter(|value| !same_text(value, field(&mut self.event)))
                } else {
                    let text = self.bounded(value.to_text());
                    let text = match clean {
                        Clean::Plain => text,
                        Clean::Free => {
                            let pair = self.redactor.text(text);
                            self.cleaned(pair)
                        }
                        Clean::Url => {
                            let pair = self.redactor.url(text);
                            self.cleaned(pair)
                        }
                        Clean::Lower => normalize::lower(text),
                        Clean::Upper => normalize::upper(text),
                    };
                    *field(&mut self.event) = text;
                    None
                }
            }
            Target::Count(field) => match value.to_u64() {
                Some(count) => fill_other(field(&mut self.event), count, value),
                None => return self.unreadable(name, value),
            },
            Target::Duration(field, unit) => match self.duration(&value, unit) {
                Some(ns) => fill_other(field(&mut self.event), ns, value),
                None => Some(value),
            },
            Target::FetchFirst(unit) => match self.duration(&value, unit) {
                Some(ns) => fill_other(&mut self.fetch_first_ns, ns, value),
                None => Some(value),
            },
            Target::FetchLast(unit) => match self.duration(&value, unit) {
                Some(ns) => fill_other(&mut self.fetch_last_ns, ns, value),
                None => Some(value),
            },
            Target::Id(kind) => self.id(kind, value),
            Target::Start(unit) => self.start(unit, value),
            Target::ClientAddress => match &value {
                Scalar::Text(text) if self.event.client_address == 0 => {
                    self.event.client_address = coerce::address(text);
                    if self.event.client_address == 0 { return self.unreadable(name, value) } else { None }
                }
                _ => Some(value),
            },
            Target::Status => {
                let status = value.to_u64().filter(|status| (100..1000).contains(status)).unwrap_or(0) as u16;
                match self.event.status {
                    0 if status != 0 => {
                        self.event.status = status;
                        None
                    }
                    known => Some(value).filter(|_| known == 0 || known != status),
                }
            }
            Target::Asn => match value.to_u64().and_then(|asn| u32::try_from(asn).ok()) {
                Some(asn) if self.event.asn == 0 => {
                    self.event.asn = asn;
                    None
                }
                _ => Some(value),
            },
            Target::Attempt => match value.to_u64().and_then(|attempt| u16::try_from(attempt).ok()) {
                Some(attempt) => {
                    self.event.attempt = attempt;
                    None
                }
                None => return self.unreadable(name, value),
            },
            Target::Restarts => fill(&mut self.event.restarts, small(&value), value, &mut self.event.notes),
            Target::GrpcStatus => {
                fill(&mut self.event.grpc_status, small(&value), value, &mut self.event.notes)
            }
            Target::Visits => {
                if let Some(visits) = small(&value) {
                    self.edge.get_or_insert(visits == 0);
                }
                fill(&mut self.event.visits, small(&value), value, &mut self.event.notes)
            }
            Target::ToShield => {
                fill(&mut self.event.to_shield, value.to_bool(), value, &mut self.event.notes)
            }
            Target::Completed => {
                fill(&mut self.event.completed, value.to_bool(), value, &mut self.event.notes)
            }
            Target::Edge | Target::Shield => match value.to_bool() {
                Some(flag) => fill_other(&mut self.edge, flag == matches!(target, Target::Edge), value),
                None => return self.unreadable(name, value),
            },
            Target::EdgeRole => match &value {
                Scalar::Text(word) if word.eq_ignore_ascii_case("edge") => {
                    fill_other(&mut self.edge, true, value)
                }
                Scalar::Text(word) if word.eq_ignore_ascii_case("shield") => {
                    fill_other(&mut self.edge, false, value)
                }
                _ => Some(value),
            },
            Target::IsTls => match value.to_bool() {
                Some(tls) if self.event.scheme.is_empty() => {
                    self.event.scheme = Cow::Borrowed(if tls { "https" } else { "http" });
                    None
                }
                _ => Some(value),
            },
            Target::SampleRate => match value.to_f64().filter(|rate| *rate > 0.0) {
                Some(rate) => {
                    self.event.sample_rate = rate;
                    None
                }
                None => return self.unreadable(name, value),
            },
            Target::CacheState if self.event.cache_state.is_empty() => {
                self.event.cache_state = self.bounded(value.to_text());
                None
            }
            Target::Protocol if self.event.protocol.is_empty() => {
                self.event.protocol = normalize::protocol(value.to_text());
                None
            }
            Target::TlsVersion if self.event.tls_version.is_empty() => {
                self.event.tls_version = normalize::tls_version(value.to_text());
                None
            }
            Target::Server if self.event.server.is_empty() => {
                self.event.server = self.bounded(value.to_text());
                None
            }
            Target::Subject if self.event.subject.is_empty() => {
                self.event.subject = Cow::Owned(self.redactor.subject(&value.to_text()));
                None
            }
            // A second subject must not become an attribute: it is a name in clear.
            Target::Subject | Target::Ignore => return,
            Target::Url => return self.url(name, value),
            Target::RequestLine => return self.request_line(name, value),
            Target::Traceparent | Target::OwnTraceparent => match self.traceparent(target, &value) {
                true => None,
                false => return self.unreadable(name, value),
            },
            Target::Span | Target::ParentSpan => match span(&value) {
                Some(span) => {
                    let field = match target {
                        Target::Span => &mut self.event.span_id,
                        _ => &mut self.event.parent_span_id,
                    };
                    *field = span;
                    None
                }
                None => return self.unreadable(name, value),
            },
            _ => return self.attribute(name, value),
        };
        match left {
            None => self.known += 1,
            Some(value) => self.attribute(name, value),
        }
    }

    fn duration(&mut self, value: &Scalar<'_>, unit: Unit) -> Option<u64> {
        coerce::duration_ns(value, unit).unwrap_or_else(|error| {
            self.note(error.note());
            None
        })
    }

    fn id(&mut self, kind: IdKind, value: Scalar<'e>) -> Option<Scalar<'e>> {
        let Scalar::Text(text) = value else { return Some(value) };
        let slot = match kind {
            IdKind::Correlation => &mut self.event.correlation_id,
            IdKind::Request => &mut self.event.request_id,
            IdKind::EdgeRequest => &mut self.event.edge_request_id,
            IdKind::Trace => &mut self.event.trace_id,
        };
        let Some(id) = Id::parse(kind, &text) else {
            return Some(Scalar::Text(text));
        };
        if *slot != 0 {
            return (*slot != id.value).then_some(Scalar::Text(text));
        }
        *slot = id.value;
        if kind == IdKind::Request {
            self.event.request_id_reason = id.trace_reason;
        }
        if id.weak {
            self.note(Notes::WEAK_ID);
        }
        if id.form == IdForm::Opaque {
            self.attribute(kind.name(), Scalar::Text(text));
        }
        None
    }

    fn start(&mut self, unit: Option<Unit>, value: Scalar<'e>) -> Option<Scalar<'e>> {
        if self.event.start_ns != 0 {
            return Some(value);
        }
        let stated = unit.and_then(|unit| {
            let value = i64::try_from(value.to_u64()?).ok()?;
            time::from_epoch(value, unit)
        });
        let read = stated.or_else(|| match &value {
            Scalar::Text(text) => time::parse_text(text),
            Scalar::Int(value) => time::from_integer(*value),
            _ => None,
        });
        match read {
            Some(instant) => {
                self.started(instant);
                None
            }
            None => {
                self.note(Notes::UNREADABLE_FIELD);
                Some(value)
            }
        }
    }

    pub(crate) fn started(&mut self, instant: Instant) {
        self.event.start_ns = instant.ns;
        self.event.start_precision = instant.precision;
        self.note(instant.notes);
    }

    fn traceparent(&mut self, target: Target, value: &Scalar<'_>) -> bool {
        let Scalar::Text(text) = value else { return false };
        let Ok(parsed) = Traceparent::parse(text) else { return false };
        if self.event.trace_id == 0 {
            self.event.trace_id = parsed.trace_id;
        }
        match target {
            Target::OwnTraceparent => {
                self.event.span_id = parsed.parent_id;
                self.has_minted_span = true;
            }
            _ => self.event.parent_span_id = parsed.parent_id,
        }
        true
    }

    /// What follows from the fields together.
    pub(crate) fn conclude(&mut self, preset_hop: Hop, delivery: &Delivery<'_>) {
        let event = &mut self.event;
        match self.edge {
            Some(true) => event.hop = Hop::Edge,
            Some(false) => event.hop = Hop::Shield,
            None if preset_hop != Hop::Unknown => event.hop = preset_hop,
            // A Fastly record that does not say: most services log where they have no shield.
            None if delivery.origin.hop == Hop::Unknown => {
                event.hop = Hop::Edge;
                event.notes.add(Notes::HOP_INFERRED);
            }
            None => {}
        }
        // What the edge minted is the edge's own; the shield behind it logs the same value as what it received. One that names
        // its parent has minted a span itself.
        if event.hop == Hop::Shield && self.has_minted_span && event.parent_span_id == 0 {
            event.parent_span_id = std::mem::take(&mut event.span_id);
        }
        if event.cache_result.is_empty() {
            event.cache_result = Cow::Borrowed(normalize::cache_result(&event.cache_state));
        }
        if event.pop.is_empty() {
            event.pop = normalize::pop_of_server(&event.server);
        }
        self.upstream_times();
    }

    /// Offsets of the fetch, which Fastly only gives as durations of its own.
    fn upstream_times(&mut self) {
        let event = &mut self.event;
        if let Some(wait) = self.fetch_first_ns {
            match (event.upstream_tx_first_ns, event.first_byte_ns) {
                (Some(sent), _) => {
                    event.upstream_rx_first_ns = event.upstream_rx_first_ns.or(sent.checked_add(wait));
                }
                (None, Some(first_byte)) => {
                    event.upstream_rx_first_ns = event.upstream_rx_first_ns.or(Some(first_byte));
                    event.upstream_tx_first_ns = Some(first_byte.saturating_sub(wait));
                    event.notes.add(Notes::UPSTREAM_ESTIMATED);
                }
                (None, None) => event.upstream_service_ns = event.upstream_service_ns.or(Some(wait)),
            }
        }
        if let (Some(last), Some(sent)) = (self.fetch_last_ns, event.upstream_tx_first_ns) {
            event.upstream_rx_last_ns = event.upstream_rx_last_ns.or(sent.checked_add(last));
        }
        let fetched = matches!(&*event.cache_result, "miss" | "pass") && event.restarts.unwrap_or(0) == 0;
        if fetched && event.upstream_rx_first_ns.is_none() && event.first_byte_ns.is_some() {
            event.upstream_rx_first_ns = event.first_byte_ns;
            event.notes.add(Notes::UPSTREAM_ESTIMATED);
        }
    }
}

/// Fills an empty field; answers with the value where it is unreadable (noted) or another one stands there.
fn fill<'e, T: PartialEq>(
    field: &mut Option<T>,
    read: Option<T>,
    value: Scalar<'e>,
    notes: &mut Notes,
) -> Option<Scalar<'e>> {
    match read {
        Some(read) => fill_other(field, read, value),
        None => {
            notes.add(Notes::UNREADABLE_FIELD);
            Some(value)
        }
    }
}

fn fill_other<'e, T: PartialEq>(field: &mut Option<T>, read: T, value: Scalar<'e>) -> Option<Scalar<'e>> {
    match field {
        Some(known) => (*known != read).then_some(value),
        None => {
            *field = Some(read);
            None
        }
    }
}

fn small(value: &Scalar<'_>) -> Option<u32> {
    value.to_u64().and_then(|value| u32::try_from(value).ok())
}

fn span(value: &Scalar<'_>) -> Option<u64> {
    let Scalar::Text(text) = value else { return None };
    let text = text.trim();
    // Left-padded to the length that the id reader knows.
    let padded = (text.len() == 16).then(|| format!("{:0>32}", text))?;
    parse_uuid_or_hex(&padded).map(|(value, _)| value as u64).filter(|&value| value != 0)
}

fn same_text(value: &Scalar<'_>, known: &str) -> bool {
    matches!(value, Scalar::Text(text) if text == known)
}
