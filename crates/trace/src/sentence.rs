//! One request in one sentence, fit for a ticket: what was asked, what became of it and where, what the client saw.
//!
//! Every word rests on a record. One failure is told once, at the hop nearest to its cause ([`cause`]); that nothing
//! reached the workload is said only where a record says that its hop answered by itself, else that no record was
//! seen. Text from the internet is cut and its control characters are shown ([`text`]).
//!
//! | room | says |
//! |---|---|
//! | [`outcome`] | what one record says became of the request at its hop |
//! | [`cause`] | which record tells best why |
//! | [`failure`] | a failure in words |
//! | [`names`] | what hops and workloads are called |

mod cause;
mod failure;
mod names;
mod outcome;
mod text;

pub use cause::{Failed, failed_at};

use event::{Hop, HopEvent};

use self::cause::{Way, failed_calls, tries, way_from};
use self::outcome::{Outcome, has_failed, is_connection, is_tunnel, tells_no_end};
pub use self::text::grpc_name;
use self::text::{lasted, ordinal, shown_within};
use crate::model::{Gap, GapReason, Request};
use crate::split::in_workload;

/// Characters after which no further clause is added. The first clause always stands, so that a sentence with every
/// name at its longest may be longer.
const SENTENCE_MOST: usize = 300;

/// Missing hops that are named.
const GAPS_TOLD: usize = 2;

/// Characters of a subject's pseudonym: enough to search for, little enough to read.
const SUBJECT_SHOWN: usize = 8;

/// The sentence of one request.
pub fn summary(request: &Request) -> String {
    let Some(entry) = request.spans.first() else { return "No record.".to_owned() };
    let event = &entry.event;
    let way = way_from(request, 0);
    let mut sentence = if event.intermediate || tells_no_end(event) {
        Sentence::new(running(request))
    } else if is_tunnel(event) {
        Sentence::new(tunnel(request, &way))
    } else if is_connection(event) {
        Sentence::new(connection(request, &way))
    } else if has_failed(event) || has_failed(&request.spans[way.end()].event) {
        failed(request, &way)
    } else {
        succeeded(request, &way)
    };
    if !event.intermediate {
        calls(&mut sentence, request, &way);
    }
    if let Some(restarts) = event.restarts.filter(|&restarts| restarts > 0) {
        let times = if restarts == 1 { String::new() } else { format!(" {restarts} times") };
        sentence.add(format!("{} restarted it{times}", names::hop(request, 0)));
    }
    if event.completed == Some(false) && Outcome::of(event) != Outcome::ClientLeft {
        sentence.add("the client did not take the whole answer".to_owned());
    }
    gaps(&mut sentence, request, &way);
    sentence.end()
}

/// Clauses put one after another while there is room.
struct Sentence {
    text: String,
}

impl Sentence {
    fn new(text: String) -> Self {
        Self { text }
    }

    /// Adds a clause, if the sentence stays short with it.
    fn add(&mut self, clause: String) {
        if self.text.chars().count() + clause.chars().count() + 3 <= SENTENCE_MOST {
            self.text.push_str("; ");
            self.text.push_str(&clause);
        }
    }

    fn end(mut self) -> String {
        self.text.push('.');
        self.text
    }
}

