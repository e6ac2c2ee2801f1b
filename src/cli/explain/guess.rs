//! What a file that cannot be read looks like, and what to pass; and which proxy a file is of, by its name.

use std::path::Path;

use event::Hop;

use crate::cli::import::kind::Kind;

/// Bytes of the head that are looked at.
const LOOKED_AT: usize = 64 << 10;

/// Keys of a JSON record that are named.
const KEYS_NAMED: usize = 8;

/// Characters of a line that are shown.
const LINE_SHOWN: usize = 100;

/// What a file is that surely holds none of the known logs, by its first bytes.
pub(super) fn foreign(head: &[u8]) -> Option<String> {
    const MAGICS: [(&[u8], &str); 8] = [
        (b"\xfd7zXZ\0", "an xz archive: unpack it first (gzip and zstd are unpacked here)"),
        (b"BZh", "a bzip2 archive: unpack it first (gzip and zstd are unpacked here)"),
        (b"PK\x03\x04", "a zip archive: unpack it first (gzip and zstd are unpacked here)"),
        (b"PAR1", "a Parquet file: export the log lines as text or JSON"),
        (b"\x7fELF", "a program, not a log"),
        (b"SQLite format 3", "a database, not a log"),
        (b"%PDF", "a PDF, not a log"),
        (b"\xd4\xc3\xb2\xa1", "a packet capture, not a log"),
    ];
    MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| (*what).to_owned())
}

/// What an unread file looks like, with the option that may help.
pub(super) fn looks_like(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(&head[..head.len().min(LOOKED_AT)]);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if head.iter().take(512).any(|byte| matches!(byte, 0..=8 | 0x0e..=0x1a)) {
        return "binary data: of binary files only captured Envoy access log streams and OTLP logs are read, \
                length-delimited; say which with --format als or --format otlp"
            .to_owned();
    }
    if text.contains("\"resourceSpans\"") {
        return "OTLP traces: only OTLP logs are read here".to_owned();
    }
    if line.starts_with("[pod/") {
        return "kubectl logs with --prefix: leave --prefix out, and write each pod's lines to a file of their own"
            .to_owned();
    }
    if let Some(keys) = keys(line) {
        return format!(
            "JSON lines with the keys {keys}, which no known format has: describe them in a preset and pass \
             --fastly-preset FILE (edge), or pass the proxy's format string with --envoy-format (mesh)"
        );
    }
    if line.starts_with('{') || line.starts_with('[') {
        return "JSON that does not stand one record a line: write each record on a line of its own"
            .to_owned();
    }
    if is_load_balancer(line) {
        return "AWS load balancer lines, which are not read here".to_owned();
    }
    format!(
        "text beginning with `{}`: if a proxy writes it by a format string of yours, pass that with --envoy-format",
        cut(line)
    )
}

/// The names of the members of a JSON object, without reading their values.
fn keys(line: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let mut keys: Vec<String> = object.keys().take(KEYS_NAMED).map(|key| cut(key)).collect();
    if object.len() > KEYS_NAMED {
        keys.push("…".to_owned());
    }
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// `http 2026-11-21T…`: type and time of an application load balancer.
fn is_load_balancer(line: &str) -> bool {
    let mut words = line.split(' ');
    matches!(words.next(), Some("http" | "https" | "h2" | "grpcs" | "ws" | "wss"))
        && words.next().is_some_and(|time| time.len() > 10 && time.as_bytes()[4] == b'-')
}

fn cut(line: &str) -> String {
    let mut shown: String = line.chars().take(LINE_SHOWN).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

/// The hop of a file of Envoy lines whose name says `gateway` or `ingress`. Lines of Istio's default formats do not
/// say who wrote them; a file in which a proxy takes calls for a workload beside it is no gateway's.
pub(super) fn hop_by_name(path: &Path, kind: Kind, head: &[u8]) -> Option<Hop> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let says = ["gateway", "ingress"].iter().any(|word| name.contains(word)) && !name.contains("egress");
    // Node ids say it themselves.
    let object = ["inbound|", "router~", "sidecar~"];
    let is_open = || object.iter().all(|text| memchr::memmem::find(head, text.as_bytes()).is_none());
    (kind == Kind::Envoy && says && is_open()).then_some(Hop::Gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_files_are_described_with_what_helps() {
        for (head, words) in [
            (&b"{\"a\":1,\"b\":{}}\n"[..], "the keys a, b"),
            (b"{\n  \"a\": 1\n}", "a record"),
            (b"[pod/x/istio-proxy] [2026", "--prefix"),
            (b"https 2026-11-21T10:00:00.1Z app/x", "load balancer"),
            (b"hello", "--envoy-format"),
            (b"\x01\x02\x03\x04", "--format als"),
            (b"{\"resourceSpans\":[]}", "OTLP traces"),
        ] {
            let said = looks_like(head);
            assert!(
                said.contains(words) || said.contains("one record a line") && words == "a record",
                "{said}"
            );
        }
        assert!(foreign(b"\xfd7zXZ\0rest").is_some_and(|said| said.contains("xz")));
        assert_eq!(foreign(b"{\"a\":1}"), None);
    }

    #[test]
    fn a_name_says_gateway_only_where_the_lines_do_not_object() {
        let of = |name: &str, kind, head: &[u8]| hop_by_name(Path::new(name), kind, head);
        assert_eq!(of("/logs/istio-ingressgateway.log", Kind::Envoy, b"[2026"), Some(Hop::Gateway));
        assert_eq!(of("/logs/gateway.log", Kind::Envoy, b"x inbound|8080|| y"), None);
        assert_eq!(of("/logs/egressgateway.log", Kind::Envoy, b"[2026"), None);
        assert_eq!(of("/gateway/orders.log", Kind::Envoy, b"[2026"), None);
        assert_eq!(of("gateway.log", Kind::Fastly, b"{}"), None);
    }
}
