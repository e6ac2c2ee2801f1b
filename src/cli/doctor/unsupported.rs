//! Senders that this version cannot, or not wholly, make sense of: Istio's ambient mode, and formats nobody knows.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::finding::Finding;
use crate::api::answer::CoverageAnswer;

/// One reject as the API answers it; the rest of it is of no use here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) source: String,
    pub(super) reason: String,
    pub(super) text: String,
}

/// A page of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusedPage {
    pub(super) rejects: Vec<Refused>,
}

pub(super) fn check(coverage: &CoverageAnswer, rejects: &[Refused]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for hop in ["ztunnel", "waypoint"] {
        let events: u64 =
            coverage.senders.iter().filter(|sender| sender.hop == hop).map(|sender| sender.events).sum();
        if events > 0 {
            findings.push(Finding::note(
                "ambient",
                format!("{events} events are of {hop}s: Istio's ambient mode, which is not supported"),
                "they are kept and can be searched, but which hop led to them is not known: requests show gaps there; use \
                 sidecars for what is to be traced",
            ));
        }
    }
    let mut of_ztunnel: BTreeMap<&str, usize> = BTreeMap::new();
    for reject in rejects.iter().filter(|reject| is_ztunnel(&reject.text)) {
        *of_ztunnel.entry(&reject.source).or_default() += 1;
    }
    for (source, count) in of_ztunnel {
        findings.push(Finding::problem(
            "ambient",
            format!("{source}: {count} of the last {} rejects are lines of ztunnel, which are not supported", rejects.len()),
            "they tell of connections, not of requests, and carry no id: leave ztunnel's logs out of what is sent",
        ));
    }
    let masked = rejects.iter().any(|reject| reject.text == event::MASK);
    if masked && rejects.iter().any(|reject| reject.reason == "unknown_format") {
        let what = "there are records of unknown formats, and their text is hidden from this reader";
        findings.push(Finding::note(
            "ambient",
            what,
            "ask with a reader that has the role `personal` to know what they are",
        ));
    }
    findings
}

/// ztunnel's access log, as text or JSON: connections with `src.addr` and `dst.addr`.
fn is_ztunnel(text: &str) -> bool {
    text.contains("src.addr") && text.contains("dst.addr") && text.contains("connection ")
}