fn succeeded(request: &Request, way: &Way) -> Sentence {
    let entry = &request.spans[0].event;
    let end = &request.spans[way.end()].event;
    let asked = names::asked(request);
    let status = if entry.status == 0 { "was answered".to_owned() } else { failure::answered(entry) };
    let took = entry.duration_ns.map(|ns| format!(" in {}", lasted(ns))).unwrap_or_default();
    let mut text = match way.outcome {
        Outcome::Cached | Outcome::Synthetic | Outcome::EdgeError => {
            let hop = names::hop(request, way.end());
            let place = if way.outcome == Outcome::Cached {
                format!("from the cache of {hop}")
            } else {
                format!("by {hop} itself")
            };
            format!(
                "{asked} {status}{took} {place} ({}){}",
                names::name(&end.cache_state),
                behind(request, way, false)
            )
        }
        Outcome::Redirected => {
            format!("{asked} {}", failure::redirected(end, &names::hop(request, way.end())))
        }
        Outcome::Direct => {
            let hop = names::hop(request, way.end());
            format!("{asked} {status}{took} by {hop} itself (direct response){}", behind(request, way, false))
        }
        _ => {
            let tried = tried(request, way);
            let (by, is_above) = answerer(request, way);
            format!("{asked} {status}{tried}{took}{by}{}", behind(request, way, is_above))
        }
    };
    if let Some(ns) = in_workload(&request.spans[way.end()]).filter(|&ns| ns > 0) {
        let workload = names::workload(request, way.end()).unwrap_or_else(|| "the workload".to_owned());
        let called = if request.children(way.end()).next().is_some() { " and its calls" } else { "" };
        text.push_str(&format!("; {} of it in {workload}{called}", lasted(ns)));
    }
    let mut sentence = Sentence::new(text);
    if let Some(clause) = failed_tries(request, way) {
        sentence.add(clause);
    }
    sentence
}

/// Who answered, as ` by orders`, and whether that is above what the last record of the way stands for.
fn answerer(request: &Request, way: &Way) -> (String, bool) {
    let end = way.end();
    let event = &request.spans[end].event;
    let is_workload =
        cause::is_inbound(&request.spans[end]) || matches!(event.hop, Hop::Service | Hop::Origin);
    if is_workload {
        let workload = names::workload(request, end).unwrap_or_else(|| "the workload".to_owned());
        return (format!(" by {workload}"), false);
    }
    match names::upstream(event) {
        Some(upstream) => (format!(" by {upstream}"), true),
        None => (String::new(), true),
    }
}

/// ` behind FRA → IAD → gateway`: the hops above the one that answered.
fn behind(request: &Request, way: &Way, with_end: bool) -> String {
    let count = way.spans.len() - usize::from(!with_end);
    let hops: Vec<String> = way.spans[..count].iter().map(|&at| names::short(request, at)).collect();
    match hops.as_slice() {
        [] => String::new(),
        [one] if request.spans[way.spans[0]].event.pop.is_empty() => {
            format!(" behind {}{one}", if one.starts_with("a ") { "" } else { "the " })
        }
        hops => format!(" behind {}", hops.join(" → ")),
    }
}

/// ` on the second try`, where there was more than one.
fn tried(request: &Request, way: &Way) -> String {
    let count = try_count(request, way);
    if count > 1 { format!(" on the {} try", ordinal(count)) } else { String::new() }
}

/// Tries made for the hop that decided, by the records of its tries or by what the hop above counted.
fn try_count(request: &Request, way: &Way) -> usize {
    let counted = |at: usize| {
        let span = &request.spans[at];
        let own = if cause::is_inbound(span) { 0 } else { usize::from(span.event.attempt) };
        own.max(tries(request, at).len())
    };
    way.spans.iter().map(|&at| counted(at)).max().unwrap_or(0)
}

fn failed_tries(request: &Request, way: &Way) -> Option<String> {
    let parent = way.spans.iter().copied().find(|&at| !tries(request, at).is_empty())?;
    let tries = tries(request, parent);
    let before: Vec<&HopEvent<'_>> = tries
        .iter()
        .filter(|at| !way.spans.contains(at))
        .map(|&at| &request.spans[at].event)
        .filter(|event| has_failed(event))
        .collect();
    let how = |event: &HopEvent<'_>| match event.status {
        0 => "got no answer".to_owned(),
        status => format!("failed with {status}"),
    };
    match before.as_slice() {
        [] => None,
        [one] => Some(format!("the first {}", how(one))),
        [first, ..] => Some(format!("{} tries before it failed, the first: {}", before.len(), how(first))),
    }
}

