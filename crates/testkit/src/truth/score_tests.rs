//! Tests of the scorer: full marks for the truth, and every planted error found.

use std::collections::HashMap;

use super::tests::{each, events, one};
use super::*;

fn truth(scenario: &Scenario) -> Vec<Found> {
    let kept = scenario.records.iter().filter(|(_, record)| !record.lost);
    kept.map(|(&tag, record)| Found {
        tag,
        request: record.request as usize,
        parent: nearest_kept(scenario, tag),
        confidence: Confidence3::Certain,
    })
    .collect()
}

fn nearest_kept(scenario: &Scenario, tag: u32) -> Option<u32> {
    let mut parent = scenario.records[&tag].parent;
    while let Some(lost) = parent.filter(|parent| scenario.records[parent].lost) {
        parent = scenario.records[&lost].parent;
    }
    parent
}

#[test]
fn the_truth_has_full_marks() {
    for scenario in each() {
        let score = score(&scenario, &truth(&scenario));
        assert_eq!(score.joined, score.requests, "{score}");
        assert_eq!((score.mixed_answers, score.false_pairs, score.missing_records), (0, 0, 0));
        assert_eq!(score.links[0], Links { asserted: score.true_links, right: score.true_links });
        assert!(score.true_links > scenario.requests / 2);
        assert_eq!(score.broken(), Vec::<String>::new());
        // Said twice is said once.
        let twice = [truth(&scenario), truth(&scenario)].concat();
        assert_eq!(super::score(&scenario, &twice), score);
    }
}

#[test]
fn planted_errors_are_found() {
    let scenario = one("minted-id", 50);
    let perfect = truth(&scenario);
    let scored = |found: &[Found]| score(&scenario, found);

    let mut merged = perfect.clone();
    for one in merged.iter_mut().filter(|one| one.request == 7) {
        one.request = 8;
    }
    let score = scored(&merged);
    assert_eq!((score.mixed_answers, score.false_pairs, score.joined), (1, 1, 50));
    assert!(!score.broken().is_empty());
    let mut all_merged = perfect.clone();
    all_merged.iter_mut().for_each(|one| one.request = 0);
    assert_eq!(scored(&all_merged).false_pairs, 50 * 49 / 2);

    let mut wrong = perfect.clone();
    let at = wrong.iter().position(|one| one.parent.is_some_and(|parent| parent > 0)).unwrap();
    wrong[at].parent = wrong[at].parent.map(|parent| parent - 1);
    let score = scored(&wrong);
    assert_eq!(score.links[0].asserted - score.links[0].right, 1);
    assert_eq!(score.broken().len(), 1);
    wrong[at].confidence = Confidence3::Ambiguous;
    assert_eq!(scored(&wrong).links[2], Links { asserted: 1, right: 0 });
    assert_eq!(scored(&wrong).broken(), Vec::<String>::new(), "nobody promised what is called ambiguous");

    let mut torn = perfect.clone();
    torn[at].request = 1_000;
    assert_eq!((scored(&torn).joined, scored(&torn).mixed_answers), (49, 0));
    let mut in_two = perfect.clone();
    in_two.push(Found { request: 1_000, ..perfect[at] });
    assert_eq!(scored(&in_two).joined, 49);
    let mut short = perfect;
    short.remove(at);
    let score = scored(&short);
    assert_eq!((score.joined, score.missing_records), (49, 1));
    assert!(Table(&[score]).to_string().contains("BROKEN minted-id: 49 of 50 requests"));
}

/// Joins whatever shares any id but the trace id, as a naive reader would.
fn joined_by_ids(scenario: &Scenario) -> Score {
    let events = events(scenario);
    let mut groups: Vec<usize> = (0..events.len()).collect();
    let root = |groups: &Vec<usize>, mut at: usize| {
        while groups[at] != at {
            at = groups[at];
        }
        at
    };
    let mut first: HashMap<u128, usize> = HashMap::new();
    for (at, (_, event)) in events.iter().enumerate() {
        for id in [event.correlation_id, event.request_id, event.edge_request_id] {
            let other = *first.entry(id).or_insert(at);
            if id != 0 {
                let (a, b) = (root(&groups, at), root(&groups, other));
                groups[a.max(b)] = a.min(b);
            }
        }
    }
    let found = events.iter().enumerate().map(|(at, (tag, _))| Found {
        tag: *tag,
        request: root(&groups, at),
        parent: None,
        confidence: Confidence3::None,
    });
    score(scenario, &found.collect::<Vec<_>>())
}

#[test]
fn the_records_hold_enough_for_what_is_promised_and_traps_for_the_naive() {
    for scenario in each() {
        let mut score = joined_by_ids(&scenario);
        if scenario.name == "hostile" {
            assert!(score.mixed_answers > 0 && score.false_pairs > 10, "{score}");
        } else {
            // Links are not a matter of ids alone.
            score.promise.certain_right = None;
            assert_eq!(score.broken(), Vec::<String>::new(), "{score}");
        }
        let needs_more = matches!(scenario.name, "app-drops-ids" | "protocols");
        assert!(!needs_more || score.joined_share() < 0.95, "{score}");
    }
}

#[test]
fn a_lost_parent_leaves_the_grandparent() {
    let scenario = one("loss-10-minted", 200);
    let (&tag, record) = scenario
        .records
        .iter()
        .find(|(tag, record)| {
            !record.lost
                && record.parent.is_some_and(|parent| scenario.records[&parent].lost)
                && nearest_kept(&scenario, **tag).is_some()
        })
        .unwrap();
    let found = |parent| Found { tag, request: 0, parent, confidence: Confidence3::Certain };
    assert_eq!(score(&scenario, &[found(nearest_kept(&scenario, tag))]).links[0].right, 1);
    assert_eq!(score(&scenario, &[found(record.parent)]).links[0].right, 0, "the lost one is in no answer");
}
