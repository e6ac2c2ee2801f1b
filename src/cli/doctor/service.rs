//! The instance itself: ready or why not, room in the spool, its engine.

use super::Asked;
use super::finding::{Finding, percent};

/// Starts of the engine since the service's own that are no accident any more.
const MANY_RESTARTS: u64 = 3;
/// One part in so many of the spool that may be taken before somebody should look.
const SPOOL_SHARE: u64 = 2;

pub(super) fn check(asked: &Asked) -> Vec<Finding> {
    let all = [ready(asked), spool(asked), held(asked), engine(asked), turned_away(asked)];
    all.into_iter().flatten().collect()
}

fn ready(asked: &Asked) -> Option<Finding> {
    let reasons = asked.reasons.join("; ");
    Some(match (asked.is_ready, asked.reasons.is_empty()) {
        (true, true) => Finding::ok("service", "answers and is ready"),
        (true, false) => Finding::problem(
            "service",
            reasons,
            "what came in is durable and waits in the spool: look in the service's log for `cannot ship`",
        ),
        (false, _) => Finding::problem(
            "service",
            format!("is not ready: {reasons}"),
            "docs/operations.md, Health, says what each reason means",
        ),
    })
}

/// A number of the exposition text, by name and a part of its labels.
fn metric(asked: &Asked, name: &str, label: &str) -> u64 {
    let line = asked.metrics.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.map(number).unwrap_or_default()
}

/// The value at the end of a line.
fn number(line: &str) -> u64 {
    let number = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
    number.unwrap_or_default().max(0.0) as u64
}

fn spool(asked: &Asked) -> Option<Finding> {
    let used = metric(asked, "throughline_spool_used_bytes", "");
    let most = metric(asked, "throughline_spool_max_bytes", "");
    let waits_s = metric(asked, "throughline_spool_oldest_age_seconds", "");
    let what =
        format!("{} of the spool is taken, the oldest record waits for {waits_s} s", percent(used, most));
    // Shipping takes two seconds; a minute is a store that does not keep up.
    let is_late = waits_s > 60;
    Some(if is_late || used.saturating_mul(SPOOL_SHARE) > most && most > 0 {
        Finding::problem(
            "spool",
            what,
            "the store is away or does not keep up; at 100% senders are refused: look in the log for `cannot ship`, at \
             the store's disk and load, or raise `spool.max_bytes`",
        )
    } else {
        Finding::ok("spool", what)
    })
}

/// A note only: a port on the internet is asked by all sorts of people.
fn turned_away(asked: &Asked) -> Option<Finding> {
    let of = |cause: &str| {
        let lines = asked.metrics.lines().filter(|line| line.starts_with("throughline_turned_away_total"));
        lines.filter(|line| line.contains(cause)).map(number).sum::<u64>()
    };
    let (wrong, unknown) = (of("wrong_token"), of("no_source"));
    (wrong + unknown > 0).then(|| {
        Finding::note(
            "service",
            format!(
                "since the start {wrong} deliveries came with a missing or wrong token, {unknown} for no configured source"
            ),
            "if one of yours is missing: compare its address, header and token with the [[source]]; nothing of what was \
             turned away is kept",
        )
    })
}

fn held(asked: &Asked) -> Option<Finding> {
    let held = metric(asked, "throughline_segments_total", "outcome=\"held\"");
    (held > 0).then(|| {
        Finding::problem(
            "spool",
            format!("{held} segments were written by a newer version and wait for one"),
            "start the newer version on this data directory again",
        )
    })
}

fn engine(asked: &Asked) -> Option<Finding> {
    let restarts = metric(asked, "throughline_engine_restarts_total", "");
    (restarts >= MANY_RESTARTS).then(|| {
        Finding::problem(
            "engine",
            format!("the embedded engine was started {restarts} times again since the service began"),
            "look in the log for what ended it; out of memory is the usual cause: raise `engine.memory`, or ask less",
        )
    })
}
