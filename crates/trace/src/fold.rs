//! Records of one event folded into one: redelivered, sent by two transports, or written while the request still ran.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use event::{Direction, Hop, HopEvent, Precision};

use crate::place::{Role, is_tcp, step_ns};

/// One event with all its records.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The most precise record, completed by the others.
    pub(crate) event: HopEvent<'static>,
    /// How often that record was delivered.
    pub(crate) deliveries: usize,
    /// The other records.
    pub(crate) also: Vec<HopEvent<'static>>,
}

/// Folds the records of one tenant. Any order gives the same answer.
pub(crate) fn fold(events: Vec<HopEvent<'static>>) -> Vec<Seen> {
    let once = deliveries(events);
    transports(periods(once))
}

/// Redeliveries: equal event keys. Lines of Istio's default formats that were written while a request ran have the key
/// of its last line, so the longest stands; of equally long ones the first received.
fn deliveries(events: Vec<HopEvent<'static>>) -> Vec<Seen> {
    let mut by_key: BTreeMap<u64, Seen> = BTreeMap::new();
    for event in events {
        match by_key.entry(event.event_key) {
            Entry::Vacant(place) => {
                place.insert(Seen { event, deliveries: 1, also: Vec::new() });
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                known.deliveries += 1;
                if stands_before(&event, &known.event) {
                    known.event = event;
                }
            }
        }
    }
    by_key.into_values().collect()
}

fn stands_before(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    let rank = |event: &HopEvent<'_>| (std::cmp::Reverse(event.duration_ns), event.received_ns);
    match rank(a).cmp(&rank(b)) {
        std::cmp::Ordering::Equal => {
            let bytes = |event: &HopEvent<'_>| {
                let mut bytes = Vec::new();
                event::wire::put_event(event, &mut bytes);
                bytes
            };
            bytes(a) < bytes(b)
        }
        order => order.is_lt(),
    }
}

/// Records of a request that had not ended, folded into its last one: the same proxy, stream and start.
fn periods(seen: Vec<Seen>) -> Vec<Seen> {
    if !seen.iter().any(|one| one.event.intermediate) {
        return seen;
    }
    type Stream = (Hop, Direction, String, String, u128, u128, String, i64);
    let mut streams: BTreeMap<Stream, Vec<Seen>> = BTreeMap::new();
    let mut folded = Vec::with_capacity(seen.len());
    for one in seen {
        let event = &one.event;
        if event.request_id == 0 && event.correlation_id == 0 {
            folded.push(one);
            continue;
        }
        let stream = (
            event.hop,
            event.direction,
            event.node.to_string(),
            event.pod.to_string(),
            event.request_id,
            event.correlation_id,
            event.downstream_remote.to_string(),
            event.start_ns,
        );
        streams.entry(stream).or_default().push(one);
    }
    for mut records in streams.into_values() {
        if !records.iter().any(|one| one.event.intermediate) {
            folded.append(&mut records);
            continue;
        }
        // The end, or else the longest view of what still ran.
        records.sort_by_key(|one| {
            let event = &one.event;
            (event.intermediate, std::cmp::Reverse(event.duration_ns), event.event_key)
        });
        let mut records = records.into_iter();
        if let Some(mut last) = records.next() {
            for earlier in records {
                if earlier.event.intermediate {
                    last.also.push(earlier.event);
                } else {
                    folded.push(earlier);
                }
            }
            folded.push(last);
        }
    }
    folded.sort_by_key(|one| one.event.event_key);
    folded
}

