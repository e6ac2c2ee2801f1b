//! What to change so that more joins, by what was missing in these records: the most important first.

use correlation::IdKind;
use event::{Direction, Hop, Precision};
use trace::skew::Skew;

use super::answer::AdviceAnswer;
use super::facts::{Facts, HopFacts};
use super::findings::{Between, Findings};
use super::snippets;

/// A share of records above which something is worth a word: one in twenty. Health checks and the like are below it.
const WORTH: u64 = 20;

/// Clocks further apart than this confuse people who read times.
const SKEW_WORTH_NS: i64 = 1_000_000_000;

/// Callers that are named.
const CALLERS_NAMED: usize = 3;

/// All that advice rests on.
pub(super) struct Grounds<'a> {
    pub(super) facts: &'a Facts,
    pub(super) findings: &'a Findings,
    pub(super) skews: &'a [Skew],
    /// Ids on more records than one request can have.
    pub(super) worn: u64,
}

/// The advice.
pub(super) fn advise(grounds: &Grounds<'_>) -> Vec<AdviceAnswer> {
    let rules = [
        one_side,
        clocks_apart,
        edge_ids,
        gateway_ids,
        ids_that_never_meet,
        unknown_hops,
        calls_alone,
        coarse_edge,
        generic,
        weak_ids,
        shared_ids,
        skewed,
    ];
    rules.into_iter().filter_map(|rule| rule(grounds)).collect()
}

fn advice(code: &str, count: u64, text: String, snippet: &str) -> Option<AdviceAnswer> {
    Some(AdviceAnswer { code: code.to_owned(), text, snippet: snippet.to_owned(), count })
}

fn is_edge(hop: Hop) -> bool {
    matches!(hop, Hop::Edge | Hop::Shield)
}

/// The mesh's way in, as far as records say: those that do not say whether they are a gateway's are counted, too.
fn is_way_in(hop: Hop, direction: Direction) -> bool {
    hop == Hop::Gateway || hop == Hop::Unknown && direction != Direction::Inbound
}

impl Grounds<'_> {
    fn edge(&self) -> HopFacts {
        self.facts.sum(|hop, _, _| is_edge(hop))
    }

    fn mesh(&self) -> HopFacts {
        self.facts.sum(|hop, _, _| !is_edge(hop))
    }

    fn way_in(&self) -> HopFacts {
        self.facts.sum(|hop, direction, _| is_way_in(hop, direction))
    }

    /// The format of most records of which `is_wanted` holds.
    fn format_of(&self, is_wanted: impl Fn(Hop, Direction) -> bool) -> String {
        let counted = self.facts.0.iter().filter(|(hop, direction, _, _)| is_wanted(*hop, *direction));
        counted
            .max_by_key(|(_, _, _, facts)| facts.records)
            .map(|(_, _, format, _)| format.clone())
            .unwrap_or_default()
    }
}

fn is_worth(count: u64, of: u64) -> bool {
    count > 0 && count * WORTH >= of
}

/// Records of one side only.
fn one_side(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let (edge, mesh) = (grounds.edge().records, grounds.mesh().records);
    match (edge, mesh) {
        (0, 1..) => advice(
            "no_edge_records",
            mesh,
            "No edge records are among these files: pass Fastly's log lines, too, to see requests from the edge on."
                .to_owned(),
            "",
        ),
        (1.., 0) => advice(
            "no_mesh_records",
            edge,
            "No records of the mesh are among these files: pass the logs of the ingress gateway and the sidecars, too \
             (`kubectl logs -n istio-system deploy/istio-ingressgateway`)."
                .to_owned(),
            "",
        ),
        _ => None,
    }
}

