//! Signatures: the algorithms that may be named, and the keys that can hold them.
//!
//! `jsonwebtoken` runs the check on a provider of our own: its RS256 on `rsa` 0.10 takes half the time of the one it
//! brings. Keys come from the configured key set alone and are bound to their kind; no symmetric algorithm exists here.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use rsa::signature::hazmat::PrehashVerifier;
use rsa::{BoxedUint, RsaPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha384, Sha512};
use signature::Verifier;

/// An algorithm that a configuration can accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Alg {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Alg {
    /// Reads the header's `alg`, in its exact case.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    fn jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A public key by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian.
    Rsa {
        /// 2048 to 4096 bits.
        n: Vec<u8>,
        /// Odd, 3 or more.
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Whether a key of this kind makes signatures of this algorithm.
    pub fn fits(&self, alg: Alg) -> bool {
        matches!(
            (self, alg),
            (Self::Rsa { .. }, Alg::Rs256 | Alg::Rs384 | Alg::Rs512 | Alg::Ps256)
                | (Self::P256(_), Alg::Es256)
                | (Self::P384(_), Alg::Es384)
                | (Self::Ed25519(_), Alg::EdDsa)
        )
    }

    /// Whether a point lies on its curve. Of an RSA key everything that can be told was told when it was read.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Rsa { .. } => true,
            Self::P256(point) => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok(),
            Self::P384(point) => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok(),
            Self::Ed25519(bytes) => bytes
                .as_slice()
                .try_into()
                .is_ok_and(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).is_ok()),
        }
    }

    /// Whether `signature` (base64url) is this key's under `alg` over `message`.
    pub fn verifies(&self, alg: Alg, message: &[u8], signature: &str) -> bool {
        if !self.fits(alg) {
            return false;
        }
        let key = match self {
            Self::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Self::P256(point) | Self::P384(point) => DecodingKey::from_ec_der(point),
            Self::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
        };
        // Taken once per process; a second try only says that it is there.
        let _ = PROVIDER.install_default();
        jsonwebtoken::crypto::verify(signature, message, &key, alg.jwt()).unwrap_or(false)
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

enum Key {
    Pkcs1(RsaPublicKey),
    Pss(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

struct Check {
    algorithm: Algorithm,
    key: Key,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    let bad = || JwtError::from(ErrorKind::InvalidKeyFormat);
    let key = match (key.family(), key.kind(), algorithm) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }, algorithm) => {
            let key =
                RsaPublicKey::new(BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e))
                    .map_err(|_| bad())?;
            match algorithm {
                Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Key::Pkcs1(key),
                Algorithm::PS256 => Key::Pss(key),
                _ => return Err(bad()),
            }
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point), Algorithm::ES256) => {
            Key::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| bad())?)
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point), Algorithm::ES384) => {
            Key::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| bad())?)
        }
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(bytes), Algorithm::EdDSA) => {
            let bytes = bytes.as_slice().try_into().map_err(|_| bad())?;
            Key::Ed25519(ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| bad())?)
        }
        _ => return Err(bad()),
    };
    Ok(Box::new(Check { algorithm: *algorithm, key }))
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        if self.holds(message, signature) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl Check {
    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.key, self.algorithm) {
            (Key::Pkcs1(key), Algorithm::RS256) => pkcs1::<Sha256>(key, message, signature),
            (Key::Pkcs1(key), Algorithm::RS384) => pkcs1::<Sha384>(key, message, signature),
            (Key::Pkcs1(key), Algorithm::RS512) => pkcs1::<Sha512>(key, message, signature),
            (Key::Pss(key), Algorithm::PS256) => {
                let scheme = rsa::Pss::<Sha256>::new_with_salt(32);
                key.verify(scheme, &Sha256::digest(message), signature).is_ok()
            }
            (Key::P256(key), Algorithm::ES256) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha256::digest(message), &signature).is_ok()),
            (Key::P384(key), Algorithm::ES384) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha384::digest(message), &signature).is_ok()),
            (Key::Ed25519(key), Algorithm::EdDSA) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            _ => false,
        }
    }
}

fn pkcs1<D: Digest + sha2::digest::const_oid::AssociatedOid>(
    key: &RsaPublicKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    key.verify(rsa::Pkcs1v15Sign::new::<D>(), &D::digest(message), signature).is_ok()
}
