//! A certificate authority and certificates for one run: SPIFFE ids for what is in the mesh, names for what is asked by
//! name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::parts::{Pod, filter};

/// The authority, with the directory that it writes to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain, one certificate.
    pub certificate: PathBuf,
    /// PKCS #8.
    pub key: PathBuf,
    /// The authority's own certificate.
    pub authority: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.directory.display())
    }
}

/// The SPIFFE id of a pod: that of its service account, named as the service.
pub fn identity(pod: &Pod) -> String {
    let account = if pod.role == "router" {
        format!("{}-service-account", pod.service)
    } else {
        pod.service.to_owned()
    };
    format!("spiffe://cluster.local/ns/{}/sa/{account}", pod.namespace)
}

impl Authority {
    /// A new authority, its certificate in `directory`, which exists.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the chain's own authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("make the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).context("make the authority")?;
        let authority = Self { issuer, directory: directory.to_owned() };
        write(&authority.path(), &authority.pem())?;
        Ok(authority)
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its certificate.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn path(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    /// A certificate for both ends of TLS: `names` are DNS names or, with `spiffe://`, identities.
    ///
    /// # Errors
    ///
    /// A name is none, or the directory cannot be written to.
    pub fn certificate(&self, file: &str, names: &[String]) -> anyhow::Result<Certificate> {
        let mut params = CertificateParams::default();
        for name in names {
            let text = name.as_str().try_into().with_context(|| format!("{name:?} is no name"))?;
            let is_identity = name.starts_with("spiffe://");
            params.subject_alt_names.push(if is_identity {
                SanType::URI(text)
            } else {
                SanType::DnsName(text)
            });
        }
        params.distinguished_name.push(DnType::CommonName, file);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let signed = params.signed_by(&key, &self.issuer).with_context(|| format!("sign {file}"))?;
        let at = |ending: &str| self.directory.join(format!("{file}.{ending}"));
        let made = Certificate { certificate: at("pem"), key: at("key"), authority: self.path() };
        write(&made.certificate, &signed.pem())?;
        write(&made.key, &key.serialize_pem())?;
        Ok(made)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

impl Certificate {
    fn common(&self) -> Value {
        json!({
            "tls_certificates": [{ "certificate_chain": { "filename": self.certificate },
                "private_key": { "filename": self.key } }],
            "validation_context": { "trusted_ca": { "filename": self.authority } },
        })
    }

    /// A listener's TLS. Without `mutual` a client may come without a certificate; one that it brings must be good.
    pub fn server(&self, mutual: bool) -> Value {
        let context = json!({ "common_tls_context": self.common(), "require_client_certificate": mutual });
        socket_of("DownstreamTlsContext", context)
    }

    /// A cluster's TLS, to `server_name` whose certificate says that it is `identity`.
    pub fn client(&self, server_name: &str, identity: &str) -> Value {
        let mut common = self.common();
        common["validation_context"]["match_typed_subject_alt_names"] =
            json!([{ "san_type": "URI", "matcher": { "exact": identity } }]);
        socket_of("UpstreamTlsContext", json!({ "common_tls_context": common, "sni": server_name }))
    }
}

fn socket_of(kind: &str, mut context: Value) -> Value {
    context["@type"] = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}").into();
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

/// An RBAC filter that lets only callers with this identity in, under Istio's name for the policy.
pub(crate) fn only_from(policy: &str, identity: &str) -> Value {
    let principal = json!({ "authenticated": { "principal_name": { "exact": identity } } });
    filter(
        "envoy.filters.http.rbac",
        "http.rbac.v3.RBAC",
        json!({ "rules": { "action": "ALLOW", "policies": { policy: {
            "permissions": [{ "any": true }], "principals": [principal] } } } }),
    )
}
