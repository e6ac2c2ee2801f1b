//! Tests of the scenarios: that they are what they say, and that the scorer sees what is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use event::{Direction, Hop, HopEvent};

use super::*;

const SEED: u64 = 11;

pub(super) fn each() -> impl Iterator<Item = Scenario> {
    scenarios(SEED, 80)
}

pub(super) fn one(name: &str, requests: usize) -> Scenario {
    scenario(name, SEED, requests).unwrap()
}

/// Every event with its tag.
pub(super) fn events(scenario: &Scenario) -> Vec<(u32, HopEvent<'static>)> {
    let rules = rules().unwrap();
    let mut found = Vec::new();
    for delivery in &scenario.deliveries {
        let decoded = decoded(delivery, &rules);
        assert_eq!(decoded.rejects, Vec::<String>::new(), "{}", scenario.name);
        found.extend(decoded.events.into_iter().map(|event| (tag_of(&event).expect("a tag"), event)));
    }
    found
}

fn final_events(scenario: &Scenario) -> BTreeMap<u32, HopEvent<'static>> {
    events(scenario).into_iter().filter(|(_, event)| !event.intermediate).collect()
}

#[test]
fn a_seed_makes_one_workload() {
    for name in ["istio-defaults", "disorder", "hostile", "protocols", "loss-10-minted"] {
        let made = scenario(name, SEED, 60).unwrap();
        assert_eq!(made, scenario(name, SEED, 60).unwrap());
        assert_ne!(made.deliveries, scenario(name, SEED + 1, 60).unwrap().deliveries);
    }
    assert_eq!(names().collect::<BTreeSet<_>>().len(), names().count());
    assert!(scenario("no such", SEED, 1).is_none());
}

#[test]
fn every_record_is_decoded_and_found_again() {
    for scenario in each() {
        let mut copies: HashMap<u32, u32> = HashMap::new();
        for (tag, event) in events(&scenario) {
            *copies.entry(tag).or_default() += 1;
            let truth = &scenario.records[&tag];
            assert!(event.hop == truth.hop || event.hop == Hop::Unknown, "{}: {event:?}", scenario.name);
            assert!(event.direction == truth.direction || event.direction == Direction::Unknown, "{event:?}");
            assert!(!event.intermediate || truth.end_ns - truth.start_ns > 9_000_000_000, "{event:?}");
        }
        for (tag, record) in &scenario.records {
            assert_eq!(copies.get(tag).copied().unwrap_or(0), record.copies, "{}: {tag}", scenario.name);
            assert_eq!(record.copies == 0, record.lost);
        }
    }
}

#[test]
fn nothing_but_the_tag_tells_the_tag() {
    let scenario = one("disorder", 40);
    let mut keys: HashMap<u32, BTreeSet<u64>> = HashMap::new();
    for (tag, event) in events(&scenario) {
        keys.entry(tag).or_default().insert(event.event_key);
        let bare = HopEvent { attributes: Vec::new(), ..event };
        assert_eq!(tag_of(&bare), None, "{bare:?}");
        assert_eq!(&*bare.user_agent, "probe");
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "a redelivery has another key");
}

#[test]
fn true_trees_are_trees_in_space_and_time() {
    for scenario in each() {
        let mut roots = vec![0; scenario.requests];
        for (tag, record) in &scenario.records {
            assert!(record.start_ns <= record.end_ns, "{}: {tag}", scenario.name);
            let Some(parent) = record.parent else {
                roots[record.request as usize] += 1;
                continue;
            };
            assert!(parent < *tag);
            let parent = &scenario.records[&parent];
            assert_eq!(parent.request, record.request);
            assert!(parent.start_ns < record.start_ns);
            assert!(
                record.end_ns <= parent.end_ns || record.cancelled,
                "{} {tag} {record:?} {parent:?}",
                scenario.name
            );
        }
        assert!(roots.iter().all(|&count| count == 1), "{}", scenario.name);
    }
}

#[test]
fn both_ends_of_a_call_name_the_same_connection() {
    for name in ["minted-id", "istio-defaults", "crowd"] {
        let scenario = one(name, 300);
        let events = final_events(&scenario);
        let (mut checked, mut retried) = (0, 0);
        for (tag, record) in
            scenario.records.iter().filter(|(_, record)| record.direction == Direction::Inbound)
        {
            let (caller, callee) = (&events[&record.parent.unwrap()], &events[tag]);
            // A caller that tried again names the last host only.
            if caller.upstream_remote != callee.downstream_local {
                retried += 1;
                continue;
            }
            if !callee.downstream_remote.ends_with(":0") {
                checked += usize::from(caller.upstream_local == callee.downstream_remote);
                retried += usize::from(caller.upstream_local != callee.downstream_remote);
            }
        }
        assert!(checked > 200, "{name}: {checked}");
        assert!(retried < checked / 10, "{name}: {retried} of {checked}");
    }
}