/// One event told by two transports, such as ALS and a log file: different formats, and nothing in which they differ.
fn transports(seen: Vec<Seen>) -> Vec<Seen> {
    let mut slots: Vec<Option<Seen>> = seen.into_iter().map(Some).collect();
    // Only records of one id that start in one millisecond are held against each other.
    let mut near: BTreeMap<(u128, i64), Vec<usize>> = BTreeMap::new();
    for (at, one) in slots.iter().enumerate() {
        let Some(Seen { event, .. }) = one else { continue };
        // A TCP connection has no request id: one transport makes one up, the other writes none.
        let id = if is_tcp(event) { 0 } else { strongest(event) };
        if id != 0 || is_tcp(event) {
            near.entry((id, event.start_ns.div_euclid(1_000_000))).or_default().push(at);
        }
    }
    for group in near.into_values().filter(|group| group.len() > 1) {
        let mut order = group;
        order.sort_by_cached_key(|&at| {
            slots[at].as_ref().map(|one| {
                (
                    std::cmp::Reverse(one.event.start_precision),
                    one.event.format.to_string(),
                    one.event.event_key,
                )
            })
        });
        for (rank, &keep) in order.iter().enumerate() {
            for &other in &order[rank + 1..] {
                let same = match (&slots[keep], &slots[other]) {
                    (Some(keep), Some(other)) => {
                        keep.also.iter().all(|also| also.intermediate || also.format != other.event.format)
                            && same_event(&keep.event, &other.event)
                    }
                    _ => false,
                };
                if same && let (Some(gone), Some(kept)) = (slots[other].take(), slots[keep].as_mut()) {
                    complete(&mut kept.event, &gone.event);
                    kept.also.push(gone.event);
                    kept.also.extend(gone.also);
                }
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// Whether two records of one id tell of one event: by no two formats alike, at least one address that both give, and
/// no contradiction.
fn same_event(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    let either = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
    let both = |a: &str, b: &str| !a.is_empty() && a == b;
    let id = |a: u128, b: u128| a == 0 || b == 0 || a == b;
    let step = step_ns(a.start_precision).max(step_ns(b.start_precision));
    // A local reply of a sidecar may leave its direction open in one transport and not in the other.
    let is_open = |event: &HopEvent<'_>| event.hop == Hop::Sidecar && event.direction == Direction::Unknown;
    let role = |one: Role, other: Role| {
        one == other
            || one == Role::Open
            || other == Role::Open
            || one == Role::Call && other.calls()
            || other == Role::Call && one.calls()
    };
    let in_role = role(Role::of(a), Role::of(b)) || is_open(a) || is_open(b);
    a.format != b.format
        && in_role
        && a.intermediate == b.intermediate
        && a.status == b.status
        && a.start_ns.div_euclid(step) == b.start_ns.div_euclid(step)
        && milliseconds(a) == milliseconds(b)
        && (a.attempt == 0 || b.attempt == 0 || a.attempt == b.attempt)
        && (a.response_bytes.is_none() || b.response_bytes.is_none() || a.response_bytes == b.response_bytes)
        && id(a.correlation_id, b.correlation_id)
        && (is_tcp(a) || id(a.request_id, b.request_id))
        && id(u128::from(a.span_id), u128::from(b.span_id))
        && (either(&a.node, &b.node) && either(&a.pod, &b.pod) || same_microsecond(a, b))
        && either(&a.server, &b.server)
        && either(&a.upstream_remote, &b.upstream_remote)
        && either(&a.upstream_local, &b.upstream_local)
        && either(&a.downstream_local, &b.downstream_local)
        && (both(&a.downstream_local, &b.downstream_local) || both(&a.upstream_remote, &b.upstream_remote))
        && (!is_tcp(a) || both(&a.downstream_remote, &b.downstream_remote))
}

/// Two proxies do not begin one request in one microsecond and pass it on to one host: whatever their records call the
/// pod (a host name in one of them), it is one.
fn same_microsecond(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    let is_fine = |event: &HopEvent<'_>| event.start_precision >= Precision::Microsecond;
    is_fine(a)
        && is_fine(b)
        && a.start_ns == b.start_ns
        && !a.upstream_remote.is_empty()
        && a.upstream_remote == b.upstream_remote
}

fn strongest(event: &HopEvent<'_>) -> u128 {
    if event.request_id == 0 { event.correlation_id } else { event.request_id }
}

/// The duration as the coarser clock writes it.
fn milliseconds(event: &HopEvent<'_>) -> Option<u64> {
    event.duration_ns.map(|ns| ns / 1_000_000)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Fills what one record left out and another of the same event says.
fn complete(event: &mut HopEvent<'static>, other: &HopEvent<'static>) {
    macro_rules! fill {
        ($($field:ident)*) => { $(
            if is_default(&event.$field) {
                event.$field = other.$field.clone();
            }
        )* };
    }
    if Role::of(event) == Role::Open || Role::of(event) == Role::Call {
        (event.hop, event.direction) = (other.hop, other.direction);
    } else if event.hop == Hop::Sidecar && event.direction == Direction::Unknown {
        event.direction = other.direction;
    }
    fill!(
        correlation_id request_id edge_request_id trace_id span_id parent_span_id attempt node pod namespace workload
        workload_revision mesh_cluster service peer_workload peer_namespace downstream_peer upstream_peer sni
        upstream_remote upstream_local downstream_remote downstream_local upstream_cluster verdict verdict_rule
        verdict_reason response_flags details termination_details transport_failure grpc_status user_agent
        request_bytes response_bytes upstream_service_ns upstream_tx_first_ns upstream_tx_last_ns
        upstream_rx_first_ns upstream_rx_last_ns first_byte_ns last_byte_ns request_rx_ns
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: &'static str, start_ns: i64) -> HopEvent<'static> {
        HopEvent {
            event_key: start_ns as u64 ^ format.len() as u64,
            format: format.into(),
            request_id: 7,
            hop: Hop::Sidecar,
            direction: Direction::Inbound,
            downstream_local: "10.0.0.1:80".into(),
            start_ns,
            start_precision: Precision::Microsecond,
            duration_ns: Some(5_400_000),
            status: 200,
            ..HopEvent::default()
        }
    }

    #[test]
    fn one_event_by_two_transports_is_one() {
        let als = record("envoy-als-http", 7_000_123_000);
        let text = HopEvent {
            correlation_id: 9,
            start_precision: Precision::Millisecond,
            duration_ns: Some(5_000_000),
            ..record("istio-text", 7_000_000_000)
        };
        for events in [vec![als.clone(), text.clone()], vec![text, als]] {
            let seen = fold(events);
            assert_eq!(seen.len(), 1);
            assert_eq!((&*seen[0].event.format, seen[0].event.correlation_id), ("envoy-als-http", 9));
            assert_eq!(&*seen[0].also[0].format, "istio-text");
        }
    }

    #[test]
    fn two_calls_in_one_millisecond_stay_two() {
        let other = HopEvent { event_key: 99, ..record("envoy-als-http", 7_000_200_000) };
        assert_eq!(fold(vec![record("envoy-als-http", 7_000_100_000), other]).len(), 2, "one transport");
        let slower = HopEvent { duration_ns: Some(9_000_000), ..record("istio-text", 7_000_000_000) };
        assert_eq!(fold(vec![record("envoy-als-http", 7_000_100_000), slower]).len(), 2, "they differ");
    }

    #[test]
    fn a_local_reply_without_a_direction_takes_that_of_its_other_record() {
        let als = HopEvent { direction: Direction::Unknown, ..record("envoy-als-http", 7_000_123_000) };
        let text = HopEvent {
            start_precision: Precision::Millisecond,
            direction: Direction::Outbound,
            ..record("istio-text", 7_000_000_000)
        };
        let seen = fold(vec![als, text]);
        assert_eq!((seen.len(), seen[0].event.direction), (1, Direction::Outbound));
    }

    #[test]
    fn what_ran_is_folded_into_its_end() {
        let period = |key: u64, ms: u64, intermediate: bool| HopEvent {
            event_key: key,
            intermediate,
            duration_ns: Some(ms * 1_000_000),
            ..record("envoy-als-http", 7)
        };
        let seen = fold(vec![period(1, 10, true), period(2, 20, true), period(3, 30, false)]);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].event.event_key, seen[0].also.len()), (3, 2));
        let running = fold(vec![period(1, 10, true), period(2, 20, true)]);
        assert_eq!(
            (running.len(), running[0].event.event_key),
            (1, 2),
            "the longest view of what still runs"
        );
    }
}
