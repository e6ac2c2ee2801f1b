//! The certificate of a port: its names, its time and who vouches for it, as a client would see them.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, Error as Distrust, KeyUsage};

use super::finding::Finding;

/// How long a connection and its handshake may take.
const WITHIN: Duration = Duration::from_secs(5);
/// A certificate that ends sooner is somebody's business now: renewal usually comes a month before the end.
const ENDS_SOON_S: u64 = 14 * 86_400;
/// Later than any certificate ends: to ask for the end itself.
const FAR_S: u64 = 32_503_680_000;

/// Who is trusted: Mozilla's authorities, and those of a file.
pub(super) struct Trust(Vec<TrustAnchor<'static>>);

impl Trust {
    pub(super) fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut anchors = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        if let Some(path) = ca_file {
            let read = || format!("read --ca-file {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(read)? {
                let certificate = certificate.with_context(read)?;
                anchors.push(webpki::anchor_from_trusted_cert(&certificate).with_context(read)?.to_owned());
            }
        }
        Ok(Self(anchors))
    }
}

/// What a port showed: its chain, the leaf first, or why there is none.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Host and port as it was asked.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) chain: Result<Vec<CertificateDer<'static>>, String>,
}

/// A client that takes any certificate: what it is worth is judged apart.
pub(in crate::cli) fn any_certificate(alpn: &[&[u8]]) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Connects and keeps what it is shown. Blocks for up to [`WITHIN`] a step.
pub(super) fn look(host: &str, port: u16) -> Shown {
    let chain = handshake(host, port).map_err(|error| format!("{error:#}"));
    Shown { host: host.to_owned(), port, chain }
}

fn handshake(host: &str, port: u16) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = (bare, port).to_socket_addrs().context("find the address")?.next();
    let mut socket = TcpStream::connect_timeout(&address.context("the name has no address")?, WITHIN)?;
    socket.set_read_timeout(Some(WITHIN))?;
    socket.set_write_timeout(Some(WITHIN))?;
    let name = ServerName::try_from(bare.to_owned()).context("the name")?;
    let config = any_certificate(&[b"h2", b"http/1.1"])?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    connection.send_close_notify();
    // The certificate is there; how the connection ends is of no interest.
    let _ = connection.complete_io(&mut socket);
    let _ = socket.flush();
    Ok(chain)
}

/// Judges what a port showed. `is_local`: nobody but this machine asks there.
pub(super) fn check(shown: &Shown, trust: &Trust, is_local: bool, now_s: u64) -> Vec<Finding> {
    let at = format!("{}:{}", shown.host, shown.port);
    let chain = match &shown.chain {
        Ok(chain) => chain,
        Err(error) => {
            let what = format!("{at} does not speak TLS as it should: {error}");
            let advice = "look whether `tls_cert` and `tls_key` are set for this port, and whether a proxy stands before it";
            return vec![Finding::problem("tls", what, advice)];
        }
    };
    let Some((leaf, rest)) = chain.split_first() else {
        return vec![Finding::problem("tls", format!("{at} shows no certificate"), "set `tls_cert`")];
    };
    let Ok(certificate) = EndEntityCert::try_from(leaf) else {
        let advice = "make it anew; a certificate without a subject alternative name is taken by no client";
        return vec![Finding::problem(
            "tls",
            format!("{at} shows a certificate that cannot be read"),
            advice,
        )];
    };
    let verify = |at_s: u64| {
        let provider = rustls::crypto::ring::default_provider();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
        let algorithms = provider.signature_verification_algorithms.all;
        let usage = KeyUsage::server_auth();
        certificate.verify_for_usage(algorithms, &trust.0, rest, time, usage, None, None).map(|_| ())
    };
    let mut findings = Vec::new();
    let ends_s = match verify(FAR_S) {
        Err(Distrust::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    };
    findings.extend(vouched(&at, verify(now_s), rest.is_empty(), is_local));
    findings.extend(ends_s.and_then(|ends_s| ending(&at, ends_s, now_s)));
    let bare = shown.host.trim_start_matches('[').trim_end_matches(']');
    let fits = ServerName::try_from(bare)
        .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok());
    if !fits {
        let names: Vec<&str> = certificate.valid_dns_names().collect();
        let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
        findings.push(Finding::problem(
            "tls",
            format!("the certificate at {at} is for {names}, not for {bare}"),
            "senders refuse it: get one whose subject alternative names hold the name that they use, or let them use its name",
        ));
    }
    if findings.is_empty() {
        let until = ends_s.map(|ends_s| format!(" until {}", day(ends_s))).unwrap_or_default();
        findings.push(Finding::ok("tls", format!("the certificate at {at} fits its name and holds{until}")));
    }
    findings
}

fn vouched(at: &str, verified: Result<(), Distrust>, is_alone: bool, is_local: bool) -> Option<Finding> {
    match verified {
        // Expiry is told by its own check.
        Ok(()) | Err(Distrust::CertExpired { .. }) => None,
        Err(Distrust::CertNotValidYet { not_before, .. }) => Some(Finding::problem(
            "tls",
            format!("the certificate at {at} holds only from {} on", day(not_before.as_secs())),
            "wait, or compare this machine's clock with `date -u`",
        )),
        Err(Distrust::UnknownIssuer) => {
            let what = format!("no authority that is trusted here vouches for the certificate at {at}");
            let advice = if is_alone {
                "it comes alone: put the intermediate certificates behind it in `tls_cert` (the \"full chain\"); for an \
                 authority of your own pass --ca-file, and give its certificate to the senders (Fastly: `tls_ca_cert`)"
            } else {
                "for an authority of your own pass --ca-file, and give its certificate to the senders (Fastly: `tls_ca_cert`)"
            };
            Some(if is_local {
                Finding::note("tls", what, advice)
            } else {
                Finding::problem("tls", what, advice)
            })
        }
        Err(error) => Some(Finding::problem(
            "tls",
            format!("the certificate at {at} is not accepted: {error}"),
            "make it anew for TLS servers, with the key of an authority that senders trust",
        )),
    }
}

fn ending(at: &str, ends_s: u64, now_s: u64) -> Option<Finding> {
    let advice = "renew it; the service reads changed files by itself";
    if ends_s < now_s {
        let what = format!("the certificate at {at} expired on {}: senders refuse it", day(ends_s));
        return Some(Finding::problem("tls", what, advice));
    }
    (ends_s - now_s < ENDS_SOON_S).then(|| {
        let days = (ends_s - now_s) / 86_400;
        Finding::problem(
            "tls",
            format!("the certificate at {at} expires in {days} days, on {}", day(ends_s)),
            advice,
        )
    })
}

/// `2026-11-22`.
fn day(at_s: u64) -> String {
    let at = i64::try_from(at_s).ok().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
    at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