fn failed(request: &Request, way: &Way) -> Sentence {
    let (entry, end) = (&request.spans[0].event, way.end());
    let cause = &request.spans[end].event;
    let mut text = format!(
        "{} {}",
        names::asked(request),
        failure::told(request, end, way.outcome, try_count(request, way))
    );
    if matches!(way.outcome, Outcome::Denied | Outcome::RateLimited)
        && let Some(allowed) = allowed_above(request, way)
    {
        text.push_str(&allowed);
    }
    let mut sentence = Sentence::new(text);
    if let Some(clause) = beside(request, end, way.outcome) {
        sentence.add(clause);
    }
    let has_children = request.children(end).next().is_some();
    let is_above_workload = !matches!(cause.hop, Hop::Service | Hop::Origin);
    let sent_nothing = cause.upstream_remote.is_empty() && cause.upstream_tx_first_ns.is_none();
    if way.outcome.is_local_reply()
        && way.outcome != Outcome::Cached
        && sent_nothing
        && !has_children
        && is_above_workload
        && !is_connection(cause)
    {
        sentence.add("nothing reached the workload".to_owned());
    }
    if end != 0 && sees_client(request) {
        sentence.add(match entry.status {
            0 => "the client saw no answer".to_owned(),
            status => format!("the client saw {status}"),
        });
    }
    sentence
}

/// What the hop below said while this one failed: it had answered, or it had not yet.
fn beside(request: &Request, at: usize, outcome: Outcome) -> Option<String> {
    if !matches!(request.spans[at].event.hop, Hop::Edge | Hop::Shield) || outcome == Outcome::Denied {
        return None;
    }
    let (below, child) = request.children(at).last()?;
    let hop = names::hop(request, below);
    match child.event.status {
        _ if child.event.intermediate => None,
        0 => Some(format!("{hop} had not answered when it was left")),
        status => Some(format!("{hop} had answered {status}")),
    }
}

/// ` after the edge in FRA had let subject 3f2a… in`, where a policy above the one that refused had allowed it.
fn allowed_above(request: &Request, way: &Way) -> Option<String> {
    let end = way.end();
    let at = way.spans.iter().copied().find(|&at| at != end && request.spans[at].event.verdict == "allow")?;
    let event = &request.spans[at].event;
    let who = if event.subject.is_empty() {
        "it".to_owned()
    } else {
        format!("subject {}", shown_within(&event.subject, SUBJECT_SHOWN))
    };
    // Only our edge says so on purpose; an `allow` of RBAC is on every record of a hop that has a policy.
    matches!(event.hop, Hop::Edge | Hop::Shield)
        .then(|| format!(" after {} had let {who} in", names::hop(request, at)))
}

/// Whether the entry record is the one that the client saw: nothing is known to be above it.
fn sees_client(request: &Request) -> bool {
    let is_outermost = matches!(request.spans[0].event.hop, Hop::Edge | Hop::Gateway);
    is_outermost && !request.gaps.iter().any(|gap| gap.beside == 0 && !gap.below)
}

/// Calls of workloads that failed on the way, deepest cause told.
fn calls(sentence: &mut Sentence, request: &Request, way: &Way) {
    let failed = failed_calls(request, 0);
    let Some(&call) = failed.first().filter(|call| !way.spans.contains(call)) else { return };
    let event = &request.spans[call].event;
    let caller = names::workload(request, call).unwrap_or_else(|| "a workload".to_owned());
    let to = names::upstream(event).map(|name| format!(" to {name}")).unwrap_or_default();
    let below = way_from(request, call);
    let what = format!("{} {}", event.method, event.path);
    let what = shown_within(what.trim(), 40);
    let how = failure::told(request, below.end(), below.outcome, try_count(request, &below));
    let more = if failed.len() > 1 { format!(" ({} calls failed)", failed.len()) } else { String::new() };
    sentence.add(format!("a call of {caller}{to}, {what}, {how}{more}"));
}

