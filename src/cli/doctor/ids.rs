//! Who was seen lately, and with which ids: what nothing joins, and what joins the mesh but not the edge.

use super::finding::{Finding, is_share, percent};
use crate::api::answer::{CoverageAnswer, SenderIdsAnswer};

/// One record in so many of a sender that may be without any id: health checks and the like.
const WITHOUT_ID: u64 = 20;
/// In so many: nothing of that sender joins.
const MOSTLY: u64 = 2;
/// Fewer records of a sender say nothing.
const LEAST_EVENTS: u64 = 5;
/// Senders that are listed; the rest is counted.
const SHOWN: usize = 12;

pub(super) fn check(coverage: &CoverageAnswer) -> Vec<Finding> {
    let mut findings = Vec::new();
    let anybody_stamps = coverage.senders.iter().any(|sender| sender.with_correlation_id > 0);
    let mut shown = 0;
    for sender in &coverage.senders {
        let judged = judge(sender, anybody_stamps);
        // The troubled are all told, of the others the largest.
        if judged.level == super::Level::Ok {
            shown += 1;
            if shown > SHOWN {
                continue;
            }
        }
        findings.push(judged);
    }
    if shown > SHOWN {
        findings.push(Finding::ok("ids", format!("and {} more senders, all with ids", shown - SHOWN)));
    }
    if coverage.truncated {
        let what = "the window has more events than are looked at: senders of its newest part only";
        findings.push(Finding::note("ids", what, "pass a shorter --since"));
    }
    findings
}

/// `cdn: edge SU1Z0is (fastly-vcl)`.
fn name(sender: &SenderIdsAnswer) -> String {
    let named = if sender.sender.is_empty() { String::new() } else { format!(" {}", sender.sender) };
    format!("{}: {}{named} ({})", sender.source, sender.hop, sender.format)
}

fn judge(sender: &SenderIdsAnswer, anybody_stamps: bool) -> Finding {
    let (name, events) = (name(sender), sender.events);
    let of = |part: u64| percent(part, events);
    let request_id = sender.with_request_id.max(sender.with_edge_request_id);
    let shares = format!(
        "{events} events, the last at {}; correlation id {}, request id {}, trace id {}",
        sender.last_received.get(..19).unwrap_or(&sender.last_received),
        of(sender.with_correlation_id),
        of(request_id),
        of(sender.with_trace_id)
    );
    if events >= LEAST_EVENTS && is_share(sender.without_id, events, WITHOUT_ID) {
        let what = format!(
            "{name}: {} of its events carry no id of their request, so nothing joins them; {shares}",
            of(sender.without_id)
        );
        return if is_share(sender.without_id, events, MOSTLY) {
            Finding::problem("ids", what, remedy(sender))
        } else {
            Finding::note("ids", what, remedy(sender))
        };
    }
    let unstamped = events - sender.with_correlation_id.min(events);
    if events >= LEAST_EVENTS && anybody_stamps && is_share(unstamped, events, MOSTLY) {
        let what = format!(
            "{name}: {} of its events carry no correlation id, while other senders have one: its hops join by weaker ids; {shares}",
            of(unstamped)
        );
        return Finding::note("ids", what, remedy(sender));
    }
    Finding::ok("ids", format!("{name}: {shares}"))
}

/// What to add, in the sender's own language.
fn remedy(sender: &SenderIdsAnswer) -> &'static str {
    match (sender.hop.as_str(), sender.format.as_str()) {
        ("edge" | "shield", _) => {
            "mint the id at the edge and log it: `throughline setup fastly` adds the snippets and the log format; in a \
             format of your own add \"correlation_id\":\"%{json.escape(req.http.X-Correlation-Id)}V\""
        }
        (_, format) if format.contains("als") => {
            "let Envoy log the headers: additionalRequestHeadersToLog: [x-correlation-id, traceparent] in the mesh's \
             envoyHttpAls provider; `throughline setup istio` prints it"
        }
        (_, format) if format.contains("otlp") => {
            "add the headers as labels of the envoyOtelAls provider: correlation_id: \"%REQ(X-CORRELATION-ID)%\", \
             request_id: \"%REQ(X-REQUEST-ID)%\", traceparent: \"%REQ(TRACEPARENT)%\"; `throughline setup istio --via otlp` \
             prints them"
        }
        _ => {
            "add to the access log format: \"correlation_id\":\"%REQ(X-CORRELATION-ID)%\", \
             \"request_id\":\"%REQ(X-REQUEST-ID)%\", \"traceparent\":\"%REQ(TRACEPARENT)%\"; `throughline setup envoy` prints \
             one, `throughline explain` on some of its lines says what is missing"
        }
    }
}
