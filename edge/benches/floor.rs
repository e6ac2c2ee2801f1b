//! The floor under the edge's cost: what a service that does one thing takes on the same platform. Not part of any product.
//!
//! `/empty` answers. `/pass` sends on to the backend `origin`. `/check/ALG` and `/sign/ALG` do one signature with the
//! library itself and answer: the least that a verifier or a minter could take. Keys come as headers, in the library's own
//! form, so that nothing but the signature is counted.

#[cfg(target_arch = "wasm32")]
mod floor {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use fastly::{Request, Response};
    use p256::ecdsa::signature::{Signer, Verifier};
    use rsa::{BoxedUint, Pkcs1v15Sign, RsaPublicKey};
    use sha2::{Digest, Sha256};

    pub(super) fn serve() {
        let request = Request::from_client();
        let path = request.get_path().to_owned();
        let done = match path.as_str() {
            "/empty" => true,
            "/pass" => {
                if let Ok(answer) = request.with_pass(true).send("origin") {
                    answer.send_to_client();
                }
                return;
            }
            path => signature(path, &request).unwrap_or(false),
        };
        Response::from_status(if done { 200 } else { 400 }).send_to_client();
    }

    /// One signature checked or made; `None` where something of it does not come.
    fn signature(path: &str, request: &Request) -> Option<bool> {
        let field = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(request.get_header_str(name)?).ok();
        let key = field("key")?;
        let (signed, signature) = request.get_header_str("token")?.rsplit_once('.')?;
        let message = signed.as_bytes();
        if let Some(alg) = path.strip_prefix("/sign/") {
            let made = match alg {
                "es256" => {
                    let made: p256::ecdsa::Signature =
                        p256::ecdsa::SigningKey::from_slice(&key).ok()?.sign(message);
                    made.to_bytes().to_vec()
                }
                _ => {
                    let key = ed25519_dalek::SigningKey::from_bytes(&key.try_into().ok()?);
                    Signer::sign(&key, message).to_bytes().to_vec()
                }
            };
            return Some(made.len() == 64);
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(match path {
            "/check/rs256" => {
                let (n, e) =
                    (BoxedUint::from_be_slice_vartime(&key), BoxedUint::from_be_slice_vartime(&[1, 0, 1]));
                let key = RsaPublicKey::new(n, e).ok()?;
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), &signature).is_ok()
            }
            "/check/es256" => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key).ok()?;
                key.verify(message, &p256::ecdsa::Signature::from_slice(&signature).ok()?).is_ok()
            }
            _ => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(&key.try_into().ok()?).ok()?;
                key.verify_strict(message, &ed25519_dalek::Signature::from_slice(&signature).ok()?).is_ok()
            }
        })
    }
}

#[cfg(target_arch = "wasm32")]
fn main() {
    floor::serve();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
