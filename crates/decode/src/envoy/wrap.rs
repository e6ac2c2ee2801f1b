//! What container runtimes put around a line: Docker's JSON and Kubernetes' CRI form, both with lines cut in parts.

use std::borrow::Cow;

use memchr::memchr;

use crate::coerce::Scalar;
use crate::envoy::object::{Member, Object};
use crate::time;

/// Longest line after joining its parts, in bytes. Runtimes cut at 16 KiB; Envoy's own lines end by 64 KiB of headers.
pub(crate) const MAX_LINE_BYTES: usize = 256 * 1024;

/// One line without its wrapping.
#[derive(Debug, PartialEq)]
pub(crate) enum Unwrapped<'a> {
    /// As the process wrote it.
    Line(Cow<'a, [u8]>),
    /// A part of a line; more follows.
    Part(Cow<'a, [u8]>),
}

/// Whether a container runtime cut this line, so that its rest follows in another. Whoever cuts a stream into deliveries
/// must not cut it after such a line.
pub fn is_cut_line(line: &[u8]) -> bool {
    matches!(unwrap(line.trim_ascii_end()), Unwrapped::Part(_))
}

/// Takes off the wrapping, if there is one.
pub(crate) fn unwrap(line: &[u8]) -> Unwrapped<'_> {
    if let Some((text, is_part)) = cri(line) {
        return if is_part { Unwrapped::Part(text.into()) } else { Unwrapped::Line(text.into()) };
    }
    if let Some(text) = docker(line) {
        // Docker ends what it wrote with the newline of the process; a cut line has none.
        return match text.strip_suffix('\n') {
            Some(whole) => Unwrapped::Line(whole.as_bytes().to_vec().into()),
            None => Unwrapped::Part(text.into_bytes().into()),
        };
    }
    Unwrapped::Line(line.into())
}

/// `2026-02-10T05:05:36.123456789Z stdout F the line`; `P` marks a part.
fn cri(line: &[u8]) -> Option<(&[u8], bool)> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let blank = memchr(b' ', line)?;
    let (time, rest) = (&line[..blank], &line[blank + 1..]);
    let rest = rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "))?;
    let is_time = std::str::from_utf8(time).ok().and_then(time::parse_text).is_some();
    let (tag, text) = match memchr(b' ', rest) {
        Some(blank) => (&rest[..blank], &rest[blank + 1..]),
        None => (rest, &[][..]),
    };
    // Tags may be joined by `:`; only the first is defined.
    match tag.split(|&byte| byte == b':').next()? {
        b"F" if is_time => Some((text, false)),
        b"P" if is_time => Some((text, true)),
        _ => None,
    }
}

/// `{"log":"the line\n","stream":"stdout","time":"…"}`: only these keys (and `attrs`), `log` and `stream` among them.
fn docker(line: &[u8]) -> Option<String> {
    if !line.starts_with(b"{\"") || !line[2..].starts_with(b"log\"") && !line[2..].starts_with(b"stream\"") {
        return None;
    }
    let mut object = Object::open(std::str::from_utf8(line).ok()?).ok()?;
    let (mut log, mut has_stream) = (None, false);
    while let Some((key, member)) = object.member().ok()? {
        match (key.as_ref(), member) {
            ("log", Member::Scalar(Scalar::Text(text))) => log = Some(text.into_owned()),
            ("stream", Member::Scalar(Scalar::Text(_))) => has_stream = true,
            ("time" | "attrs", _) => {}
            _ => return None,
        }
    }
    log.filter(|_| has_stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappings_come_off() {
        let cri = unwrap(b"2026-02-10T05:05:36.123456789Z stdout F [x] \"GET /\"");
        assert_eq!(cri, Unwrapped::Line(b"[x] \"GET /\""[..].into()));
        let part = unwrap(b"2026-02-10T05:05:36.123456789+01:00 stderr P [x] ");
        assert_eq!(part, Unwrapped::Part(b"[x] "[..].into()));
        let docker = unwrap(br#"{"log":"[x] \"GET\"\n","stream":"stdout","time":"2026-02-10T05:05:36Z"}"#);
        assert_eq!(docker, Unwrapped::Line(b"[x] \"GET\""[..].into()));
        let cut = unwrap(br#"{"log":"[x] ","stream":"stdout","time":"2026-02-10T05:05:36Z"}"#);
        assert_eq!(cut, Unwrapped::Part(b"[x] "[..].into()));
    }

    #[test]
    fn what_only_looks_wrapped_stays() {
        for line in [
            &br#"{"log":"x","level":"info"}"#[..],
            b"2026 stdout F x",
            b"[2026-02-10T05:05:36Z] \"GET\"",
            b"",
        ] {
            assert_eq!(unwrap(line), Unwrapped::Line(line.into()));
        }
    }
}
