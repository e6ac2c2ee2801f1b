//! Each source: whether it still sends, what of it cannot be read, what cannot be joined, what comes twice.

use super::Asked;
use super::finding::{Finding, is_share, percent};
use crate::api::answer::{LedgerLine, SourceAnswer};

/// One reject in so many records that somebody should look at.
const REJECTS: u64 = 100;
/// One event in so many without an id that is worth a word: health checks and the like are below it.
const WITHOUT_ID: u64 = 20;
/// From here on it is no handful of paths: nothing much can be joined.
const MOSTLY: u64 = 2;
/// One redelivery in so many events that is worth a word.
const DUPLICATES: u64 = 100;
/// Reasons of rejects that are named.
const REASONS_NAMED: usize = 3;

pub(super) fn check(asked: &Asked) -> Vec<Finding> {
    let mut findings = silent(asked);
    for line in &asked.ledger.sums {
        findings.extend([rejects(asked, line), duplicates(line)].into_iter().flatten());
        // Told by sender where that is known.
        findings.extend(ids(line).filter(|_| asked.coverage.is_none()));
    }
    if !asked.ledger.compared {
        let advice = "pass a shorter --since";
        let what =
            "too many events to compare with each other: nothing is said of redeliveries and missing ids";
        findings.push(Finding::note("sources", what, advice));
    }
    findings
}

fn last_week<'a>(asked: &'a Asked, source: &str) -> Option<&'a SourceAnswer> {
    asked.sources.sources.iter().find(|one| one.source == source)
}

/// Configured sources that brought nothing in the window.
fn silent(asked: &Asked) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut heard = 0;
    for configured in &asked.ledger.sources {
        let source = &configured.source;
        let line = asked.ledger.sums.iter().find(|line| line.source == *source);
        if line.is_some_and(|line| line.received > 0 || line.stored_events + line.stored_rejects > 0) {
            heard += 1;
            continue;
        }
        let kind = &configured.kind;
        findings.push(match last_week(asked, source) {
            Some(seen) => Finding::problem(
                "sources",
                format!("{source} ({kind}) fell silent: its last record came {}", seen.last_received),
                "look at the sender, its token and the way to the service; a sender that is answered 401 or 404 is \
                 in nobody's books",
            ),
            None => Finding::note(
                "sources",
                format!("{source} ({kind}) has sent nothing in the last seven days"),
                "if it should: look at the sender's address and token; if not, take it out of the configuration",
            ),
        });
    }
    if heard > 0 {
        findings.insert(0, Finding::ok("sources", format!("{heard} configured sources send")));
    }
    findings
}

fn rejects(asked: &Asked, line: &LedgerLine) -> Option<Finding> {
    if line.rejected == 0 {
        return None;
    }
    let week = last_week(asked, &line.source);
    let reasons = week.map(|one| one.rejects.as_slice()).unwrap_or_default();
    let named: Vec<String> =
        reasons.iter().take(REASONS_NAMED).map(|one| format!("{} {}", one.count, one.reason)).collect();
    let mut what = format!(
        "{}: {} of {} records ({}) could not be read",
        line.source,
        line.rejected,
        line.received,
        percent(line.rejected, line.received)
    );
    if !named.is_empty() {
        what += &format!("; in seven days: {}", named.join(", "));
    }
    let advice = format!(
        "{}; the records are at GET /api/v1/rejects?source={}",
        reasons.first().map_or("look at what they have in common", |one| reason_advice(&one.reason)),
        line.source
    );
    Some(if is_share(line.rejected, line.received, REJECTS) {
        Finding::problem("sources", what, advice)
    } else {
        Finding::note("sources", what, advice)
    })
}

/// What to do about the most frequent reason.
fn reason_advice(reason: &str) -> &'static str {
    match reason {
        "unknown_format" => {
            "no decoder knows the form: send JSON or Envoy's own format, or give the source its `format`"
        }
        "bad_json" => "the format string makes broken JSON: quote and escape every text (json.escape in VCL)",
        "truncated" => "lines are cut at the sender's limit (16 KiB in VCL): log fewer or shorter fields",
        "not_an_object" | "no_known_field" => {
            "name the fields as a preset does (schemas/fastly), or map them with a preset of your own (`fastly.presets`)"
        }
        "format_mismatch" => {
            "the source's `format` is not the mesh's format string: copy it from the mesh's configuration"
        }
        "bad_protobuf" | "bad_compression" => {
            "bodies arrive damaged: look at proxies on the way, and at the sender's version"
        }
        "too_large" | "too_deep" => "single records are larger than their bound: log fewer or shorter fields",
        "store_refused" => "the store would not take them: their detail says why",
        _ => "their detail says why",
    }
}

fn ids(line: &LedgerLine) -> Option<Finding> {
    let without = line.without_id?;
    let events = line.accepted.max(without);
    if !is_share(without, events, WITHOUT_ID) {
        return None;
    }
    let what = format!(
        "{}: {without} of {events} events ({}) carry no id of their request, so nothing joins them",
        line.source,
        percent(without, events)
    );
    let advice = "run `throughline explain` on some of its lines: it says which id to add, and how";
    Some(if is_share(without, events, MOSTLY) {
        Finding::problem("sources", what, advice)
    } else {
        Finding::note("sources", what, advice)
    })
}

fn duplicates(line: &LedgerLine) -> Option<Finding> {
    let duplicated = line.duplicated?;
    if !is_share(duplicated, line.accepted, DUPLICATES) {
        return None;
    }
    let what = format!(
        "{}: {duplicated} of {} events ({}) had come before",
        line.source,
        line.accepted,
        percent(duplicated, line.accepted)
    );
    Some(Finding::note(
        "sources",
        what,
        "answers count each once, sums of dashboards do not; a sender repeats what it heard no answer for: look at its \
         time limit, and whether one log reaches the service by two ways",
    ))
}
