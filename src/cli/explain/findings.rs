//! What the requests of the files are: how many, how far they are joined and by what, the failing and the slowest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use event::{Direction, Hop, HopEvent};
use indicatif::ProgressBar;
use trace::skew::{Observation, Skew};
use trace::{Evidence, Moment, Request, Span};

use super::facts::is_connection;
use super::groups::Groups;
use super::held::Events;

/// Groups that a worker takes at once.
const GROUPS_PER_TURN: usize = 256;

/// Events that are assembled together. Only ids that somebody chains on purpose tie more; those go in parts, so that no
/// file makes this take memory without bound.
const TOGETHER_MOST: usize = 20_000;

/// Kinds of failures that are told apart; later ones count as failing only.
const FAILURES_MOST: usize = 2_000;

/// Links that are weighed for clocks.
const OBSERVATIONS_MOST: usize = 400_000;

/// Workloads whose calls hang under nothing that are named.
const CALLERS_MOST: usize = 1_000;

/// Requests of one id that lie apart, of which the distance is kept.
const APART_MOST: usize = 10_000;

/// Requests of one group that are held against each other.
const COMPARED_MOST: usize = 64;

/// Between which hops a join is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Between {
    /// One POP and another.
    Pops,
    /// A POP and the mesh.
    EdgeAndMesh,
    /// Proxies of the mesh.
    Mesh,
}

impl Between {
    /// The word used in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pops => "edge_to_shield",
            Self::EdgeAndMesh => "edge_to_mesh",
            Self::Mesh => "in_mesh",
        }
    }
}

/// Failures of one kind.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    pub(super) kind: FailureKind,
    pub(super) requests: u64,
    /// The latest.
    pub(super) example: Request,
}

/// What makes failures one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FailureKind {
    /// Broken before refused before the client's own fault.
    pub(super) severity: u8,
    /// One word of [`trace::Failed`].
    pub(super) what: &'static str,
    /// What the entry sent.
    pub(super) status: u16,
    /// Where it was caused.
    pub(super) hop: Hop,
    /// Rule, upstream or workload, whichever that record names.
    pub(super) target: String,
}

