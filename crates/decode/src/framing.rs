//! Where one record ends and the next begins.
//!
//! - [`Body`] steps through one decompressed body: JSON array, NDJSON, pretty-printed or concatenated objects, text
//!   lines, octet-counted messages (logplex), in any mixture. It only finds beginnings and safe places to go on; how
//!   long an object is, its parser says.
//! - [`strip_prefix`] takes off what a log transport put before a message.
//! - [`Lines`] splits a file or stream that grows, in chunks.

use memchr::{memchr, memchr2, memmem};

/// Longest single record, in bytes: 16 times the longest line that Fastly sends. OTLP documents are not bound by it.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Steps through a body, from record to record.
#[derive(Debug, Clone)]
pub struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Open `[` around the records.
    in_array: bool,
    /// The last record was an object, so a comma may follow it on its line.
    after_object: bool,
    /// End of the line that was searched last: all elements of an array may stand on one.
    line_end: usize,
}

/// The beginning of a record and how far it may reach by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First byte, not white space.
    pub start: usize,
    /// End of its line, or of its counted octets; without the line break.
    pub end: usize,
    /// The length was stated (logplex) and holds.
    pub counted: bool,
    /// It stands in a JSON array.
    pub in_array: bool,
}

impl<'a> Body<'a> {
    /// From the first byte on. A byte order mark is skipped.
    pub fn new(bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { bytes, at, in_array: false, after_object: false, line_end: 0 }
    }

    /// The next record's place; `None` at the end. Call [`Self::resume`] before the next call.
    pub fn next_piece(&mut self) -> Option<Piece> {
        loop {
            match self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    self.after_object = false;
                }
                b'[' if self.opens_array() => {
                    self.at += 1;
                    self.in_array = true;
                }
                b']' if self.in_array => {
                    self.at += 1;
                    self.in_array = false;
                }
                b',' if self.in_array || self.after_object => self.at += 1,
                _ => break,
            }
        }
        let start = self.at;
        self.after_object = false;
        if let Some((from, end)) = self.counted(start) {
            return Some(Piece { start: from, end, counted: true, in_array: false });
        }
        if self.line_end <= start {
            self.line_end = memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |at| start + at);
        }
        Some(Piece { start, end: self.line_end, counted: false, in_array: self.in_array })
    }

    /// Goes on at `at`; `object` says that a whole object ended there.
    pub fn resume(&mut self, at: usize, object: bool) {
        self.at = at.max(self.at + 1).min(self.bytes.len());
        self.after_object = object;
    }

    /// Where a record that cannot be read ends at the latest, so that its neighbours are not lost: the end of its
    /// line; in an array the next place after `from` where one object ends and another begins, or the array ends.
    pub fn resync(&self, piece: Piece, from: usize) -> usize {
        if !piece.in_array {
            return piece.end;
        }
        let mut at = from.max(piece.start);
        while let Some(found) = memchr2(b'}', b'\n', &self.bytes[at..]) {
            at += found;
            let close = self.bytes[at] == b'}';
            let rest = self.bytes[at + 1..].trim_ascii_start();
            match rest.first() {
                Some(b'{') if !close => return at,
                // A key after the comma: it was an object inside of the record that closed.
                Some(b',') if close && rest[1..].trim_ascii_start().first() != Some(&b'"') => return at + 1,
                Some(b']') if close => return at + 1,
                None => return at + 1,
                Some(b'{') => at += 1,
                // Past the white space: each of its line breaks would look at the same `rest` again.
                Some(_) => at = self.bytes.len() - rest.len(),
            }
        }
        self.bytes.len()
    }

    /// `[` before an object or before its own end; a CLF date or a bracketed word is not an array.
    fn opens_array(&self) -> bool {
        !self.in_array && matches!(self.bytes[self.at + 1..].trim_ascii_start().first(), Some(b'{' | b']'))
    }

    /// `83 <40>1 …`: the message of a stated number of octets, if it ends where a message can end.
    fn counted(&self, start: usize) -> Option<(usize, usize)> {
        let rest = &self.bytes[start..];
        let digits =
            rest.iter().take(7).position(|byte| !byte.is_ascii_digit()).filter(|&count| count > 0)?;
        if rest.get(digits..digits + 2) != Some(b" <") {
            return None;
        }
        let count: usize = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let from = start + digits + 1;
        let end = from.checked_add(count).filter(|&end| end <= self.bytes.len())?;
        let ends =
            self.bytes[end - 1] == b'\n' || matches!(self.bytes.get(end), None | Some(b'\n' | b'0'..=b'9'));
        ends.then_some((from, end))
    }
}

