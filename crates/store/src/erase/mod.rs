//! What is stored of one person, found and deleted: see [`Scope`] for what counts as theirs.
//!
//! Deleting is `ALTER TABLE … DELETE`, waited for: it writes the touched parts anew, without the rows. Parts that
//! `DELETE FROM` only masks would keep the bytes until some later merge. The old parts are removed at once and not after
//! eight minutes, and because those minutes are there for what merges wrote and the disk does not have yet, merges are
//! fsynced for as long.

mod apply;
mod find;
mod notice;

pub use apply::RecentPart;
pub use find::{Counts, Exported, Touched};
pub use notice::Notice;

use event::HopEvent;

/// Most events of one erasure: what is held of each is some hundred bytes.
pub const MAX_EVENTS: usize = 1_000_000;

/// What is to be found. Every part that is not empty finds events by itself.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Whose records: nothing of another tenant is looked at.
    pub tenant: String,
    /// First moment of receipt, unix nanoseconds.
    pub from_ns: i64,
    /// Last moment of receipt.
    pub until_ns: i64,
    /// Pseudonym.
    pub subject: String,
    /// Address of the client, IPv6 or v4-mapped; 0 for none.
    pub client: u128,
    /// Ids, as whatever kind, trace ids included.
    pub ids: Vec<u128>,
    /// Regular expression (RE2) that finds the value in texts.
    pub pattern: String,
}

/// The texts of an event in which a value is looked for, beside its attributes. The same as [`texts_of`].
pub(crate) const TEXTS: [&str; 17] = [
    "host",
    "path",
    "query",
    "upstream_path",
    "referer",
    "user_agent",
    "details",
    "verdict_reason",
    "forwarded_for",
    "downstream_remote",
    "downstream_local",
    "upstream_remote",
    "upstream_local",
    "sni",
    "downstream_peer",
    "upstream_peer",
    "subject",
];

/// The same texts of an event that is not stored yet.
pub fn texts_of<'e>(event: &'e HopEvent<'_>) -> impl Iterator<Item = &'e str> {
    let texts: [&str; TEXTS.len()] = [
        &event.host,
        &event.path,
        &event.query,
        &event.upstream_path,
        &event.referer,
        &event.user_agent,
        &event.details,
        &event.verdict_reason,
        &event.forwarded_for,
        &event.downstream_remote,
        &event.downstream_local,
        &event.upstream_remote,
        &event.upstream_local,
        &event.sni,
        &event.downstream_peer,
        &event.upstream_peer,
        &event.subject,
    ];
    texts.into_iter().chain(event.attributes.iter().map(|(_, text)| text.as_ref()))
}