/// Equal ids, but hours between them; or times that do not even overlap.
fn clocks_apart(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let mut apart = grounds.findings.apart_ns.clone();
    if !apart.is_empty() {
        apart.sort_unstable();
        let middle = apart[apart.len() / 2];
        let side = if middle < 0 { "before" } else { "after" };
        return advice(
            "clocks_apart",
            apart.len() as u64,
            format!(
                "{} ids stand on edge records and on mesh records, but the mesh's are {} {side} the edge's: too far for \
                 one request, so they were not joined. A clock or a time zone is wrong at one of them, or an id is \
                 reused.",
                apart.len(),
                long_text(middle.unsigned_abs())
            ),
            "",
        );
    }
    let (edge, mesh) = (grounds.edge(), grounds.mesh());
    let ((edge_first, edge_last), (mesh_first, mesh_last)) = (edge.range?, mesh.range?);
    (edge_last < mesh_first || mesh_last < edge_first).then(|| AdviceAnswer {
        code: "times_apart".to_owned(),
        count: edge.records + mesh.records,
        text: format!(
            "The times of edge and mesh records do not overlap (edge {} to {}, mesh {} to {}): take logs of the same \
             minutes.",
            super::time_text(edge_first),
            super::time_text(edge_last),
            super::time_text(mesh_first),
            super::time_text(mesh_last)
        ),
        snippet: String::new(),
    })
}

