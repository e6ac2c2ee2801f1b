//! Signing the claims of one request.

use crate::claims::{Claims, ClaimsError};
use crate::encoding::base64url;
use crate::key::SigningKey;
use crate::{MAX_TOKEN_BYTES, TYP};

/// Signs tokens with one key. The token's header is the same each time, so it is encoded once.
#[derive(Debug, Clone)]
pub struct Minter {
    key: SigningKey,
    header: String,
}

impl Minter {
    /// A minter that signs with this key.
    pub fn new(key: SigningKey) -> Self {
        // A kid has no character that JSON would escape.
        let json = format!(r#"{{"alg":"{}","kid":"{}","typ":"{TYP}"}}"#, key.alg().name(), key.kid());
        Self { header: base64url(json), key }
    }

    /// The key it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The token. The same claims give the same token.
    pub fn mint(&self, claims: &Claims) -> Result<String, ClaimsError> {
        claims.check()?;
        let mut token = format!("{}.{}", self.header, base64url(claims.to_json().to_string()));
        let signature = self.key.sign(token.as_bytes()).ok_or(ClaimsError::Unsigned)?;
        token.push('.');
        token.push_str(&base64url(signature));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(ClaimsError::TokenBytes(token.len()));
        }
        Ok(token)
    }
}
