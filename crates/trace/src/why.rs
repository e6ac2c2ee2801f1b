//! Why two records are, or are not, one request.

use correlation::IdKind;
use event::HopEvent;

use crate::forming::EVENTS_PER_REQUEST;
use crate::ids::EventIds;
use crate::model::{Link, RelatedBy, Request, Span};

/// The answer, a sentence a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Whether both are of one request.
    pub same: bool,
    /// The links from one to the other, or all that keeps them apart.
    pub reasons: Vec<String>,
}

/// Why the records with the event keys `a` and `b` are or are not one request; `None` if one of them is not among the
/// requests.
pub fn why(requests: &[Request], a: u64, b: u64) -> Option<Why> {
    let find = |key: u64| {
        requests.iter().enumerate().find_map(|(number, request)| {
            let at =
                request.spans.iter().position(|span| span.records().any(|event| event.event_key == key))?;
            Some((number, at))
        })
    };
    let ((request_a, a), (request_b, b)) = (find(a)?, find(b)?);
    if request_a == request_b {
        return Some(Why { same: true, reasons: path(&requests[request_a], a, b) });
    }
    let (one, other) = (&requests[request_a], &requests[request_b]);
    Some(Why { same: false, reasons: apart(one, other, &one.spans[a].event, &other.spans[b].event) })
}

/// The links from one span up to what both lie under, and down to the other.
fn path(request: &Request, a: usize, b: usize) -> Vec<String> {
    if a == b {
        return vec![
            "they are records of one event: redelivered, by two transports, or before its end".to_owned(),
        ];
    }
    let up = |mut at: usize| {
        let mut line = vec![at];
        while let Some(link) = &request.spans[at].link {
            at = link.parent;
            line.push(at);
        }
        line
    };
    let (from_a, from_b) = (up(a), up(b));
    let common = from_a.iter().copied().find(|at| from_b.contains(at)).unwrap_or(0);
    let until = |line: &[usize]| line.iter().copied().take_while(|&at| at != common).collect::<Vec<_>>();
    let steps = until(&from_a).into_iter().chain(until(&from_b).into_iter().rev());
    let mut reasons: Vec<String> = steps
        .filter_map(|at| {
            let span = &request.spans[at];
            let link = span.link.as_ref()?;
            Some(step(span, link, &request.spans[link.parent]))
        })
        .collect();
    if reasons.is_empty() {
        reasons.push("they carry the same per-request id, and nothing speaks against it".to_owned());
    }
    reasons
}

fn step(span: &Span, link: &Link, parent: &Span) -> String {
    let evidence: Vec<&str> = link.evidence.iter().map(|one| one.name()).collect();
    format!(
        "{} lies under {}: {} ({})",
        place(&span.event),
        place(&parent.event),
        link.confidence.name(),
        evidence.join(", ")
    )
}

/// What a person calls a record: hop, direction, and where.
fn place(event: &HopEvent<'_>) -> String {
    let known = [&event.pop, &event.pod, &event.node, &event.server, &event.workload];
    let name = known.into_iter().find(|name| !name.is_empty()).map_or("", |name| name.as_ref());
    let direction = match event.direction {
        event::Direction::Unknown => "",
        direction => direction.name(),
    };
    let words = [event.hop.name(), direction, name];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("{} [{:016x}]", words.join(" "), event.event_key)
}

/// All that keeps two records apart.
fn apart(one: &Request, other: &Request, a: &HopEvent<'_>, b: &HopEvent<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if a.tenant != b.tenant {
        return vec![format!(
            "they belong to the tenants {:?} and {:?}, and nothing joins across tenants",
            a.tenant, b.tenant
        )];
    }
    let shared: Vec<(IdKind, u128)> = one
        .ids
        .iter()
        .map(|id| (id.kind, id.value))
        .filter(|&(kind, value)| other.ids.iter().any(|id| (id.kind, id.value) == (kind, value)))
        .collect();
    let correlation = |request: &Request| {
        request.ids.iter().find(|id| id.kind == IdKind::Correlation).map_or(0, |id| id.value)
    };
    let (correlation_a, correlation_b) = (correlation(one), correlation(other));
    if correlation_a != 0 && correlation_b != 0 && correlation_a != correlation_b {
        reasons.push("their requests carry different correlation ids".to_owned());
    }
    for &(kind, value) in &shared {
        reasons.push(shared_reason(one, other, kind, value));
    }
    if shared.is_empty() {
        reasons.push("no record of one request carries an id of the other".to_owned());
    }
    reasons
}

