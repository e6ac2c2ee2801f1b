//! Lines of Envoy logs, one record each: unwraps what a container runtime put around them, then JSON or TEXT.

use std::borrow::Cow;

use event::{Notes, RejectReason};
use memchr::memchr;

use crate::envoy::Draft;
use crate::envoy::format::Scratch;
use crate::envoy::json::{self, Keys, Read};
use crate::envoy::wrap::{MAX_LINE_BYTES, Unwrapped, unwrap};
use crate::{Delivery, Rules, Sink};

/// Decodes the lines of one delivery. Blank lines are nothing; every other line is one event or one reject.
///
/// A line that a container runtime cut in parts is one record, at the offset of its first part; parts that the delivery
/// does not complete are a reject. A body that is one JSON array gives its objects.
pub fn decode_lines(payload: &[u8], delivery: &Delivery<'_>, rules: &Rules, sink: &mut dyn Sink) {
    let mut reader = Reader { delivery, rules, keys: Keys::default(), scratch: Scratch::default() };
    if let Some(elements) = payload.trim_ascii_start().strip_prefix(b"[")
        && elements.trim_ascii_start().starts_with(b"{")
    {
        reader.array(elements, (payload.len() - elements.len()) as u64, sink);
        return;
    }
    let mut parts: Option<(u64, Vec<u8>)> = None;
    let mut at = 0;
    while at < payload.len() {
        let end = memchr(b'\n', &payload[at..]).map_or(payload.len(), |found| at + found);
        let line = &payload[at..end];
        let (offset, line) = (at as u64, line.strip_suffix(b"\r").unwrap_or(line));
        at = end + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match unwrap(line) {
            Unwrapped::Part(part) => {
                let (_, joined) = parts.get_or_insert_with(|| (offset, Vec::new()));
                // One byte past the bound is enough to know.
                let room = (MAX_LINE_BYTES + 1).saturating_sub(joined.len());
                joined.extend_from_slice(&part[..part.len().min(room)]);
            }
            Unwrapped::Line(text) => match parts.take() {
                Some((offset, mut joined)) => {
                    let room = (MAX_LINE_BYTES + 1).saturating_sub(joined.len());
                    joined.extend_from_slice(&text[..text.len().min(room)]);
                    reader.line(&joined, offset, sink);
                }
                None => reader.line(&text, offset, sink),
            },
        }
    }
    if let Some((offset, joined)) = parts {
        let detail = "the runtime cut this line and its rest is not in the delivery";
        delivery.refuse(rules, "", RejectReason::Truncated, detail, offset, &joined, sink);
    }
}

struct Reader<'d> {
    delivery: &'d Delivery<'d>,
    rules: &'d Rules,
    keys: Keys,
    scratch: Scratch,
}

impl Reader<'_> {
    fn line(&mut self, line: &[u8], offset: u64, sink: &mut dyn Sink) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let (format, outcome) = self.read(line, offset, sink);
        if let Err((reason, detail)) = outcome {
            self.delivery.refuse(self.rules, format, reason, &detail, offset, line, sink);
        }
    }

    fn read(&mut self, line: &[u8], offset: u64, sink: &mut dyn Sink) -> (&'static str, Read) {
        if line.len() > MAX_LINE_BYTES {
            let detail = format!("longer than {MAX_LINE_BYTES} bytes");
            return ("", Err((RejectReason::TooLarge, detail)));
        }
        // `from_utf8` first: the lossy reading of good text costs several times more.
        let whole = std::str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        let is_lossy = matches!(whole, Cow::Owned(_));
        let text = whole.trim_ascii();
        if text.starts_with('{') {
            let outcome =
                json::read(text, is_lossy, &mut self.keys, offset, (self.delivery, self.rules), sink);
            return ("envoy-json", outcome);
        }
        let mut draft = Draft::new("envoy-text", self.rules);
        if is_lossy {
            draft.event.notes.add(Notes::BAD_UTF8);
        }
        // Blanks at the ends count: a mesh that omits empty values may end a line with two.
        let fits = self.rules.envoy.read(&whole, &mut draft, &mut self.scratch)
            || whole.len() != text.len() && self.rules.envoy.read(text, &mut draft, &mut self.scratch);
        if fits {
            draft.finish(self.delivery, offset, sink);
            return ("envoy-text", Ok(()));
        }
        let detail =
            "fits none of the known Envoy format strings: add the mesh's accessLogFormat to the source";
        if text.starts_with('[') {
            ("envoy-text", Err((RejectReason::FormatMismatch, detail.to_owned())))
        } else {
            ("", Err((RejectReason::UnknownFormat, "neither JSON nor a known Envoy line".to_owned())))
        }
    }

    /// `{…}, {…}]`: some collectors send one array a body. What cannot be told into elements is one reject.
    fn array(&mut self, elements: &[u8], start: u64, sink: &mut dyn Sink) {
        let mut rest = elements;
        loop {
            rest = rest.trim_ascii_start();
            let offset = start + (elements.len() - rest.len()) as u64;
            let Some(length) = object_length(rest) else {
                let detail = "no whole object where the array has its next element";
                self.delivery.refuse(
                    self.rules,
                    "envoy-json",
                    RejectReason::Truncated,
                    detail,
                    offset,
                    rest,
                    sink,
                );
                return;
            };
            let (element, after) = rest.split_at(length);
            self.line(element, offset, sink);
            rest = after.trim_ascii_start();
            match rest {
                [b',', after @ ..] => rest = after,
                [b']', after @ ..] if after.trim_ascii().is_empty() => return,
                _ => {
                    let offset = start + (elements.len() - rest.len()) as u64;
                    let detail = "neither a comma nor the end of the array after an element";
                    self.delivery.refuse(
                        self.rules,
                        "envoy-json",
                        RejectReason::BadJson,
                        detail,
                        offset,
                        rest,
                        sink,
                    );
                    return;
                }
            }
        }
    }
}

/// Bytes of the object that `text` begins with, by brackets outside of strings.
fn object_length(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    if !text.starts_with(b"{") {
        return None;
    }
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
