//! One OTLP request to the receiver, over gRPC or HTTP, and what its answer means.
//!
//! Both protocols go through one HTTP client: the body is encoded and packed once, whatever the number of tries. A gRPC
//! library would pack anew at each try, and at a level that costs more than all else. gRPC here is one unary call:
//! a message with five bytes before it, and a status in the trailers.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Version, header};
use http_body_util::BodyExt as _;

use super::answer::{Answer, of_grpc, of_http};
use crate::config::{ExportSettings, Protocol};

/// Where the trace service stands in gRPC.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Where it stands in HTTP, unless the endpoint says otherwise.
const HTTP_PATH: &str = "/v1/traces";
/// Most of an answer that is read. A receiver answers with a few bytes.
const ANSWER_BYTES: usize = 64 << 10;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Fast, because spans repeat each other so much that the best level saves little more.
const LEVEL: u32 = 1;

/// The way to one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: reqwest::Client,
    url: String,
    protocol: Protocol,
    headers: HeaderMap,
    gzip: bool,
}

impl Transport {
    /// Reads the CA file; connects to nobody yet.
    pub(crate) fn open(settings: &ExportSettings) -> anyhow::Result<Self> {
        let mut client = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
        let is_grpc = settings.protocol == Protocol::Grpc;
        if settings.endpoint.scheme_str() == Some("https") {
            client = client.tls_backend_preconfigured(tls(settings, is_grpc)?);
        } else if is_grpc {
            client = client.http2_prior_knowledge();
        }
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        let content = if is_grpc { "application/grpc" } else { "application/x-protobuf" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
        if is_grpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if settings.gzip {
            let name = if is_grpc {
                header::HeaderName::from_static("grpc-encoding")
            } else {
                header::CONTENT_ENCODING
            };
            headers.insert(name, HeaderValue::from_static("gzip"));
        }
        Ok(Self {
            client: client.build().context("make the client of export.endpoint")?,
            url: url(settings),
            protocol: settings.protocol,
            headers,
            gzip: settings.gzip,
        })
    }

    /// Host and path of every request: what its own access log line would carry.
    pub(crate) fn host_and_path(&self) -> Option<(String, String)> {
        let uri: http::Uri = self.url.parse().ok()?;
        Some((uri.authority()?.to_string(), uri.path().to_owned()))
    }

    /// An encoded `ExportTraceServiceRequest` as the body of a request.
    pub(crate) fn pack(&self, message: Vec<u8>) -> std::io::Result<Bytes> {
        // Five bytes before a gRPC message: whether it is packed, and its length.
        let mut body =
            if self.protocol == Protocol::Grpc { vec![u8::from(self.gzip), 0, 0, 0, 0] } else { Vec::new() };
        let before = body.len();
        if self.gzip {
            body.reserve(message.len() / 4);
            let mut encoder = GzEncoder::new(body, Compression::new(LEVEL));
            encoder.write_all(&message)?;
            body = encoder.finish()?;
        } else if before == 0 {
            body = message;
        } else {
            body.extend_from_slice(&message);
        }
        let length = (body.len() - before) as u32;
        if let Some(place) = body.get_mut(1..before) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(body.into())
    }

    /// Sends a packed body once.
    pub(crate) async fn send(&self, body: Bytes) -> Answer {
        let mut request = self.client.post(&self.url).headers(self.headers.clone()).body(body);
        if self.protocol == Protocol::Grpc {
            request = request.version(Version::HTTP_2);
        }
        let response = match request.send().await {
            Ok(response) => http::Response::from(response),
            Err(error) => return Answer::unreachable(&error),
        };
        let (head, body) = response.into_parts();
        let body = match http_body_util::Limited::new(body, ANSWER_BYTES).collect().await {
            Ok(body) => body,
            Err(error) => return Answer::unreachable(error.as_ref()),
        };
        match self.protocol {
            Protocol::Grpc => {
                let trailers = body.trailers().cloned();
                of_grpc(head.status, &head.headers, trailers.as_ref(), &body.to_bytes())
            }
            Protocol::HttpProtobuf => of_http(head.status, &head.headers, &body.to_bytes()),
        }
    }
}

fn url(settings: &ExportSettings) -> String {
    let endpoint = settings.endpoint.to_string();
    let base = endpoint.trim_end_matches('/');
    match settings.protocol {
        Protocol::Grpc => format!("{base}{GRPC_PATH}"),
        Protocol::HttpProtobuf if settings.endpoint.path().trim_matches('/').is_empty() => {
            format!("{base}{HTTP_PATH}")
        }
        Protocol::HttpProtobuf => endpoint,
    }
}

fn tls(settings: &ExportSettings, is_grpc: bool) -> anyhow::Result<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let read = || format!("read export.ca_file {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
            anyhow::ensure!(!roots.is_empty(), "export.ca_file {} holds no PEM certificate", path.display());
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions for export.endpoint")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocols: &[&[u8]] = if is_grpc { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