#[test]
fn connections_hold_many_requests() {
    let scenario = one("crowd", 400);
    let mut users: HashMap<String, BTreeSet<u32>> = HashMap::new();
    for (tag, event) in final_events(&scenario) {
        if event.direction == Direction::Outbound && !event.upstream_local.is_empty() {
            users.entry(event.upstream_local.to_string()).or_default().insert(scenario.records[&tag].request);
        }
    }
    let most = users.values().map(BTreeSet::len).max().unwrap();
    assert!(most > 5, "{most}");
    // All at once, at one path.
    let at = scenario
        .records
        .values()
        .filter(|record| record.parent.is_none())
        .map(|record| record.start_ns)
        .max();
    let in_flight = |record: &&TrueRecord| record.parent.is_none() && record.end_ns > at.unwrap();
    assert!(scenario.records.values().filter(in_flight).count() > 300);
}

#[test]
fn ids_are_where_the_scenario_says() {
    let events_of = |name| events(&one(name, 120)).into_iter().map(|(_, event)| event).collect::<Vec<_>>();
    assert!(events_of("minted-id").iter().all(|event| event.correlation_id != 0 && event.trace_id != 0));
    // Without a tracer the only span of its own making is the one that the edge minted and sends on.
    assert!(events_of("minted-id").iter().all(|event| event.span_id == 0 || event.hop == Hop::Edge));
    let traced = events_of("minted-id-traced");
    assert!(traced.iter().any(|event| event.span_id != 0 && event.span_id == event.parent_span_id));
    assert!(traced.iter().any(|event| event.hop == Hop::Gateway && event.span_id != event.parent_span_id));
    for event in events_of("istio-defaults") {
        let is_outside = matches!(event.hop, Hop::Edge | Hop::Shield | Hop::Gateway);
        assert_eq!(event.correlation_id != 0, is_outside, "{event:?}");
        assert_eq!(event.request_id != 0, !matches!(event.hop, Hop::Edge | Hop::Shield), "{event:?}");
    }
    let coarse = events_of("coarse-edge");
    assert!(coarse.iter().any(|event| event.hop == Hop::Edge));
    for event in coarse.iter().filter(|event| event.hop == Hop::Edge) {
        assert_eq!((event.start_ns % 1_000_000_000, event.start_precision), (0, event::Precision::Second));
        assert!(event.correlation_id != 0);
    }
}

#[test]
fn request_ids_link_a_request_unless_the_application_drops_them() {
    let ids_per_request = |name| {
        let scenario = one(name, 200);
        let mut ids: HashMap<u32, BTreeSet<u128>> = HashMap::new();
        for (tag, event) in events(&scenario).into_iter().filter(|(_, event)| event.request_id != 0) {
            ids.entry(scenario.records[&tag].request).or_default().insert(event.request_id);
        }
        ids.values().map(BTreeSet::len).sum::<usize>() as f64 / ids.len() as f64
    };
    // One, but where the edge starts again.
    assert!((1.0..1.1).contains(&ids_per_request("istio-defaults")));
    assert!(ids_per_request("app-drops-ids") > 2.0);
}

