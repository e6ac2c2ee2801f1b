//! What an erasure did, place by place: printed, and kept in DATA_DIR/receipts. Of the value it holds a keyed hash.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::Kind;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Nothing was deleted: what would be is counted.
    #[default]
    DryRun,
    /// Noted durably, and not done everywhere: `waiting` says why.
    Pending,
    /// Done on this instance and in the store.
    Done,
}

/// One place where something was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Place {
    /// A table; `ids`: places that lead to these events only; `spool`: dropped on its way into the store; `corrupt`:
    /// originals of damaged segments.
    pub(crate) place: String,
    /// Rows, records or files found there.
    pub(crate) before: u64,
    /// How many are left; missing where there is nothing to count: a dry run, `spool`, `corrupt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
}

/// What a trace backend was sent, and holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct ExportedSpans {
    /// Spans that the receiver took.
    pub(crate) spans: u64,
    /// Their trace ids there, the first thousand.
    pub(crate) trace_ids: Vec<String>,
}

/// The receipt of an erasure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Receipt {
    /// Its id; `GET /api/v1/erasures/{id}` shows it again.
    pub(crate) id: String,
    /// How far it is.
    pub(crate) state: State,
    /// Whose records were looked at.
    pub(crate) tenant: String,
    /// Who asked.
    pub(crate) by: String,
    /// When, RFC 3339.
    pub(crate) asked: String,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<String>,
    /// By what the person was named.
    pub(crate) kind: Kind,
    /// Keyed hash of the value, by the key of pseudonyms: tells whether two receipts are about the same value.
    pub(crate) value_hash: String,
    /// Receipt that was looked at: from, or from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// To.
    pub(crate) until: String,
    /// What was found, and what is left.
    pub(crate) places: Vec<Place>,
    /// What left this system as traces.
    pub(crate) exported: ExportedSpans,
    /// What is not done yet, and why.
    pub(crate) waiting: Vec<String>,
    /// What this does not reach.
    pub(crate) out_of_reach: Vec<String>,
}

impl Receipt {
    /// Adds to what was found in a place; `after` replaces what was counted before.
    pub(crate) fn count(&mut self, place: &str, before: u64, after: Option<u64>) {
        match self.places.iter_mut().find(|known| known.place == place) {
            Some(known) => {
                known.before += before;
                known.after = after.or(known.after);
            }
            None => self.places.push(Place { place: place.to_owned(), before, after }),
        }
    }
}

/// What an erasure never reaches, whatever it finds.
pub(crate) fn out_of_reach() -> Vec<String> {
    [
        "Senders: the followed log files, and what Fastly, Envoy and OTLP senders keep or send again. A record that is \
         delivered again after this is a new record: erase at the sender first, or erase again.",
        "Trace backends: the spans under `exported` are held by the receiver of export.endpoint; delete them there by \
         their trace ids. Requests that were being sent at that moment may follow with ids that are listed.",
        "Other instances: each drops what its own spool holds of this when it ships, told by the table `erasures`, \
         which keeps the value for 30 days (the embedded engine has no others). Ask each for its originals of damaged \
         segments (spool/corrupt), and erase again after the spool of a dead instance was adopted.",
        "Copies: backups made before this, and the query log of a ClickHouse server, if it keeps one.",
        "Logs: the service's own log holds no values of records; an access or audit log of queries may hold what was \
         searched for.",
    ]
    .map(str::to_owned)
    .to_vec()
}