/// A long time as one says it: `12.5 min`, `3 h`.
fn long_text(ns: u64) -> String {
    let minutes = ns as f64 / 60e9;
    let (number, unit) = if minutes < 60.0 { (minutes, "min") } else { (minutes / 60.0, "h") };
    let text = format!("{number:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Edge records without an id that the mesh could have.
fn edge_ids(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let edge = grounds.edge();
    let without =
        edge.records - edge.with(IdKind::Correlation).max(edge.with(IdKind::Request)).min(edge.records);
    if !is_worth(without, edge.records) {
        return None;
    }
    let format = grounds.format_of(|hop, _| is_edge(hop));
    advice(
        "edge_without_id",
        without,
        format!(
            "{without} of {} edge records ({format}) carry no id that the mesh could have, too: mint one at the edge, \
             send it on and log it.",
            edge.records
        ),
        snippets::VCL,
    )
}

/// Gateway records without the id that the edge has.
fn gateway_ids(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let way_in = grounds.way_in();
    let requests = way_in.records - way_in.headless;
    let without = requests - way_in.with(IdKind::Correlation).min(requests);
    let is_joined_otherwise = grounds.findings.joined_by.iter().any(|(&(between, by), &count)| {
        between == Between::EdgeAndMesh && by != IdKind::Correlation.name() && is_worth(count, requests)
    });
    if !is_worth(without, requests) || is_joined_otherwise {
        return None;
    }
    let format = grounds.format_of(is_way_in);
    let where_to = if format.starts_with("envoy-als") {
        "add `x-correlation-id` to the headers that the access log service is sent"
    } else if format.contains("otlp") {
        "add the label `x_correlation_id`"
    } else {
        "add `x_correlation_id` to the access log format"
    };
    advice(
        "gateway_without_correlation_id",
        without,
        format!("{without} of {requests} gateway records ({format}) carry no correlation id: {where_to}."),
        snippets::of_mesh(&format),
    )
}

/// Both sides carry correlation ids, and never the same.
fn ids_that_never_meet(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let (edge, way_in) = (grounds.edge(), grounds.way_in());
    let both = edge.with(IdKind::Correlation).min(way_in.with(IdKind::Correlation));
    let overlaps = edge.range.zip(way_in.range).is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
    if both == 0 || grounds.findings.edge_and_mesh > 0 || !overlaps || !grounds.findings.apart_ns.is_empty() {
        return None;
    }
    advice(
        "ids_never_meet",
        both,
        "Edge and gateway records carry correlation ids, but never the same one: check that the edge sends on the header \
         that it logs (`X-Correlation-ID`), and that these files are of the same service and the same minutes."
            .to_owned(),
        "",
    )
}

/// Envoy's lines that do not say whose they are.
fn unknown_hops(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let unknown = grounds.facts.sum(|hop, _, _| hop == Hop::Unknown);
    let mesh = grounds.mesh();
    if !is_worth(unknown.records, mesh.records) {
        return None;
    }
    let format = grounds.format_of(|hop, _| hop == Hop::Unknown);
    advice(
        "unknown_hop",
        unknown.records,
        format!(
            "{} records ({format}) do not say whether a gateway or a sidecar wrote them. For now pass the gateway's \
             files with --gateway FILE; for good, log the proxy's own name (`node_id`).",
            unknown.records
        ),
        // Where the correlation id is missing as well, one change does both.
        if gateway_ids(grounds).is_some() { "" } else { snippets::of_mesh(&format) },
    )
}

/// Calls of workloads that hang under nothing.
fn calls_alone(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let alone: u64 = grounds.findings.calls_alone.values().sum();
    if !is_worth(alone, grounds.findings.requests) {
        return None;
    }
    let mut callers: Vec<(&String, &u64)> = grounds.findings.calls_alone.iter().collect();
    callers.sort_by_key(|&(name, count)| (std::cmp::Reverse(*count), name));
    let named: Vec<String> =
        callers.iter().take(CALLERS_NAMED).map(|(name, count)| format!("{name} ({count})")).collect();
    advice(
        "headers_not_passed_on",
        alone,
        format!(
            "{alone} calls of workloads hang under no request: {}. Their applications must pass on the headers \
             x-correlation-id, x-request-id and traceparent of the request that they serve.",
            named.join(", ")
        ),
        "",
    )
}

/// Edge clocks in whole seconds, or no durations: nothing can be split.
fn coarse_edge(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let edge = grounds.edge();
    let is_coarse = edge.records > 0 && edge.clock() <= Precision::Second;
    if !is_coarse && !is_worth(edge.without_duration, edge.records) {
        return None;
    }
    let what = match (is_coarse, edge.without_duration > 0) {
        (true, true) => "write whole seconds and no duration",
        (true, false) => "write whole seconds",
        _ => "write no duration",
    };
    advice(
        "coarse_edge_times",
        edge.records,
        format!(
            "Edge records {what}: log microseconds, so that the time of a request can be split between edge and mesh."
        ),
        snippets::VCL_TIMES,
    )
}

/// Lines that only the preset of last resort reads.
fn generic(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let generic = grounds.facts.sum(|_, _, format| format == "fastly-generic").records;
    if generic == 0 {
        return None;
    }
    advice(
        "generic_preset",
        generic,
        format!(
            "{generic} records were read by the preset of last resort (fastly-generic), which guesses fields by their \
             names: describe your format in a preset of your own and pass --fastly-preset FILE (schemas/fastly shows \
             how)."
        ),
        "",
    )
}

fn weak_ids(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let all = grounds.facts.sum(|_, _, _| true);
    if !is_worth(all.weak, all.records) {
        return None;
    }
    advice(
        "weak_ids",
        all.weak,
        format!(
            "{} records carry an id with under 64 bits of randomness by its form: it joins nothing, for two requests may \
             have the same. Use a UUID or 32 hex digits.",
            all.weak
        ),
        "",
    )
}

fn shared_ids(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let shared = grounds.findings.with_shared_id;
    if shared == 0 && grounds.worn == 0 {
        return None;
    }
    let worn = match grounds.worn {
        0 => String::new(),
        worn => format!(" {worn} ids are on more records than one request can have."),
    };
    advice(
        "shared_ids",
        shared,
        format!(
            "{shared} requests carry an id that another request carries, too: reused or forged by a client, so it joined \
             nothing.{worn} Let the edge overwrite the header for every request."
        ),
        "",
    )
}

fn skewed(grounds: &Grounds<'_>) -> Option<AdviceAnswer> {
    let far = |skew: &&Skew| skew.low_ns > SKEW_WORTH_NS || skew.high_ns < -SKEW_WORTH_NS;
    let count = grounds.skews.iter().filter(far).count() as u64;
    if count == 0 {
        return None;
    }
    advice(
        "clock_skew",
        count,
        "Clocks of servers differ by more than a second (see Clocks): requests are joined all the same, but their times \
         look odd side by side. Check time synchronization there."
            .to_owned(),
        "",
    )
}
