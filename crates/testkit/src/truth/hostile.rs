//! Clients that send what is not theirs. Each of their requests is a request of its own, whatever ids it wears.

use super::journey::{MS, US};
use super::workload::{Entry, Ids, Workload};
use crate::rng::Rng;

/// Ids that some client sends with every request, and that an edge which does not overwrite keeps.
const FIXED_CORRELATION: [&str; 2] =
    ["debug-session-of-the-mobile-app-0001", "5c0ffee0-dead-4bad-8bad-c0ffeec0ffee"];
/// As [`FIXED_CORRELATION`], for `x-request-id` at a gateway that preserves it.
const FIXED_REQUEST: [&str; 2] =
    ["0d15ea5e-0bad-4bad-abad-1dea5ba5eba1", "load-test-runner-20261121-fixed-request"];

impl Workload<'_> {
    /// An entry that forges, or an honest one in every other case.
    pub(super) fn forged(&self, n: usize, rng: &mut Rng) -> Entry {
        let mut entry = self.honest(n);
        let draw = rng.below(20);
        if draw < 10 || n < 20 {
            return entry;
        }
        let in_flight = n - 1 - rng.below(6) as usize;
        let earlier = rng.below(n as u64 - 10) as usize;
        let (victim, at) = match draw % 2 {
            0 => (in_flight, self.start_ns(in_flight) + rng.between(2 * MS as u64, 40 * MS as u64) as i64),
            _ => (earlier, entry.at + rng.below(900 * US as u64) as i64),
        };
        let theirs = self.ids(victim);
        let mut bypass = |entry: &mut Entry| {
            (entry.at, entry.via_edge) = (at, false);
            entry.headers.correlation.clear();
            entry.headers.traceparent = None;
            entry.headers.edge_request_id.clear();
            if rng.below(2) == 0 {
                entry.path = self.path(victim);
            }
        };
        match draw {
            10..=12 => {
                bypass(&mut entry);
                entry.headers.correlation = theirs.correlation_text();
            }
            13 => {
                bypass(&mut entry);
                wear(&mut entry, &theirs);
                // Known from the response, where the gateway is told to set it there.
                entry.headers.request_id = self.request_ids[victim].clone();
            }
            14 => {
                bypass(&mut entry);
                entry.headers.request_id = FIXED_REQUEST[n % 2].to_owned();
            }
            15 => entry.headers.request_id = FIXED_REQUEST[n % 2].to_owned(),
            16 => entry.headers.correlation = FIXED_CORRELATION[n % 2].to_owned(),
            17 => entry.headers.traceparent = Some((theirs.trace, theirs.span)),
            18 => {
                bypass(&mut entry);
                entry.headers.traceparent = Some((theirs.trace, theirs.span));
            }
            _ => entry.headers.edge_request_id = theirs.edge_request_text(),
        }
        entry
    }
}

/// All that the edge gave to someone else.
fn wear(entry: &mut Entry, theirs: &Ids) {
    entry.headers.correlation = theirs.correlation_text();
    entry.headers.traceparent = Some((theirs.trace, theirs.span));
    entry.headers.edge_request_id = theirs.edge_request_text();
}
