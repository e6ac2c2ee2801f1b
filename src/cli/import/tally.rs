//! What became of the records: counted, with the first reasons, for the person and for the script.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::render::safe;

/// Rejects that are shown with their place and detail.
const FIRST: usize = 5;

/// The service's answer to one delivery of lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Receipt {
    accepted: u64,
    rejected: u64,
    by_reason: BTreeMap<String, u64>,
    rejects: Vec<First>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct First {
    reason: String,
    offset: u64,
    detail: String,
}

/// One reject with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rejected {
    file: String,
    /// Byte in the unpacked file: of the record, or of the frame that it was in.
    offset: u64,
    reason: String,
    detail: String,
}

/// The sum over all files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) files: u64,
    /// Events, rejects and what went unanswered.
    pub(super) records: u64,
    pub(super) events: u64,
    pub(super) rejected: u64,
    by_reason: BTreeMap<String, u64>,
    first_rejects: Vec<Rejected>,
    /// Records sent over gRPC, where no answer counts events: rejects among them show only in `/api/v1/rejects`.
    unanswered: u64,
}

impl Tally {
    /// Adds the answer to a piece that began at `offset` of `file`.
    pub(super) fn add(&mut self, file: &str, offset: u64, receipt: Receipt) {
        self.records += receipt.accepted + receipt.rejected;
        self.events += receipt.accepted;
        self.rejected += receipt.rejected;
        for (reason, count) in receipt.by_reason {
            *self.by_reason.entry(reason).or_default() += count;
        }
        for first in receipt.rejects {
            self.show(file, offset + first.offset, &first.reason, &first.detail);
        }
    }

    /// Adds records that were taken.
    pub(super) fn accept(&mut self, count: u64) {
        self.records += count;
        self.events += count;
    }

    /// Adds records that are rejected for one reason.
    pub(super) fn reject(&mut self, file: &str, offset: u64, count: u64, reason: &str, detail: &str) {
        self.records += count;
        self.rejected += count;
        *self.by_reason.entry(reason.to_owned()).or_default() += count;
        self.show(file, offset, reason, detail);
    }

    /// Adds records whose receipt is known, but not what became of each.
    pub(super) fn sent_unanswered(&mut self, records: u64) {
        self.records += records;
        self.unanswered += records;
    }

    fn show(&mut self, file: &str, offset: u64, reason: &str, detail: &str) {
        if self.first_rejects.len() < FIRST {
            let (file, reason, detail) = (file.to_owned(), reason.to_owned(), detail.to_owned());
            self.first_rejects.push(Rejected { file, offset, reason, detail });
        }
    }

    /// The summary for the person at the keyboard.
    pub(super) fn tell(&self, talk: &mut dyn Write) -> io::Result<()> {
        let Self { files, records, events, rejected, .. } = self;
        writeln!(talk, "{files} files, {records} records: {events} events, {rejected} rejected")?;
        if self.unanswered > 0 {
            writeln!(
                talk,
                "  {} of the records went over gRPC, which does not say what was rejected",
                self.unanswered
            )?;
        }
        for (reason, count) in &self.by_reason {
            writeln!(talk, "  {count} {}", safe(reason))?;
        }
        for Rejected { file, offset, reason, detail } in &self.first_rejects {
            writeln!(talk, "  {} at byte {offset}: {}: {}", safe(file), safe(reason), safe(detail))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_add_up_and_the_first_rejects_have_their_place_in_the_file() {
        let mut tally = Tally::default();
        let answer = r#"{"accepted":3,"rejected":2,"by_reason":{"bad_json":2},
            "rejects":[{"reason":"bad_json","offset":7,"detail":"expected \u001b"}]}"#;
        tally.add("a.log", 100, serde_json::from_str(answer).unwrap());
        tally.reject("b.log", 9, 1, "too_large", "longer than 16777216 bytes");
        let mut out = Vec::new();
        tally.tell(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "0 files, 6 records: 3 events, 3 rejected\n  2 bad_json\n  1 too_large\n  \
             a.log at byte 107: bad_json: expected \\x1b\n  \
             b.log at byte 9: too_large: longer than 16777216 bytes\n"
        );
    }

    #[test]
    fn only_the_first_rejects_are_kept() {
        let mut tally = Tally::default();
        for offset in 0..100 {
            tally.reject("a", offset, 1, "bad_json", "");
        }
        assert_eq!((tally.first_rejects.len(), tally.rejected), (FIRST, 100));
    }
}