/// Why an id that both carry does not join them.
fn shared_reason(one: &Request, other: &Request, kind: IdKind, value: u128) -> String {
    let carries = |request: &Request| {
        request.spans.iter().filter(|span| EventIds::from(&span.event).value(kind) == value).count()
    };
    let is_weak = |request: &Request| {
        request
            .spans
            .iter()
            .map(|span| EventIds::from(&span.event))
            .any(|ids| ids.value(kind) == value && ids.strong(kind) != value)
    };
    let conflict =
        |request: &Request| request.related.iter().any(|related| related.why == RelatedBy::Conflict(kind));
    let name = kind.name();
    if kind == IdKind::Trace {
        "both carry one trace_id, which many requests may share: it groups, it never joins".to_owned()
    } else if is_weak(one) || is_weak(other) {
        format!("both carry one {name}, which is too short to be unique")
    } else if conflict(one) {
        format!(
            "both carry one {name}, but two different correlation ids: one of the senders reuses or forges it"
        )
    } else if carries(one) + carries(other) > EVENTS_PER_REQUEST {
        format!("both carry one {name}, which is on more than {EVENTS_PER_REQUEST} records")
    } else {
        format!(
            "both carry one {name}, but it came in more often than one request can: by several edges or gateways, or at \
             times too far apart. Somebody reuses or forges it, so it proves nothing"
        )
    }
}

#[cfg(test)]
mod tests {
    use event::Hop;

    use super::*;
    use crate::model::Moment;

    fn record(key: u64, hop: Hop, correlation: u128, request: u128) -> HopEvent<'static> {
        HopEvent {
            tenant: "default".into(),
            event_key: key,
            hop,
            correlation_id: correlation,
            request_id: request,
            trace_id: 77,
            ..HopEvent::default()
        }
    }

    fn ask(events: Vec<HopEvent<'static>>, a: u64, b: u64) -> Why {
        why(&crate::requests(events, Moment::FINAL), a, b).unwrap()
    }

    #[test]
    fn one_request_is_told_by_its_links() {
        let events =
            vec![record(1, Hop::Edge, 5, 0), record(2, Hop::Gateway, 5, 6), record(3, Hop::Sidecar, 0, 6)];
        let why = ask(events, 1, 3);
        assert!(why.same);
        assert_eq!(why.reasons.len(), 2, "{why:?}");
        assert!(why.reasons.iter().any(|reason| reason.contains("correlation_id")), "{why:?}");
    }

    #[test]
    fn a_reused_id_is_called_so() {
        let events =
            vec![record(1, Hop::Edge, 5, 0), record(2, Hop::Gateway, 5, 6), record(3, Hop::Gateway, 5, 7)];
        let why = ask(events, 2, 3);
        assert!(!why.same);
        assert!(why.reasons.iter().any(|reason| reason.contains("reuses or forges")), "{why:?}");
        assert!(why.reasons.iter().any(|reason| reason.contains("trace_id")), "{why:?}");
    }

    #[test]
    fn two_correlation_ids_are_two_requests() {
        let why = ask(vec![record(1, Hop::Edge, 5, 0), record(2, Hop::Edge, 6, 0)], 1, 2);
        assert!(!why.same && why.reasons[0].contains("different correlation ids"), "{why:?}");
        assert_eq!(super::why(&[], 1, 2), None);
    }
}
