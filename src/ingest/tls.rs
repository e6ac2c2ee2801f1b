//! TLS of a port: certificate and key, the CA of client certificates where one is asked for, all read again when they
//! change, and the names in a client's certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;

/// How often certificate files are looked at; a rotation is days ahead of its deadline.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);
/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What the files say.
pub(super) fn open(files: &Tls) -> anyhow::Result<RustlsConfig> {
    Ok(RustlsConfig::from_config(Arc::new(server_config(files)?)))
}

fn server_config(files: &Tls) -> anyhow::Result<ServerConfig> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot use the key {}", files.key.display()))?;
    let builder = ServerConfig::builder();
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| format!("no CA is in {}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(
                verifier.with_context(|| format!("cannot use the client CA {}", path.display()))?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, key).with_context(|| {
        format!("cannot use certificate {} with key {}", files.cert.display(), files.key.display())
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>, rustls::pki_types::pem::Error> {
        CertificateDer::pem_file_iter(path)?.collect()
    };
    let found = read().with_context(|| format!("cannot use the certificates in {}", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{} holds no certificate in PEM form", path.display());
    Ok(found)
}

/// Polls rather than watches: secrets mounted by Kubernetes change by symlink, which watchers miss.
pub(super) async fn reload(config: RustlsConfig, files: Tls) {
    let paths: Vec<PathBuf> =
        [&files.cert, &files.key].into_iter().chain(&files.client_ca).cloned().collect();
    let modified = || -> Vec<Option<SystemTime>> { paths.iter().map(|path| modified(path)).collect() };
    let mut seen = modified();
    let mut tick = tokio::time::interval(CERTIFICATES_EVERY);
    loop {
        tick.tick().await;
        let now = modified();
        if now == seen {
            continue;
        }
        let (again, cert) = (files.clone(), files.cert.display());
        match tokio::task::spawn_blocking(move || server_config(&again)).await {
            Ok(Ok(new)) => {
                // A new configuration has a new cache of sessions: none outlives the CA that its client was held to.
                config.reload_from_config(Arc::new(new));
                seen = now;
                tracing::info!(%cert, "certificate read again");
            }
            // Half a rotation, most likely; the old certificate goes on serving and the next tick tries again.
            Ok(Err(error)) => {
                tracing::warn!(%cert, error = format!("{error:#}"), "cannot read the changed certificate");
            }
            Err(error) => tracing::warn!(%cert, %error, "cannot read the changed certificate"),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The names in a client's certificate: DNS names and URIs of its alternative names, and its common name, by which
/// Fastly's own are known. The handshake has verified it.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Arc<[String]> {
    let Ok(read) = webpki::EndEntityCert::try_from(certificate) else { return Arc::default() };
    let alternative = read.valid_dns_names().chain(read.valid_uri_names()).map(str::to_owned);
    alternative.chain(common_name(read.subject())).collect()
}

/// The common name of a subject: a sequence of sets of (type, text).
fn common_name(mut subject: &[u8]) -> Option<String> {
    while let Some((_, mut set)) = element(&mut subject) {
        while let Some((_, mut pair)) = element(&mut set) {
            let (_, kind) = element(&mut pair)?;
            let (_, text) = element(&mut pair)?;
            if kind == COMMON_NAME {
                return std::str::from_utf8(text).ok().map(str::to_owned);
            }
        }
    }
    None
}

/// The next element of DER: its tag and its content. Names are short: lengths of more than two bytes are none.
fn element<'d>(rest: &mut &'d [u8]) -> Option<(u8, &'d [u8])> {
    let (&tag, after) = rest.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(first), after),
        0x81 => after.split_first().map(|(&length, after)| (usize::from(length), after))?,
        0x82 => after
            .split_first_chunk()
            .map(|(length, after)| (usize::from(u16::from_be_bytes(*length)), after))?,
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_certificate_is_read() {
        let mut asked =
            rcgen::CertificateParams::new(vec!["logs.example.com".to_owned(), "127.0.0.1".to_owned()])
                .unwrap();
        asked.distinguished_name.push(rcgen::DnType::OrganizationName, "An Example");
        asked.distinguished_name.push(rcgen::DnType::CommonName, "fastly-logs");
        let key = rcgen::KeyPair::generate().unwrap();
        let made = asked.self_signed(&key).unwrap();
        assert_eq!(names(made.der()).to_vec(), ["logs.example.com", "fastly-logs"]);
    }

    #[test]
    fn damaged_names_end_nowhere_but_at_none() {
        let good = [0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x03, b'a', b'b', b'c'];
        assert_eq!(common_name(&good).as_deref(), Some("abc"));
        for length in 0..good.len() {
            assert_eq!(common_name(&good[..length]), None, "{length}");
        }
        for at in 0..good.len() {
            for byte in [0, 0x7f, 0x80, 0x81, 0x82, 0xff] {
                let mut bad = good;
                bad[at] = byte;
                let _ = common_name(&bad);
            }
        }
    }
}
