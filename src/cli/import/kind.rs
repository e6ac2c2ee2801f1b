//! What a file holds, and by which road that goes to the service.

use anyhow::bail;
use clap::ValueEnum;
use decode::sniff::{self, Family};

use super::pieces::Cut;
use super::send::Route;

/// What the person says that the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(in crate::cli) enum Format {
    /// Told by the content, file by file
    #[default]
    Auto,
    /// Fastly log lines
    Fastly,
    /// Envoy or Istio access log lines: JSON, TEXT, or the configured format
    Envoy,
    /// Captured access log streams: length-delimited StreamAccessLogsMessage
    Als,
    /// OTLP logs: JSON documents, one protobuf message, or length-delimited ones
    Otlp,
}

/// What one file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    Fastly,
    Envoy,
    Als,
    OtlpJson,
    OtlpFrames,
    OtlpMessage,
}

/// What a file with this beginning holds.
pub(in crate::cli) fn of(format: Format, head: &[u8]) -> anyhow::Result<Kind> {
    Ok(match format {
        Format::Fastly => Kind::Fastly,
        Format::Envoy => Kind::Envoy,
        Format::Als => Kind::Als,
        Format::Otlp => match head.trim_ascii_start().first() {
            Some(b'{' | b'[') => Kind::OtlpJson,
            _ if is_one_message(head) => Kind::OtlpMessage,
            _ => Kind::OtlpFrames,
        },
        Format::Auto if is_one_message(head) && is_binary(head) => Kind::OtlpMessage,
        Format::Auto => match sniff::family(head) {
            Some(Family::Fastly) => Kind::Fastly,
            Some(Family::EnvoyLines) => Kind::Envoy,
            Some(Family::AlsDelimited) => Kind::Als,
            Some(Family::OtlpJson) => Kind::OtlpJson,
            Some(Family::OtlpProtobufDelimited) => Kind::OtlpFrames,
            None => bail!("nothing in it tells what it holds: say so with --format"),
        },
    })
}

/// Whether an ExportLogsServiceRequest begins here without a length before it: field 1, whose content begins with
/// field 1 (resource) or 2 (scope logs) again. Text that begins
/// with blank lines may look so, too, but for [`is_binary`].
fn is_one_message(head: &[u8]) -> bool {
    let Some((0x0a, rest)) = head.split_first().map(|(first, rest)| (*first, rest)) else { return false };
    let length_bytes = rest.iter().take(5).take_while(|&&byte| byte >= 0x80).count() + 1;
    matches!(rest.get(length_bytes), Some(0x0a | 0x12)) && rest.get(length_bytes + 1).is_some()
}

/// Whether control characters stand in the beginning that no text has.
fn is_binary(head: &[u8]) -> bool {
    head.iter().take(256).any(|byte| matches!(byte, 0..=8 | 0x0e..=0x1a))
}

impl Kind {
    /// Where a stream of this kind may be cut.
    pub(in crate::cli) fn cut(self, head: &[u8]) -> Cut {
        match self {
            Self::Fastly | Self::Envoy
                if head.trim_ascii_start().first() == Some(&b'[') && is_json_array(head) =>
            {
                Cut::Elements
            }
            Self::Fastly | Self::Envoy => Cut::Lines,
            Self::OtlpJson => Cut::Documents,
            Self::Als | Self::OtlpFrames => Cut::Frames,
            Self::OtlpMessage => Cut::Whole,
        }
    }

    /// The road over HTTP; `None` for what goes over gRPC.
    pub(super) fn route(self, source: Option<&str>) -> anyhow::Result<Option<Route>> {
        let lines = |family: &str, content_type| {
            let path = ["v1", family].into_iter().chain(source).map(str::to_owned).collect();
            Some(Route { path, content_type, is_zstd: true })
        };
        let logs = |content_type| {
            let path = vec!["v1".to_owned(), "logs".to_owned()];
            Some(Route { path, content_type, is_zstd: false })
        };
        if source.is_some() && !matches!(self, Self::Fastly | Self::Envoy) {
            bail!("--source names a source of Fastly or Envoy lines, and this file holds neither");
        }
        Ok(match self {
            Self::Fastly => lines("fastly", "application/x-ndjson"),
            Self::Envoy => lines("envoy", "text/plain"),
            Self::OtlpJson => logs("application/json"),
            Self::OtlpFrames | Self::OtlpMessage => logs("application/x-protobuf"),
            Self::Als => None,
        })
    }
}

/// A bracket may also begin a line of text: a time in brackets, as Istio's TEXT format has it.
fn is_json_array(head: &[u8]) -> bool {
    let after = head.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    matches!(after.first(), Some(b'{' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_brackets_is_no_array() {
        assert_eq!(Kind::Envoy.cut(b"[2026-11-21T12:00:00.000Z] \"GET / HTTP/1.1\" 200"), Cut::Lines);
        assert_eq!(Kind::Fastly.cut(b" [ {\"a\":1},\n{\"a\":2}]"), Cut::Elements);
        assert_eq!(Kind::Fastly.cut(b"{\"a\":1}\n"), Cut::Lines);
    }

    #[test]
    fn otlp_is_told_apart_by_how_it_begins() {
        let of = |head: &[u8]| of(Format::Otlp, head).unwrap();
        assert_eq!(of(b"{\"resourceLogs\":[]}"), Kind::OtlpJson);
        // The beginnings of the captures: one frame of a file, and a message alone.
        assert_eq!(of(b"\xa3\x6e\x0a\xa0\x6e\x0a\xdc\x01"), Kind::OtlpFrames);
        assert_eq!(of(b"\x0a\xda\x64\x0a\xdc\x01\x0a\x16"), Kind::OtlpMessage);
    }

    #[test]
    fn text_after_blank_lines_is_no_message() {
        let found = of(Format::Auto, b"\n{\n\"timestamp\":\"x\"}").unwrap();
        assert_eq!(found, Kind::Fastly);
    }

    #[test]
    fn every_capture_is_told_by_its_content() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/envoy");
        let mut told = 0;
        for (folder, suffix, expected) in [
            ("file", ".text.log", Kind::Envoy),
            ("file", ".json.log", Kind::Envoy),
            ("als", ".binpb", Kind::Als),
            ("otlp", ".binpb", Kind::OtlpFrames),
            ("otlp", ".bin", Kind::OtlpMessage),
        ] {
            for entry in std::fs::read_dir(data.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.to_str().is_some_and(|name| name.ends_with(suffix)) {
                    let head = std::fs::read(&path).unwrap();
                    assert_eq!(of(Format::Auto, &head).unwrap(), expected, "{}", path.display());
                    told += 1;
                }
            }
        }
        assert_eq!(told, 3 + 3 + 6 + 2 + 5);
    }

    #[test]
    fn roads() {
        let path = |kind: Kind, source| kind.route(source).unwrap().map(|route| route.path.join("/"));
        assert_eq!(path(Kind::Fastly, Some("shop")).as_deref(), Some("v1/fastly/shop"));
        assert_eq!(path(Kind::Envoy, None).as_deref(), Some("v1/envoy"));
        assert_eq!(path(Kind::OtlpFrames, None).as_deref(), Some("v1/logs"));
        assert_eq!(path(Kind::Als, None), None);
        assert!(Kind::Als.route(Some("shop")).is_err());
    }
}