/// What stood before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix<'a> {
    /// When the line was logged, as written.
    pub time: &'a str,
    /// The host that logged it: Fastly's cache server.
    pub host: &'a str,
    /// Name of the log or endpoint.
    pub name: &'a str,
    /// RFC 5424 structured data with its brackets.
    pub structured: &'a str,
}

/// Takes off a transport's prefix: `<134>TIME HOST NAME[PID]: `, RFC 5424 (loggly), logplex, `name :: ` (local
/// Compute). A line without any comes back as it is.
pub fn strip_prefix(line: &str) -> (Prefix<'_>, &str) {
    syslog(line).or_else(|| local(line)).unwrap_or((Prefix::default(), line))
}

fn syslog(line: &str) -> Option<(Prefix<'_>, &str)> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    if priority.is_empty() || priority.len() > 3 || !priority.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match rest.strip_prefix("1 ") {
        Some(rest) => rfc5424(rest),
        None => classic(rest),
    }
}

/// `TIME HOST NAME[PID]: MESSAGE`. The time is RFC 3339 and so one word.
fn classic(rest: &str) -> Option<(Prefix<'_>, &str)> {
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let (host, rest) = rest.split_once(' ')?;
    let (tag, message) = rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|tag| (tag, "")))?;
    if tag.contains(['{', '"']) {
        return None;
    }
    let name = tag.split_once('[').map_or(tag, |(name, _)| name);
    Some((Prefix { time, host, name, structured: "" }, message.trim_start()))
}

/// `TIME HOST NAME PID MSGID SD MESSAGE`; logplex leaves out SD.
fn rfc5424(rest: &str) -> Option<(Prefix<'_>, &str)> {
    let mut words = rest.splitn(6, ' ');
    let (time, host, name) = (words.next()?, words.next()?, words.next()?);
    let (_pid, _message_id) = (words.next()?, words.next()?);
    let rest = words.next()?;
    let (structured, message) = match rest.as_bytes().first() {
        Some(b'-') if rest.len() == 1 || rest.as_bytes()[1] == b' ' => rest.split_at(1),
        Some(b'[') => rest.split_at(structured_end(rest.as_bytes())?),
        _ => ("", rest),
    };
    let structured = if structured == "-" { "" } else { structured };
    Some((Prefix { time, host, name, structured }, message.trim_start().trim_start_matches('\u{feff}')))
}

