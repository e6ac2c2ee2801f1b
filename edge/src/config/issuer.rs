//! Who may issue tokens, and what each kind of provider needs beside the standard.

use serde::Deserialize;

use crate::verify::Alg;

/// A kind of provider: where its keys are and which of its tokens are of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Any provider of OpenID Connect; `jwks.path` must be given.
    #[default]
    Oidc,
    /// Okta, custom authorization servers only: tokens of the org server are not ours to check.
    Okta,
    /// Auth0.
    Auth0,
    /// Microsoft Entra, v2.0 tokens of one tenant.
    Entra,
    /// Amazon Cognito: `client_id` and `token_use` instead of `aud` on access tokens.
    Cognito,
    /// AWS IAM outbound identity federation.
    AwsIam,
    /// Google: id tokens, for its access tokens are opaque.
    Google,
}

/// Which of a provider's tokens is taken as a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// An access token.
    Access,
    /// An id token.
    Id,
}

/// Where to fetch, by a static backend: nothing in a token ever names an address.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwksSource {
    /// Name of a static backend.
    pub backend: String,
    /// Host header; the issuer's host when not given.
    #[serde(default)]
    pub host: Option<String>,
    /// Path; the preset's when not given.
    #[serde(default)]
    pub path: Option<String>,
}

/// One issuer.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Short name, for routes and reading.
    pub name: String,
    /// The kind of provider.
    #[serde(default)]
    pub preset: Preset,
    /// Exactly as in the tokens.
    pub iss: String,
    /// Where its keys are.
    pub jwks: JwksSource,
    /// Accepted audiences.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Accepted clients: for Cognito instead of audiences, for others (`azp`, `client_id`, `cid`) beside them.
    #[serde(default)]
    pub client_ids: Vec<String>,
    /// Accepted algorithms; the preset's when not given.
    #[serde(default)]
    pub algorithms: Vec<Alg>,
    /// Accepted `typ` headers, which must then be there; otherwise `JWT`, `at+jwt` (access tokens) or none at all.
    #[serde(default)]
    pub types: Vec<String>,
    /// Which of its tokens is a credential; the preset's when not given.
    #[serde(default)]
    pub token: Option<TokenKind>,
    /// Longest life of a token, from `iat` to `exp`, in seconds.
    #[serde(default = "day")]
    pub max_lifetime_s: u64,
    /// Clock difference that is let pass, at most 60 seconds.
    #[serde(default = "minute")]
    pub skew_s: u64,
    /// How long keys are used that could not be fetched again, 3600 to 604800 seconds: a key that is withdrawn while the
    /// provider is out lets in for so long.
    #[serde(default = "three_days")]
    pub max_stale_s: u64,
}

fn day() -> u64 {
    86_400
}

fn minute() -> u64 {
    60
}

fn three_days() -> u64 {
    3 * 86_400
}

impl Issuer {
    /// Host and path of an `https` URL; a path is empty or begins with `/`.
    pub(crate) fn split_https(url: &str) -> Option<(&str, &str)> {
        let rest = url.strip_prefix("https://")?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        (!host.is_empty()
            && url.bytes().all(|byte| byte.is_ascii_graphic())
            && !host.contains(['@', '\\', '?', '#']))
        .then_some((host, path))
    }

    /// Host under which the keys are asked for.
    pub fn jwks_host(&self) -> &str {
        match (&self.jwks.host, self.preset) {
            (Some(host), _) => host,
            (None, Preset::Google) => "www.googleapis.com",
            (None, _) => Self::split_https(&self.iss).map_or("", |(host, _)| host),
        }
    }

    /// Path of the keys; `None` when neither the item nor the preset says it.
    pub fn jwks_path(&self) -> Option<String> {
        if let Some(path) = &self.jwks.path {
            return Some(path.clone());
        }
        let (_, path) = Self::split_https(&self.iss)?;
        let base = path.trim_end_matches('/');
        match self.preset {
            Preset::Oidc => None,
            Preset::Okta => Some(format!("{base}/v1/keys")),
            Preset::Entra => Some(format!("{}/discovery/v2.0/keys", base.strip_suffix("/v2.0")?)),
            Preset::Google => Some("/oauth2/v3/certs".into()),
            Preset::Auth0 | Preset::Cognito | Preset::AwsIam => Some(format!("{base}/.well-known/jwks.json")),
        }
    }

    /// Which of its tokens is a credential.
    pub fn token_kind(&self) -> TokenKind {
        self.token.unwrap_or(if self.preset == Preset::Google { TokenKind::Id } else { TokenKind::Access })
    }

    /// Accepted algorithms: never both halves of a confusion, for no symmetric one can be named at all.
    pub fn algorithms(&self) -> &[Alg] {
        match self.preset {
            _ if !self.algorithms.is_empty() => &self.algorithms,
            Preset::AwsIam => &[Alg::Es384, Alg::Rs256],
            _ => &[Alg::Rs256],
        }
    }
}