fn running(request: &Request) -> String {
    let event = &request.spans[0].event;
    let after = event.duration_ns.filter(|&ns| ns > 0).map(|ns| format!(" after {}", lasted(ns)));
    let asked = if is_connection(event) { connected(request) } else { names::asked(request) };
    let so_far = match (event.status, event.response_bytes) {
        (0, Some(bytes)) if bytes > 0 => format!("{bytes} bytes sent so far"),
        (0, _) => "no answer so far".to_owned(),
        (status, Some(bytes)) => format!("{status} and {bytes} bytes so far"),
        (status, None) => format!("{status} so far"),
    };
    let hop = names::hop(request, 0);
    format!("{asked} was still running{} when {hop} last told of it; {so_far}", after.unwrap_or_default())
}

fn tunnel(request: &Request, way: &Way) -> String {
    let event = &request.spans[0].event;
    let open = event.duration_ns.map(|ns| format!(" for {}", lasted(ns))).unwrap_or_default();
    let (by, with_end) = answerer(request, way);
    let to = by.strip_prefix(" by ").map(|name| format!(" to {name}")).unwrap_or_default();
    format!(
        "WebSocket {} was open{open}{to}{}{}",
        names::asked(request),
        behind(request, way, with_end),
        moved(event)
    )
}

fn connection(request: &Request, way: &Way) -> String {
    let event = &request.spans[0].event;
    let end = way.end();
    let connected = connected(request);
    if has_failed(event) {
        let how = failure::told(request, end, way.outcome, try_count(request, way));
        return format!("{connected} {how}{}", moved(event));
    }
    let open = event.duration_ns.map(|ns| format!(" for {}", lasted(ns))).unwrap_or_default();
    format!("{connected} was open{open} through {}{}", names::hop(request, 0), moved(event))
}

/// A connection has no method and no path: where it led must do.
fn connected(request: &Request) -> String {
    let upstream = request.spans.iter().find_map(|span| names::upstream(&span.event));
    let workload = || cause::is_inbound(&request.spans[0]).then(|| names::workload(request, 0)).flatten();
    match upstream.or_else(workload) {
        Some(upstream) => format!("A TCP connection to {upstream}"),
        None => "A TCP connection".to_owned(),
    }
}

/// ` (32 bytes up, 31 down)`
fn moved(event: &HopEvent<'_>) -> String {
    match (event.request_bytes, event.response_bytes) {
        (Some(up), Some(down)) if up > 0 || down > 0 => format!(" ({up} bytes up, {down} down)"),
        _ => String::new(),
    }
}

/// Names what should be there and is not.
fn gaps(sentence: &mut Sentence, request: &Request, way: &Way) {
    let is_told = |gap: &&Gap| gap.reason != GapReason::Settling && gap.reason != GapReason::SampledOut;
    let mut told: Vec<(String, &str)> = Vec::new();
    for gap in request.gaps.iter().filter(is_told) {
        let why =
            if gap.reason == GapReason::LossySender { " (its sender gives no acknowledgement)" } else { "" };
        let one = (names::gap(gap), why);
        if !told.contains(&one) {
            told.push(one);
        }
    }
    for (name, why) in told.iter().take(GAPS_TOLD) {
        sentence.add(format!("no record of {name} was seen{why}"));
    }
    if told.len() > GAPS_TOLD {
        sentence.add(format!("{} more hops were not seen", told.len() - GAPS_TOLD));
    }
    if request.gaps.iter().any(|gap| gap.reason == GapReason::SampledOut) {
        sentence.add("the records of some hops are samples".to_owned());
    }
    if request.gaps.iter().any(|gap| gap.reason == GapReason::Settling) {
        sentence.add("more records may still come".to_owned());
    }
    let end = &request.spans[way.end()];
    let is_known = request.gaps.iter().any(|gap| gap.below && gap.beside == way.end())
        || request.children(way.end()).next().is_some();
    let passed_on = way.outcome == Outcome::Passed && has_failed(&end.event) && end.event.status != 0;
    if passed_on
        && !is_known
        && !cause::is_inbound(end)
        && !matches!(end.event.hop, Hop::Service | Hop::Origin)
    {
        sentence.add("no record of the workload was seen".to_owned());
    }
}

#[cfg(test)]
#[path = "sentence/tests.rs"]
mod tests;
