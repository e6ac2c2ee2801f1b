//! The event key: what makes a hop event itself. The same record delivered twice has one key; two records never share
//! one but by a 64-bit accident among the events of one request.

use xxhash_rust::xxh3::Xxh3Default;

use crate::fields::HopEvent;

/// Where a record stood in its delivery: the key of a record that has nothing of its own to be told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Random id of the delivery.
    pub delivery: u128,
    /// Byte offset or index of the record in it.
    pub index: u64,
}

/// The event key of a normalized event.
///
/// Fastly: service, server, start, edge request id, visits, restarts. Envoy: node, direction, request id, start,
/// attempt, log type for periodic records. Both: tenant, hop, correlation and trace id, and what the record says of the
/// request (method, target, status, flags, duration, sizes, addresses): a workload that calls another twice within one
/// millisecond writes two records that differ in nothing else. A record with no id of any kind is keyed by its `place`:
/// identical lines without any id are not duplicates.
pub fn event_key(event: &HopEvent<'_>, place: Place) -> u64 {
    let mut hash = Xxh3Default::new();
    let mut text = |text: &str| {
        hash.update(&(text.len() as u32).to_le_bytes());
        hash.update(text.as_bytes());
    };
    text(&event.tenant);
    text(&event.server);
    text(&event.service_id);
    text(&event.node);
    text(&event.pod);
    text(&event.upstream_cluster);
    text(&event.upstream_remote);
    text(if event.intermediate { &event.log_type } else { "" });
    for part in [&event.method, &event.host, &event.path, &event.query, &event.response_flags, &event.details]
    {
        text(part);
    }
    for part in [&event.upstream_local, &event.downstream_local, &event.downstream_remote, &event.user_agent]
    {
        text(part);
    }
    let own_id = event.correlation_id | event.request_id | event.edge_request_id | event.trace_id;
    let (delivery, index) = if own_id == 0 { (place.delivery, place.index) } else { (0, 0) };
    let mut numbers = [0u8; 155];
    let mut at = 0;
    let mut number = |bytes: &[u8]| {
        numbers[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    number(&[event.hop as u8, event.direction as u8]);
    number(&event.correlation_id.to_le_bytes());
    number(&event.request_id.to_le_bytes());
    number(&event.edge_request_id.to_le_bytes());
    number(&event.trace_id.to_le_bytes());
    number(&event.span_id.to_le_bytes());
    number(&event.start_ns.to_le_bytes());
    number(&event.attempt.to_le_bytes());
    number(&event.visits.unwrap_or(u32::MAX).to_le_bytes());
    number(&event.restarts.unwrap_or(u32::MAX).to_le_bytes());
    number(&delivery.to_le_bytes());
    number(&index.to_le_bytes());
    number(&[u8::from(event.intermediate)]);
    number(&event.status.to_le_bytes());
    for size in [event.duration_ns, event.request_bytes, event.response_bytes, event.upstream_service_ns] {
        number(&size.unwrap_or(u64::MAX).to_le_bytes());
    }
    hash.update(&numbers[..at]);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place { delivery: 1, index: 2 };
    const THERE: Place = Place { delivery: 3, index: 4 };

    #[test]
    fn a_redelivery_has_the_same_key() {
        let event = HopEvent { request_id: 7, start_ns: 5, ..HopEvent::default() };
        assert_eq!(event_key(&event, HERE), event_key(&event, THERE));
    }

    #[test]
    fn without_any_id_the_place_is_the_key() {
        let event = HopEvent { start_ns: 5, ..HopEvent::default() };
        assert_ne!(event_key(&event, HERE), event_key(&event, THERE));
    }

    #[test]
    fn two_calls_in_one_millisecond_are_two_events() {
        let event = HopEvent { request_id: 7, start_ns: 5, duration_ns: Some(3), ..HopEvent::default() };
        let slower = HopEvent { duration_ns: Some(4), ..event.clone() };
        let elsewhere = HopEvent { path: "/b".into(), ..event.clone() };
        assert_ne!(event_key(&event, HERE), event_key(&slower, HERE));
        assert_ne!(event_key(&event, HERE), event_key(&elsewhere, HERE));
    }

    #[test]
    fn attempts_tenants_and_directions_are_different_events() {
        let event = HopEvent { request_id: 7, attempt: 1, ..HopEvent::default() };
        let again = HopEvent { attempt: 2, ..event.clone() };
        let other = HopEvent { tenant: "other".into(), ..event.clone() };
        assert_ne!(event_key(&event, HERE), event_key(&again, HERE));
        assert_ne!(event_key(&event, HERE), event_key(&other, HERE));
    }
}
