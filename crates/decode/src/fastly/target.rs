//! What a mapping can fill: fields of the schema by their own names, and a few words for values that fill several
//! fields or need more of the record. The table is the vocabulary of the preset files.

use correlation::IdKind;
use event::{HopEvent, Text};

use crate::coerce::Unit;

/// A text field of the event.
pub(crate) type TextField = for<'e, 'a> fn(&'e mut HopEvent<'a>) -> &'e mut Text<'a>;
/// A 64-bit count or duration of the event.
pub(crate) type CountField = for<'e, 'a> fn(&'e mut HopEvent<'a>) -> &'e mut Option<u64>;

/// How text is cleaned before it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clean {
    /// Written by Fastly or bounded by its grammar: only cut to its bound.
    Plain,
    /// Written by the client: secrets are looked for by shape.
    Free,
    /// A URL or query: secrets are looked for by parameter name.
    Url,
    Lower,
    Upper,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Text(TextField, Clean),
    Count(CountField),
    Duration(CountField, Unit),
    Id(IdKind),
    Start(Option<Unit>),
    ClientAddress,
    Asn,
    Attempt,
    CacheState,
    Completed,
    Edge,
    EdgeRole,
    FetchFirst(Unit),
    FetchLast(Unit),
    GrpcStatus,
    IsTls,
    OwnTraceparent,
    ParentSpan,
    Protocol,
    RequestLine,
    Restarts,
    SampleRate,
    Server,
    Shield,
    Span,
    Status,
    Subject,
    TlsVersion,
    ToShield,
    Traceparent,
    Url,
    Visits,
    Attribute,
    Ignore,
}

macro_rules! fields {
    ($kind:ident: $( $name:ident $($clean:ident)? ),* $(,)?) => {
        &[ $( (stringify!($name), {
            fn field<'e, 'a>(event: &'e mut HopEvent<'a>) -> &'e mut $kind!('a) { &mut event.$name }
            fields!(@ field $($clean)?)
        }) ),* ]
    };
    (@ $field:ident $clean:ident) => { ($field as TextField, Clean::$clean) };
    (@ $field:ident) => { $field as CountField };
}
macro_rules! text {
    ($a:lifetime) => { Text<$a> };
}
macro_rules! count {
    ($a:lifetime) => { Option<u64> };
}

const TEXTS: &[(&str, (TextField, Clean))] = fields!(text:
    method Plain, scheme Lower, host Plain, path Free, query Url, upstream_path Url, details Free, route Plain,
    user_agent Free, referer Url, content_type Plain, forwarded_for Free, downstream_remote Plain,
    downstream_local Plain, upstream_remote Plain, upstream_local Plain, upstream_cluster Plain, sni Plain,
    tls_cipher Plain, ja3 Plain, ja4 Plain, country Lower, pop Upper, service_id Plain, service_version Plain,
    cache_result Plain, service Plain, workload Plain, workload_revision Plain, verdict Plain, verdict_rule Plain,
    verdict_reason Free, policy_version Plain, issuer Plain, key_id Plain, transport_failure Free, node Plain,
);
const COUNTS: &[(&str, CountField)] =
    fields!(count: request_bytes, response_bytes, request_header_bytes, response_header_bytes);
