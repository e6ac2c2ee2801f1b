//! How many requests of a sample are whole, and which hop is missing most.

use super::finding::{Finding, is_share, percent};
use crate::api::answer::{CoverageAnswer, GapCountAnswer};

/// Fewer requests say nothing of a share.
const LEAST_SAMPLED: u64 = 10;
/// One request in so many with the same gap is no accident.
const WORTH: u64 = 10;
/// In so many it is how the mesh is set up.
const MOSTLY: u64 = 2;
/// Gaps that are told.
const TOLD: usize = 4;

pub(super) fn check(coverage: &CoverageAnswer) -> Vec<Finding> {
    let sample = &coverage.requests;
    if sample.sampled < LEAST_SAMPLED {
        return Vec::new();
    }
    let mut findings = vec![Finding::ok(
        "requests",
        format!(
            "of {} settled requests {} are complete ({}), {} span several hops",
            sample.sampled,
            sample.complete,
            percent(sample.complete, sample.sampled),
            sample.joined
        ),
    )];
    let hops = |edge: bool| {
        let is_edge = |hop: &str| matches!(hop, "edge" | "shield");
        coverage.senders.iter().any(|sender| is_edge(&sender.hop) == edge)
    };
    if sample.joined == 0 && hops(true) && hops(false) {
        findings.push(Finding::problem(
            "requests",
            "edge and mesh both send, and not one sampled request has records of both",
            "no id is on the records of both: look at `ids`; `throughline explain` on lines of both sides says which to add",
        ));
    }
    let worth = |gap: &&GapCountAnswer| is_share(gap.requests, sample.sampled, WORTH);
    for gap in sample.gaps.iter().filter(worth).take(TOLD) {
        let what = format!(
            "in {} of {} requests ({}) the {} is missing",
            gap.requests,
            sample.sampled,
            percent(gap.requests, sample.sampled),
            gap.expected
        );
        let advice = advice(coverage, gap);
        findings.push(if is_share(gap.requests, sample.sampled, MOSTLY) {
            Finding::problem("requests", what, advice)
        } else {
            Finding::note("requests", what, advice)
        });
    }
    findings
}

fn advice(coverage: &CoverageAnswer, gap: &GapCountAnswer) -> String {
    let hop = gap.expected.split(' ').next().unwrap_or_default();
    if gap.reason == "lossy_sender" {
        return "its sender drops records when the service is away (ALS, OTLP): look at `senders`, and at the service's \
                restarts"
            .to_owned();
    }
    if coverage.senders.iter().any(|sender| sender.hop == hop) {
        return format!(
            "others of this hop do send: look whether this {hop}'s access log is switched off or filtered, and under `ids` \
             whether its records carry the id of the others"
        );
    }
    match hop {
        "gateway" => "no ingress gateway sends its access log: a Telemetry resource in istio-system with the provider \
                      `throughline` switches it on: `throughline setup istio` prints it"
            .to_owned(),
        "edge" | "shield" => "no Fastly service sends: add the logging endpoint (`throughline setup fastly`), or, if the request did \
                              not come through Fastly, look who reaches the gateway around it"
            .to_owned(),
        "sidecar" => "no sidecar sends its access log: a Telemetry resource without a selector, in istio-system, switches \
                      it on for the mesh: `throughline setup istio` prints it"
            .to_owned(),
        _ => format!("nobody sends records of that {hop}: switch its access log on, or take the gap as known"),
    }
}