/// End of `[id key="value"]…`; a bracket in a quoted value does not close, a backslash hides what follows it.
fn structured_end(bytes: &[u8]) -> Option<usize> {
    // `[{` and `["` begin a JSON array as the message, not structured data.
    if matches!(bytes.get(1), Some(b'{' | b'"' | b' ' | b']')) {
        return Some(0);
    }
    let (mut quoted, mut at) = (false, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b']' if !quoted && bytes.get(at + 1) != Some(&b'[') => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// `name :: MESSAGE`. Endpoint names hold no colon and no line break.
fn local(line: &str) -> Option<(Prefix<'_>, &str)> {
    const LONGEST_NAME: usize = 128;
    let head = &line.as_bytes()[..line.len().min(LONGEST_NAME)];
    let at = memmem::find(head, b" :: ")?;
    let name = &line[..at];
    let plain = !name.is_empty() && !name.contains([':', '"', '{']);
    plain.then(|| (Prefix { name, ..Prefix::default() }, line[at + 4..].trim_start()))
}

/// Splits what comes in chunks into lines, holding back the unfinished one up to a bound.
#[derive(Debug)]
pub struct Lines {
    carry: Vec<u8>,
    limit_bytes: usize,
    /// Bytes of the current line that were dropped because it passed the bound.
    dropped: u64,
    /// Where in the stream the current line began.
    line_at: u64,
}

/// A line, or what is left of one that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'l> {
    /// Without its line break.
    Whole {
        /// Offset of its first byte in the stream.
        offset: u64,
        /// May be empty.
        bytes: &'l [u8],
    },
    /// Longer than the bound: a reject of reason `TooLarge`.
    TooLong {
        /// Offset of its first byte in the stream.
        offset: u64,
        /// Its whole length.
        length: u64,
        /// Its first bytes, as many as the bound.
        head: &'l [u8],
    },
}

impl Lines {
    /// `offset` is where in the stream the first chunk begins; a line of more than `limit_bytes` is cut.
    pub fn new(offset: u64, limit_bytes: usize) -> Self {
        Self { carry: Vec::new(), limit_bytes, dropped: 0, line_at: offset }
    }

    /// Takes a chunk and hands on every line that it completes.
    pub fn push(&mut self, mut chunk: &[u8], mut line: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', chunk) {
            self.complete(&chunk[..end], true, &mut line);
            chunk = &chunk[end + 1..];
        }
        let room = self.limit_bytes.saturating_sub(self.carry.len()).min(chunk.len());
        self.carry.extend_from_slice(&chunk[..room]);
        self.dropped += (chunk.len() - room) as u64;
    }

    /// The stream is at its end: hands on an unfinished last line.
    pub fn finish(&mut self, mut line: impl FnMut(Line<'_>)) {
        if self.pending_bytes() > 0 {
            self.complete(&[], false, &mut line);
        }
    }

    /// Offset of the line that is not complete yet: where reading must go on after a restart.
    pub fn offset(&self) -> u64 {
        self.line_at
    }

    /// Bytes of the line that is not complete yet.
    pub fn pending_bytes(&self) -> u64 {
        self.carry.len() as u64 + self.dropped
    }

    fn complete(&mut self, tail: &[u8], with_break: bool, line: &mut impl FnMut(Line<'_>)) {
        let length = self.pending_bytes() + tail.len() as u64;
        let offset = self.line_at;
        self.line_at += length + u64::from(with_break);
        let fits = length <= self.limit_bytes as u64;
        let bytes = if self.carry.is_empty() && fits {
            tail
        } else {
            let room = self.limit_bytes.saturating_sub(self.carry.len()).min(tail.len());
            self.carry.extend_from_slice(&tail[..room]);
            &self.carry
        };
        if fits {
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            line(Line::Whole { offset, bytes });
        } else {
            line(Line::TooLong { offset, length, head: bytes });
        }
        self.carry.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_are_told_from_messages() {
        let (prefix, message) = strip_prefix("<134>2026-02-10T05:05:36Z cache-fra log[62959]: {\"a\":1}");
        assert_eq!((prefix.time, prefix.host, prefix.name), ("2026-02-10T05:05:36Z", "cache-fra", "log"));
        assert_eq!(message, "{\"a\":1}");
        let (prefix, message) = strip_prefix("<134>1 T H N 1 - [id k=\"a]\\\"\"][x] text");
        assert_eq!((prefix.structured, message), ("[id k=\"a]\\\"\"][x]", "text"));
        assert_eq!(strip_prefix("name :: x"), (Prefix { name: "name", ..Prefix::default() }, "x"));
        for line in ["plain text", "<x>1 a b c d e f", "{\"a\":\"b :: c\"}", "a: b :: c", "<134>", ""] {
            assert_eq!(strip_prefix(line), (Prefix::default(), line));
        }
    }

    #[test]
    fn a_stated_length_must_hold() {
        let first = |text: &'static str| {
            Body::new(text.as_bytes()).next_piece().map(|piece| (piece.start, piece.end))
        };
        assert_eq!(first("5 <1>ab6 <1>abc"), Some((2, 7)));
        assert_eq!(first("6 <1>ab\n"), Some((2, 8)));
        assert_eq!(first("9999999 <1>ab"), Some((0, 13)));
        assert_eq!(first("4 <1>ab"), Some((0, 7)));
    }

    fn collect(lines: &mut Lines, chunks: &[&[u8]]) -> Vec<(u64, Vec<u8>, bool)> {
        let mut found = Vec::new();
        let mut take = |line: Line<'_>| match line {
            Line::Whole { offset, bytes } => found.push((offset, bytes.to_vec(), true)),
            Line::TooLong { offset, head, .. } => found.push((offset, head.to_vec(), false)),
        };
        chunks.iter().for_each(|chunk| lines.push(chunk, &mut take));
        lines.finish(&mut take);
        found
    }

    #[test]
    fn long_lines_are_cut_and_counted() {
        let mut lines = Lines::new(10, 4);
        let found = collect(&mut lines, &[b"ab\r\nabcdef", b"gh\n\nxy"]);
        let expected = [(10, &b"ab"[..], true), (14, b"abcd", false), (23, b"", true), (24, b"xy", true)];
        assert_eq!(found, expected.map(|(at, bytes, whole)| (at, bytes.to_vec(), whole)));
        assert_eq!(lines.offset(), 26);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(body in "[ab\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &body.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(collect(&mut Lines::new(0, 8), &chunks), collect(&mut Lines::new(0, 8), &[body.as_bytes()]));
        }
    }
}