#[test]
fn clients_do_what_they_are_for() {
    let owners = |name: &str, id: fn(&HopEvent<'_>) -> u128| {
        let scenario = one(name, 400);
        let mut owners: HashMap<u128, BTreeSet<u32>> = HashMap::new();
        for (tag, event) in events(&scenario).into_iter().filter(|(_, event)| id(event) != 0) {
            owners.entry(id(&event)).or_default().insert(scenario.records[&tag].request);
        }
        owners.values().filter(|owners| owners.len() > 1).count()
    };
    for (name, id) in [
        ("correlation", (|event| event.correlation_id) as fn(&HopEvent<'_>) -> u128),
        ("request", |event| event.request_id),
        ("edge request", |event| event.edge_request_id),
        ("trace", |event| event.trace_id),
    ] {
        assert!(owners("hostile", id) > 1, "no forged {name} id");
        assert_eq!(owners("minted-id", id), 0, "{name}");
    }
    assert_eq!(owners("browsers", |event| event.trace_id), 10);
    assert_eq!(owners("browsers", |event| event.correlation_id), 0);
}

#[test]
fn every_shape_occurs() {
    let scenario = one("minted-id", 900);
    let mut children: BTreeMap<u32, Vec<&TrueRecord>> = BTreeMap::new();
    for record in scenario.records.values() {
        if let Some(parent) = record.parent {
            children.entry(parent).or_default().push(record);
        }
    }
    let events = final_events(&scenario);
    let has = |what: &str, found: bool| assert!(found, "no {what}");
    let any = |hop: Hop, status: u16, text: &str| {
        events.values().any(|event| {
            let words = [&event.details, &event.response_flags, &event.cache_state];
            event.hop == hop && event.status == status && words.iter().any(|word| word.contains(text))
        })
    };
    has("cache hit", any(Hop::Edge, 200, "HIT"));
    has("shield hit", any(Hop::Shield, 200, "HIT"));
    has("timeout", any(Hop::Gateway, 504, "UT") && any(Hop::Sidecar, 0, "DC"));
    has("denial at the gateway", any(Hop::Gateway, 403, "rbac"));
    has("denial at a sidecar", any(Hop::Sidecar, 403, "rbac") && any(Hop::Gateway, 403, "via_upstream"));
    has("missing route", any(Hop::Gateway, 404, "NR"));
    has("refusal", any(Hop::Gateway, 503, "URX"));
    has("restart", events.values().any(|event| event.restarts == Some(1)));
    has("retry", events.values().any(|event| event.hop == Hop::Gateway && event.attempt == 3));
    has(
        "second attempt",
        events.values().any(|event| event.direction == Direction::Inbound && event.attempt == 2),
    );
    let depth = |tag: &u32| std::iter::successors(Some(*tag), |tag| scenario.records[tag].parent).count();
    // Edge, shield, gateway, then four services with three calls between them.
    assert_eq!(scenario.records.keys().map(depth).max(), Some(3 + 7));
    let overlap = children.values().any(|of| {
        let outbound = || of.iter().filter(|record| record.direction == Direction::Outbound);
        outbound().any(|a| outbound().any(|b| a.start_ns < b.start_ns && b.start_ns < a.end_ns))
    });
    has("parallel call", overlap);
    assert!(children.values().any(|of| of.len() >= 3));

    let protocols = one("protocols", 400);
    let events: Vec<_> = self::events(&protocols).into_iter().map(|(_, event)| event).collect();
    assert!(events.iter().any(|event| event.protocol == "TCP" && event.hop == Hop::Gateway));
    assert!(events.iter().any(|event| event.format == "envoy-als-tcp"));
    assert!(events.iter().any(|event| event.status == 101 && event.response_flags == "UC"));
    assert!(events.iter().any(|event| event.grpc_status == Some(14)));
    assert!(events.iter().any(|event| event.intermediate));
    let formats: BTreeSet<&str> = events.iter().map(|event| &*event.format).collect();
    assert!(formats.contains("envoy-als-http") && formats.contains("envoy-otlp-labels"), "{formats:?}");
    assert!(
        protocols.deliveries.iter().any(|delivery| delivery.format == Wire::IstioText),
        "no second transport"
    );
}

#[test]
fn calls_into_one_pod_overlap_when_the_fan_is_wide() {
    let scenario = one("fan-out", 100);
    let mut spans: HashMap<&str, Vec<(i64, i64, u32)>> = HashMap::new();
    for record in scenario.records.values().filter(|record| record.direction == Direction::Inbound) {
        spans.entry(&record.server).or_default().push((record.start_ns, record.end_ns, record.request));
    }
    let overlaps = |spans: &Vec<(i64, i64, u32)>| {
        spans.iter().any(|a| spans.iter().any(|b| a.2 != b.2 && a.0 < b.0 && b.0 < a.1))
    };
    assert!(spans.values().all(overlaps), "some pod has one request at a time");
}

#[test]
fn faults_are_there() {
    let lost = |name| {
        let scenario = one(name, 400);
        let lost = scenario.records.values().filter(|record| record.lost).count();
        lost as f64 / scenario.records.len() as f64
    };
    assert!((0.005..0.02).contains(&lost("loss-1-minted")));
    assert!((0.08..0.12).contains(&lost("loss-10-defaults")));
    let disorder = one("disorder", 200);
    let (first, last) = (&disorder.deliveries[0], &disorder.deliveries[disorder.deliveries.len() - 1]);
    assert!(last.received_ns - first.received_ns > 600_000_000_000, "nothing is late");
    assert!(disorder.records.values().any(|record| record.copies > 1), "nothing comes twice");
    let wild = one("wild-clocks", 100);
    let far_off = events(&wild)
        .into_iter()
        .filter(|(tag, event)| (event.start_ns - wild.records[tag].start_ns).abs() > 1_000_000_000);
    assert!(far_off.count() > 100);
}
