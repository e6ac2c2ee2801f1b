//! A batch as the body that its lane sends.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::lane::Lane;
use super::record::Entry;
use super::wire::Message;

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A request to a path, with content type and encoding.
    Http { path: &'static str, content_type: &'static str, encoding: Option<&'static str>, bytes: Bytes },
    /// One gRPC call.
    Unary(Bytes),
    /// The messages of a stream.
    Stream(Vec<Bytes>),
}

impl Body {
    /// The body of these records. The file has none: its lines are written by [`super::file`].
    pub(super) fn new(lane: Lane, entries: &[Entry]) -> io::Result<Self> {
        let lines = |line: fn(&Entry) -> String| entries.iter().map(line).collect::<String>().into_bytes();
        let http = |path, content_type, encoding, bytes: Vec<u8>| Self::Http {
            path,
            content_type,
            encoding,
            bytes: bytes.into(),
        };
        Ok(match lane {
            Lane::FastlyPlain => http("/v1/fastly", "text/plain", None, lines(Entry::vcl_line)),
            Lane::FastlyGzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&lines(Entry::vcl_line))?;
                http("/v1/fastly", "text/plain", Some("gzip"), encoder.finish()?)
            }
            Lane::FastlyZstd => {
                let packed = zstd::stream::encode_all(lines(Entry::vcl_line).as_slice(), 1)?;
                http("/v1/fastly", "text/plain", Some("zstd"), packed)
            }
            Lane::EnvoyLines | Lane::File => http("/v1/envoy", "text/plain", None, lines(Entry::json_line)),
            Lane::OtlpProtobuf => http("/v1/logs", "application/x-protobuf", None, otlp(entries)),
            Lane::OtlpJson => {
                let records: Vec<_> = entries.iter().map(Entry::otlp_json).collect();
                let logs = json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]});
                http("/v1/logs", "application/json", None, logs.to_string().into_bytes())
            }
            Lane::OtlpGrpc => Self::Unary(otlp(entries).into()),
            Lane::Als => Self::Stream(als(entries)),
        })
    }
}

/// An `ExportLogsServiceRequest`.
fn otlp(entries: &[Entry]) -> Vec<u8> {
    let scope = Message::default().message(1, &Message::default());
    let scope = entries.iter().fold(scope, |scope, entry| scope.message(2, &entry.otlp_record()));
    let resource = Message::default().message(1, &Message::default()).message(2, &scope);
    Message::default().message(1, &resource).into_bytes()
}

/// Messages of a stream; the first names the proxy.
fn als(entries: &[Entry]) -> Vec<Bytes> {
    const ENTRIES: usize = 8;
    let node = Message::default().text(1, "router~10.0.0.2~gw-1.verify~verify.svc.cluster.local");
    let identifier = Message::default().message(1, &node).text(2, "http_envoy_accesslog");
    let messages = entries.chunks(ENTRIES).enumerate().map(|(at, chunk)| {
        let logs = chunk.iter().fold(Message::default(), |logs, entry| logs.message(1, &entry.als_entry()));
        let message = Message::default();
        let message = if at == 0 { message.message(1, &identifier) } else { message };
        Bytes::from(message.message(2, &logs).into_bytes())
    });
    messages.collect()
}