const DURATIONS: &[(&str, CountField)] = fields!(count:
    duration_ns, request_rx_ns, upstream_tx_first_ns, upstream_tx_last_ns, upstream_rx_first_ns,
    upstream_rx_last_ns, first_byte_ns, last_byte_ns, upstream_service_ns,
);
/// What is neither plain text, count nor duration; those that are no field of the schema say what they do.
const OTHERS: &[(&str, Target)] = &[
    ("correlation_id", Target::Id(IdKind::Correlation)),
    ("request_id", Target::Id(IdKind::Request)),
    ("edge_request_id", Target::Id(IdKind::EdgeRequest)),
    ("trace_id", Target::Id(IdKind::Trace)),
    ("span_id", Target::Span),
    ("parent_span_id", Target::ParentSpan),
    ("client_address", Target::ClientAddress),
    ("asn", Target::Asn),
    ("attempt", Target::Attempt),
    ("cache_state", Target::CacheState),
    ("completed", Target::Completed),
    ("grpc_status", Target::GrpcStatus),
    ("protocol", Target::Protocol),
    ("restarts", Target::Restarts),
    ("sample_rate", Target::SampleRate),
    ("server", Target::Server),
    ("status", Target::Status),
    ("subject", Target::Subject),
    ("tls_version", Target::TlsVersion),
    ("to_shield", Target::ToShield),
    ("visits", Target::Visits),
    ("edge", Target::Edge),     // flag: this record is of the edge (else of a shield)
    ("shield", Target::Shield), // flag: the reverse
    ("edge_role", Target::EdgeRole), // the word `edge` or `shield`
    ("is_tls", Target::IsTls),  // flag: scheme
    ("own_traceparent", Target::OwnTraceparent), // trace id, and the hop's own span id
    ("request_line", Target::RequestLine), // `GET /path?query HTTP/1.1`
    ("traceparent", Target::Traceparent), // trace id and parent span id
    ("url", Target::Url),       // path and query; of a full URL also scheme and host
    ("attribute", Target::Attribute), // an attribute, for values that need `absent` or `edge_only`
    ("ignore", Target::Ignore), // dropped: constants of the template
];
type OfUnit = fn(Unit) -> Target;
/// Targets that must state a unit and are no field: durations since the fetch from upstream began.
const FETCH: &[(&str, OfUnit)] =
    &[("fetch_first_byte", Target::FetchFirst), ("fetch_last_byte", Target::FetchLast)];

/// Why a mapping names no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetError {
    /// No such word.
    Unknown,
    /// A duration without a unit.
    UnitMissing,
    /// A unit where none belongs.
    UnitUnwanted,
}

/// The target of a word.
pub(crate) fn find(word: &str, unit: Option<Unit>) -> Result<Target, TargetError> {
    fn row<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
        table.iter().find(|(name, _)| *name == word).map(|&(_, value)| value)
    }
    if word == "start_ns" {
        return Ok(Target::Start(unit));
    }
    if let Some(field) = row(DURATIONS, word) {
        return unit.map(|unit| Target::Duration(field, unit)).ok_or(TargetError::UnitMissing);
    }
    if let Some(target) = row(FETCH, word) {
        return unit.map(target).ok_or(TargetError::UnitMissing);
    }
    let found = row(TEXTS, word)
        .map(|(field, clean)| Target::Text(field, clean))
        .or_else(|| row(COUNTS, word).map(Target::Count))
        .or_else(|| row(OTHERS, word))
        .ok_or(TargetError::Unknown)?;
    if unit.is_some() { Err(TargetError::UnitUnwanted) } else { Ok(found) }
}

/// Every word, for error messages and documentation.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let texts = TEXTS.iter().map(|(name, _)| *name);
    let counts = COUNTS.iter().chain(DURATIONS).map(|(name, _)| *name);
    let others = OTHERS.iter().map(|(name, _)| *name).chain(FETCH.iter().map(|(name, _)| *name));
    texts.chain(counts).chain(others).chain(["start_ns"])
}

impl Target {
    /// Whether a whole number serves as well as its text: all that is done with the value is arithmetic.
    pub(crate) fn is_count(self) -> bool {
        matches!(
            self,
            Self::Count(_)
                | Self::Duration(..)
                | Self::FetchFirst(_)
                | Self::FetchLast(_)
                | Self::Start(Some(_))
                | Self::Status
                | Self::Asn
                | Self::Attempt
                | Self::Restarts
                | Self::GrpcStatus
                | Self::Visits
        )
    }

    /// Whether the value tells edge from shield, which others wait for.
    pub(crate) fn tells_hop(self) -> bool {
        matches!(self, Self::Edge | Self::Shield | Self::EdgeRole | Self::Visits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart_and_names_of_fields_are_real() {
        let mut seen = std::collections::HashSet::new();
        for word in words() {
            assert!(seen.insert(word), "{word} stands twice");
            assert!(find(word, None).is_ok() || find(word, Some(Unit::Us)).is_ok(), "{word}");
        }
        let known = |word: &str| HopEvent::FIELDS.iter().any(|field| field.name == word);
        for (word, _) in TEXTS {
            assert!(known(word));
        }
    }

    #[test]
    fn durations_must_state_their_unit() {
        assert_eq!(find("duration_ns", None).unwrap_err(), TargetError::UnitMissing);
        assert_eq!(find("status", Some(Unit::Ms)).unwrap_err(), TargetError::UnitUnwanted);
    }
}
