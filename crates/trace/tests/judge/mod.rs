//! Holds [`trace::requests`] against workloads whose true tree is known: decode as the service does, assemble without
//! the truth, compare.

#![allow(
    clippy::expect_used,
    reason = "a workload that cannot be read is a failure of the test that uses it"
)]

use std::collections::BTreeSet;

use event::{Hop, HopEvent};
use testkit::truth::{self, Confidence3, Found, Scenario, Score};
use trace::{Confidence, GapReason, Moment, Request};

/// A scenario's score, and how the gaps that were named compare to what was lost.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) score: Score,
    pub(crate) gaps: Gaps,
    /// Wrong links that were called certain, for the person who must find out why.
    pub(crate) wrong_certain: Vec<String>,
}

/// Gaps named and right.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Gaps {
    /// Records of which none came in.
    pub(crate) lost: usize,
    /// Gaps that the answers name.
    pub(crate) named: usize,
    /// Of them, those beside which a record of that kind was indeed lost.
    pub(crate) right: usize,
}

pub(crate) fn events(scenario: &Scenario) -> Vec<HopEvent<'static>> {
    let rules = truth::rules().expect("the built-in presets load");
    let mut events = Vec::new();
    for delivery in &scenario.deliveries {
        let decoded = truth::decoded(delivery, &rules);
        assert!(decoded.rejects.is_empty(), "{}: {:?}", scenario.name, decoded.rejects);
        events.extend(decoded.events);
    }
    events
}

pub(crate) fn judge(scenario: &Scenario) -> Judged {
    let requests = trace::requests(events(scenario), Moment::FINAL);
    let mut found = Vec::new();
    let mut gaps =
        Gaps { lost: scenario.records.values().filter(|record| record.lost).count(), ..Gaps::default() };
    let mut wrong_certain = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        for span in &request.spans {
            let parent = span.link.as_ref().and_then(|link| truth::tag_of(&request.spans[link.parent].event));
            let confidence = match span.link.as_ref().map(|link| link.confidence) {
                Some(Confidence::Certain) => Confidence3::Certain,
                Some(Confidence::Likely) => Confidence3::Likely,
                Some(Confidence::Ambiguous) => Confidence3::Ambiguous,
                None => Confidence3::None,
            };
            let tags: BTreeSet<u32> = span.records().filter_map(truth::tag_of).collect();
            found.extend(tags.iter().map(|&tag| Found { tag, request: number, parent, confidence }));
            if let (Confidence3::Certain, Some(&tag), Some(parent)) = (confidence, tags.first(), parent) {
                let mut at = scenario.records[&tag].parent;
                while let Some(lost) = at.filter(|tag| scenario.records[tag].lost) {
                    at = scenario.records[&lost].parent;
                }
                if at != Some(parent) {
                    wrong_certain.push(format!("{tag} under {parent}, not {at:?}: {:?}", span.link));
                }
            }
        }
        count_gaps(scenario, request, &mut gaps);
    }
    Judged { score: truth::score(scenario, &found), gaps, wrong_certain }
}

fn count_gaps(scenario: &Scenario, request: &Request, gaps: &mut Gaps) {
    for gap in request.gaps.iter().filter(|gap| gap.reason != GapReason::SampledOut) {
        gaps.named += 1;
        let Some(tag) = truth::tag_of(&request.spans[gap.beside].event) else { continue };
        let record = &scenario.records[&tag];
        let lost = |tag: u32| {
            let record = &scenario.records[&tag];
            record.lost && (record.hop == gap.hop || gap.hop == Hop::Unknown)
        };
        let is_right = if gap.below {
            scenario.records.iter().any(|(&tag_below, below)| below.parent == Some(tag) && lost(tag_below))
        } else {
            let mut at = record.parent;
            let mut any = false;
            while let Some(above) = at.filter(|above| scenario.records[above].lost) {
                any |= lost(above);
                at = scenario.records[&above].parent;
            }
            any
        };
        gaps.right += usize::from(is_right);
    }
}
