//! What senders report of themselves, against what was received from them.

use super::Asked;
use super::finding::{Finding, is_share, percent};

/// Senders are looked at once a minute, so what they wrote is told later than it is received: more written than received
/// is a loss, but for what is on its way. One record in so many, and so many at least:
const LOST: u64 = 100;
const LOST_LEAST: i64 = 10;
/// The reverse is usual, but for so much of it.
const UNASKED: u64 = 10;
const UNASKED_LEAST: i64 = -1_000;

pub(super) fn check(asked: &Asked) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in &asked.ledger.sums {
        let (source, Some(sender)) = (&line.source, line.sender) else { continue };
        if sender.dropped > 0 {
            findings.push(Finding::problem(
                "senders",
                format!("{source}: its senders say that they dropped {} records", sender.dropped),
                "they could not get rid of them in time: look at the way to the service and at its refusals; records \
                 that a proxy drops are gone",
            ));
        }
        let missing = sender.missing.unsigned_abs();
        if sender.missing >= LOST_LEAST && is_share(missing, sender.written, LOST) {
            findings.push(Finding::problem(
                "senders",
                format!(
                    "{source}: its senders say that they wrote {} records, {missing} ({}) more than were received",
                    sender.written,
                    percent(missing, sender.written)
                ),
                "Envoy counts what it hands to a connection as written, also when nobody is there: look for times at \
                 which the service or the way to it was down",
            ));
        } else if sender.missing <= UNASKED_LEAST && is_share(missing, sender.written, UNASKED) {
            findings.push(Finding::note(
                "senders",
                format!("{source}: {missing} more records were received than its senders report"),
                "not every sender's statistics are among `stats` of the source: what the others lose is not seen",
            ));
        }
    }
    findings
}
