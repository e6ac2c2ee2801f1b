//! Clocks of senders, as far as their records show them.

use super::Asked;
use super::finding::{Finding, is_share, percent};

/// One event in so many that is worth a word.
const WORTH: u64 = 100;

/// This machine's clock and the service's may differ by what an answer takes, and what nobody sets right.
const APART_S: u64 = 5;

/// The clock of this machine against the service's.
pub(super) fn own(service: &str, now_s: u64) -> Option<Finding> {
    let service_s = service.parse::<jiff::Timestamp>().ok()?.as_second().unsigned_abs();
    let apart_s = service_s.abs_diff(now_s);
    (apart_s > APART_S).then(|| {
        Finding::problem(
            "clocks",
            format!("the service's clock and this machine's are {apart_s} s apart"),
            "times of receipt, retention and `--since` go by the service's clock: compare both with `date -u`",
        )
    })
}

pub(super) fn check(asked: &Asked) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in &asked.ledger.sums {
        let (source, events) = (&line.source, line.accepted);
        if let Some(ahead) = line.clock_ahead.filter(|ahead| is_share(*ahead, events, WORTH)) {
            findings.push(Finding::problem(
                "clocks",
                format!(
                    "{source}: {ahead} of {events} events ({}) begin more than a minute after they were received",
                    percent(ahead, events)
                ),
                "a clock or a time zone is wrong, at the sender or here: compare both with `date -u`",
            ));
        }
        if let Some(guessed) = line.time_guessed.filter(|guessed| is_share(*guessed, events, WORTH)) {
            findings.push(Finding::note(
                "clocks",
                format!(
                    "{source}: of {guessed} of {events} events ({}) the time or its zone is missing",
                    percent(guessed, events)
                ),
                "UTC, or the time of receipt, was taken: log the start with its zone, or as a number",
            ));
        }
    }
    findings
}
