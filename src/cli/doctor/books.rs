//! The completeness ledger: what was received against what is stored, and every record that went another way.

use super::Asked;
use super::finding::{Finding, is_share};
use crate::api::answer::LedgerLine;

/// One refused delivery in so many acknowledged is what a restart or a burst makes.
const USUAL_REFUSALS: u64 = 100;

pub(super) fn check(asked: &Asked) -> Vec<Finding> {
    let ledger = &asked.ledger;
    let mut findings = Vec::new();
    for line in &ledger.sums {
        findings.extend(
            [missing(line), set_aside(line), store_refused(line), unread(line)].into_iter().flatten(),
        );
        findings.extend(refused(line));
    }
    if ledger.balanced {
        let received: u64 = ledger.sums.iter().map(|line| line.received).sum();
        findings.insert(
            0,
            Finding::ok("books", format!("balance: {received} records received, and all accounted for")),
        );
    }
    if ledger.truncated {
        let advice = "the rest was not looked at: pass a shorter --since";
        findings.push(Finding::note("books", "the window has more lines than one answer may have", advice));
    }
    if let Some(begins) = ledger.begins.as_ref().filter(|begins| **begins > ledger.since) {
        let what = format!("books are kept since {begins}; what came before is not judged");
        findings.push(Finding::note("books", what, ""));
    }
    findings
}

fn missing(line: &LedgerLine) -> Option<Finding> {
    let (source, received) = (&line.source, line.received);
    match line.missing? {
        0 => None,
        missing @ 1.. => Some(Finding::problem(
            "books",
            format!("{source}: {missing} of {received} records that were received are not in the store"),
            "they were acknowledged: look for deleted rows or parts, a spool directory that was removed, and \
             `set aside` in the log; `GET /api/v1/ledger` says in which minutes",
        )),
        surplus => Some(Finding::problem(
            "books",
            format!("{source}: {} rows are in the store and not in the ledger", surplus.unsigned_abs()),
            "something else than this version writes into the tables, or an instance is stuck between two inserts: \
             look in the logs of all instances for `cannot ship`",
        )),
    }
}

fn set_aside(line: &LedgerLine) -> Option<Finding> {
    (line.set_aside > 0).then(|| {
        Finding::problem(
            "books",
            format!(
                "{} spool segments could not be read whole, at most {} of their records are lost",
                line.set_aside, line.lost_records
            ),
            "the disk gave back other bytes than were written: look at the disk; the originals are in spool/corrupt/ of \
             the data directory",
        )
    })
}

fn store_refused(line: &LedgerLine) -> Option<Finding> {
    (line.store_refused > 0).then(|| {
        Finding::problem(
            "books",
            format!("{}: the store refused {} events for good", line.source, line.store_refused),
            "they are kept as rejects, with its words: GET /api/v1/rejects?reason=store_refused",
        )
    })
}

fn unread(line: &LedgerLine) -> Option<Finding> {
    let (cause, count) = line.unread.iter().max_by_key(|(_, count)| **count)?;
    let advice = match cause.as_str() {
        "too_large" => {
            "a sender does not come again with them: raise `limits.body` (gRPC: `limits.grpc_message`), or make its \
             batches smaller"
        }
        _ => {
            "connections break before a delivery ends: look at proxies and time limits between sender and service"
        }
    };
    Some(Finding::problem(
        "books",
        format!("{}: {count} deliveries were not read ({cause})", line.source),
        advice,
    ))
}

fn refused(line: &LedgerLine) -> Vec<Finding> {
    let said = |(cause, count): (&String, &u64)| {
        let what = format!("{}: {count} deliveries were refused, to come again ({cause})", line.source);
        let advice = match cause.as_str() {
            "busy" => "too much is in flight at once: raise `limits.in_flight`, or run another instance",
            "spool_full" => {
                "the store does not keep up or was away: look at the store, or raise `spool.max_bytes`"
            }
            "rate" => "the source sends more than its `rate_bytes`: raise it, or let the sender send less",
            "stranger" => {
                "somebody has the source's token and sends from an address, or with a certificate, that is not on its list: \
                 mend the list, or change the token"
            }
            "spool_failed" => "the disk under the data directory fails: look at it and at the service's log",
            _ => "the service was going down; a sender that tries again loses nothing",
        };
        let is_rare = !is_share(*count, line.deliveries.max(*count), USUAL_REFUSALS);
        if cause == "stopped" || cause == "busy" && is_rare {
            Finding::note("books", what, advice)
        } else {
            Finding::problem("books", what, advice)
        }
    };
    line.refused.iter().map(said).collect()
}