/// All that is counted over requests.
#[derive(Debug, Default)]
pub(super) struct Findings {
    top: usize,
    pub(super) requests: u64,
    /// Of two hops or more.
    pub(super) joined: u64,
    pub(super) edge_and_mesh: u64,
    pub(super) edge_only: u64,
    /// Of those, answered by the edge itself.
    pub(super) edge_answered: u64,
    pub(super) mesh_only: u64,
    pub(super) complete: u64,
    pub(super) failing_requests: u64,
    pub(super) with_shared_id: u64,
    pub(super) joined_by: BTreeMap<(Between, &'static str), u64>,
    /// Requests whose entry is a workload's call: its caller's record did not join, by workload.
    pub(super) calls_alone: BTreeMap<String, u64>,
    /// Nanoseconds from an edge record to mesh records of the same id that are too far away to be one request.
    pub(super) apart_ns: Vec<i64>,
    slowest: Vec<Request>,
    failing: HashMap<FailureKind, Failing>,
    observations: Vec<Observation>,
}

/// Assembles every group on `workers` threads.
pub(super) fn find(
    events: &Events,
    groups: &Groups,
    top: usize,
    workers: usize,
    bar: &ProgressBar,
) -> Findings {
    let turn = AtomicUsize::new(0);
    let one = || {
        let mut findings = Findings { top, ..Findings::default() };
        loop {
            let from = turn.fetch_add(GROUPS_PER_TURN, Ordering::Relaxed);
            if from >= groups.len() {
                return findings;
            }
            let to = (from + GROUPS_PER_TURN).min(groups.len());
            for group in from..to {
                for members in groups.members(group).chunks(TOGETHER_MOST) {
                    let held = members.iter().filter_map(|&at| events.event(at as usize));
                    findings
                        .add_group(trace::requests(held.map(HopEvent::into_owned).collect(), Moment::FINAL));
                }
            }
            bar.inc((to - from) as u64);
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.max(1)).map(|_| scope.spawn(one)).collect();
        let mut findings = one();
        for other in others {
            match other.join() {
                Ok(other) => findings.merge(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        findings
    })
}

impl Findings {
    fn add_group(&mut self, requests: Vec<Request>) {
        if (2..=COMPARED_MOST).contains(&requests.len()) {
            self.look_for_clocks_apart(&requests);
        }
        for request in requests {
            self.add(request);
        }
    }

    fn add(&mut self, request: Request) {
        let Some(entry) = request.spans.first() else { return };
        self.requests += 1;
        self.joined += u64::from(request.spans.len() > 1);
        let edge = request.spans.iter().filter(|span| is_edge(&span.event)).count();
        match (edge, request.spans.len() - edge) {
            (0, _) => self.mesh_only += 1,
            (_, 0) => {
                self.edge_only += 1;
                let answers_itself = |span: &Span| matches!(&*span.event.cache_result, "hit" | "synth");
                self.edge_answered += u64::from(request.spans.iter().any(answers_itself));
            }
            _ => self.edge_and_mesh += 1,
        }
        self.complete += u64::from(request.is_complete());
        self.with_shared_id += u64::from(!request.shared_ids.is_empty());
        for join in joins(&request) {
            *self.joined_by.entry(join).or_default() += 1;
        }
        if entry.event.hop == Hop::Sidecar && entry.event.direction == Direction::Outbound {
            let caller = [&entry.event.workload, &entry.event.pod].into_iter().find(|name| !name.is_empty());
            let caller = caller.map_or_else(|| "a workload".to_owned(), ToString::to_string);
            if self.calls_alone.len() < CALLERS_MOST || self.calls_alone.contains_key(&caller) {
                *self.calls_alone.entry(caller).or_default() += 1;
            }
        }
        if self.observations.len() < OBSERVATIONS_MOST {
            self.observations.extend(trace::skew::observations(&request));
        }
        if let Some(kind) = failure(&request) {
            self.failing_requests += 1;
            self.keep_failing(kind, &request);
        } else {
            self.keep_slow(request);
        }
    }

    fn keep_failing(&mut self, kind: FailureKind, request: &Request) {
        if let Some(known) = self.failing.get_mut(&kind) {
            known.requests += 1;
            if order(request) > order(&known.example) {
                known.example = request.clone();
            }
        } else if self.failing.len() < FAILURES_MOST {
            let failing = Failing { kind: kind.clone(), requests: 1, example: request.clone() };
            self.failing.insert(kind, failing);
        }
    }

    fn keep_slow(&mut self, request: Request) {
        let Some(duration) = slow(&request) else { return };
        let is_slower = |known: &Request| (slow(known), order(known)) >= (Some(duration), order(&request));
        let place = self.slowest.partition_point(is_slower);
        if place < self.top {
            self.slowest.insert(place, request);
            self.slowest.truncate(self.top);
        }
    }

    /// Edge records and mesh records of one id that assembly kept apart for their time.
    fn look_for_clocks_apart(&mut self, requests: &[Request]) {
        let all =
            |request: &Request, edge: bool| request.spans.iter().all(|span| is_edge(&span.event) == edge);
        for edge in requests.iter().filter(|request| all(request, true)) {
            let ids: Vec<u128> = edge
                .ids
                .iter()
                .filter(|id| id.kind != correlation::IdKind::Trace)
                .map(|id| id.value)
                .collect();
            for mesh in requests.iter().filter(|request| all(request, false) && request.carries(&ids)) {
                let start = |request: &Request| request.entry().map_or(0, |entry| entry.event.start_ns);
                if self.apart_ns.len() < APART_MOST {
                    self.apart_ns.push(start(mesh).saturating_sub(start(edge)));
                }
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.joined += other.joined;
        self.edge_and_mesh += other.edge_and_mesh;
        self.edge_only += other.edge_only;
        self.edge_answered += other.edge_answered;
        self.mesh_only += other.mesh_only;
        self.complete += other.complete;
        self.failing_requests += other.failing_requests;
        self.with_shared_id += other.with_shared_id;
        for (join, count) in other.joined_by {
            *self.joined_by.entry(join).or_default() += count;
        }
        for (caller, count) in other.calls_alone {
            *self.calls_alone.entry(caller).or_default() += count;
        }
        self.apart_ns.extend(other.apart_ns);
        self.observations.extend(other.observations);
        for request in other.slowest {
            self.keep_slow(request);
        }
        for (kind, failing) in other.failing {
            match self.failing.get_mut(&kind) {
                Some(known) => {
                    known.requests += failing.requests;
                    if order(&failing.example) > order(&known.example) {
                        known.example = failing.example;
                    }
                }
                None => _ = self.failing.insert(kind, failing),
            }
        }
    }

    /// The slowest requests that did not fail, slowest first.
    pub(super) fn slowest(&self) -> &[Request] {
        &self.slowest
    }

    /// Kinds of failures: what broke first, then what was refused, then what the client did; the most frequent first.
    pub(super) fn failing(&self) -> Vec<&Failing> {
        let mut failing: Vec<&Failing> = self.failing.values().collect();
        failing.sort_by_key(|failing| (failing.kind.severity, Reverse(failing.requests), &failing.kind));
        failing
    }

    /// How far clocks are apart.
    pub(super) fn skews(&mut self) -> Vec<Skew> {
        let mut observations = std::mem::take(&mut self.observations);
        observations.sort();
        trace::skew::skews(observations)
    }
}

/// What orders requests where nothing else does: the entry's start, then its key.
fn order(request: &Request) -> (i64, u64) {
    request.entry().map_or((0, 0), |entry| (entry.event.start_ns, entry.event.event_key))
}

/// How long a request took, where that says that it was slow: a connection or tunnel is open as long as it is used.
fn slow(request: &Request) -> Option<u64> {
    let event = &request.entry()?.event;
    let is_open_ended = event.status == 101 || event.intermediate || is_connection(event);
    event.duration_ns.filter(|_| !is_open_ended)
}

fn is_edge(event: &HopEvent<'_>) -> bool {
    matches!(event.hop, Hop::Edge | Hop::Shield)
}

/// Between which hops a request is joined, and by which ids: of each link the first evidence that is one.
fn joins(request: &Request) -> BTreeSet<(Between, &'static str)> {
    let links = request.spans.iter().filter_map(|span| Some((span, span.link.as_ref()?)));
    links
        .map(|(span, link)| {
            let between = match (is_edge(&request.spans[link.parent].event), is_edge(&span.event)) {
                (true, true) => Between::Pops,
                (false, false) => Between::Mesh,
                _ => Between::EdgeAndMesh,
            };
            let is_id = |evidence: &&Evidence| matches!(evidence, Evidence::SpanId | Evidence::SameId(_));
            (between, link.evidence.iter().find(is_id).map_or("hop_order", |id| id.name()))
        })
        .collect()
}

fn failure(request: &Request) -> Option<FailureKind> {
    let failed = trace::failed_at(request)?;
    let event = &request.spans.get(failed.span)?.event;
    let status = request.entry()?.event.status;
    let severity = match failed.what {
        "denied" | "rate_limited" => 1,
        "client_left" | "bad_request" | "no_route" => 2,
        _ if (400..500).contains(&status) => 2,
        _ => 0,
    };
    let named = [&event.verdict_rule, &event.upstream_cluster, &event.service, &event.workload];
    let is_telling = |name: &&&event::Text<'_>| !name.is_empty() && !name.starts_with("inbound|");
    let target = named.iter().find(is_telling).map(|name| name.to_string()).unwrap_or_default();
    Some(FailureKind { severity, what: failed.what, status, hop: event.hop, target })
}
