//! Which family of senders wrote a body or file, told by its first bytes: for `import --format auto` and for
//! `POST /v1/envoy`.

use memchr::memmem;

/// A decoder to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// [`crate::fastly::decode`].
    Fastly,
    /// [`crate::envoy::decode_lines`].
    EnvoyLines,
    /// [`crate::otlp::decode_json`].
    OtlpJson,
    /// `ExportLogsServiceRequest`s with varint lengths before them; [`crate::otlp::decode_protobuf`] for each.
    OtlpProtobufDelimited,
    /// `StreamAccessLogsMessage`s with varint lengths before them; one [`crate::envoy::AlsStream`] for all.
    AlsDelimited,
}

/// Bytes of a body that decide; more need not be passed.
pub const HEAD_BYTES: usize = 4096;

/// Keys that only Envoy's formats have, in Istio's spelling and as operators.
const ENVOY_KEYS: [&[u8]; 8] = [
    b"\"response_flags\"",
    b"\"upstream_cluster\"",
    b"\"response_code_details\"",
    b"\"upstream_host\"",
    b"\"downstream_local_address\"",
    b"\"RESPONSE_FLAGS\"",
    b"\"UPSTREAM_CLUSTER\"",
    b"\"RESPONSE_CODE_DETAILS\"",
];

/// The family of a body by its head (decompressed); `None` if nothing speaks for any. A guess for the convenience of
/// people: a source that knows its format says so.
pub fn family(head: &[u8]) -> Option<Family> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    if let Some(family) = delimited(head) {
        return Some(family);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let has = |needle: &[u8]| memmem::find(text, needle).is_some();
    if has(b"\"resourceLogs\"") || has(b"\"resourceSpans\"") {
        // A Fastly batch may carry such documents among its lines; alone they are OTLP.
        let opens = text.starts_with(b"{") && !has(b"}\n{");
        return Some(if opens { Family::OtlpJson } else { Family::Fastly });
    }
    let line = text.split(|&byte| byte == b'\n').next()?;
    match line.first()? {
        b'{' | b'[' if ENVOY_KEYS.iter().any(|key| has(key)) => Some(Family::EnvoyLines),
        b'{' if line.starts_with(b"{\"log\":\"") => Some(Family::EnvoyLines),
        b'{' => Some(Family::Fastly),
        b'[' if line[1..].trim_ascii_start().starts_with(b"{") => Some(Family::Fastly),
        b'[' if line[1..].first().is_some_and(u8::is_ascii_digit) => Some(Family::EnvoyLines),
        b'0'..=b'9'
            if memmem::find(line, b" stdout ").is_some() || memmem::find(line, b" stderr ").is_some() =>
        {
            Some(Family::EnvoyLines)
        }
        byte if byte.is_ascii_graphic() => Some(Family::Fastly),
        _ => None,
    }
}

/// Both messages begin with field 1; in an ALS identifier that leads to the text of a node id, in OTLP to a resource
/// or straight to scope logs.
fn delimited(head: &[u8]) -> Option<Family> {
    let mut rest = head;
    let message = varint(&mut rest)?;
    // Text that begins so would be control characters; a real message is longer than its own frame.
    let first = tagged(&mut rest, 0x0a)?;
    if first >= message {
        return None;
    }
    if *rest.first()? == 0x12 {
        return Some(Family::OtlpProtobufDelimited);
    }
    let second = tagged(&mut rest, 0x0a)?;
    if second == 0 {
        return (rest.first() == Some(&0x12)).then_some(Family::OtlpProtobufDelimited);
    }
    let third = usize::try_from(tagged(&mut rest, 0x0a)?).ok()?;
    let value = &rest[..third.min(rest.len())];
    let is_text = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    Some(if is_text { Family::AlsDelimited } else { Family::OtlpProtobufDelimited })
}

fn tagged(rest: &mut &[u8], tag: u8) -> Option<u64> {
    *rest = rest.strip_prefix(&[tag])?;
    varint(rest)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..5 {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_family() {
        for (head, family) in [
            (&br#"{"start_time":"x","response_flags":"-"}"#[..], Family::EnvoyLines),
            (b"[2026-02-10T05:05:36.123Z] \"GET / HTTP/1.1\" 200", Family::EnvoyLines),
            (b"2026-02-10T05:05:36.123456789Z stdout F [2026", Family::EnvoyLines),
            (br#"{"log":"[2026...","stream":"stdout"}"#, Family::EnvoyLines),
            (br#"{"resourceLogs":[{}]}"#, Family::OtlpJson),
            (br#"{"timestamp":"x","client_ip":"1.2.3.4"}"#, Family::Fastly),
            (br#"[{"timestamp":"x"}]"#, Family::Fastly),
            (b"<134>2026-02-10T05:05:36Z cache-fra1 name[1]: {}", Family::Fastly),
        ] {
            assert_eq!(super::family(head), Some(family), "{}", String::from_utf8_lossy(head));
        }
        assert_eq!(family(b""), None);
        assert_eq!(family(&[0, 1, 2, 3]), None);
    }
}
