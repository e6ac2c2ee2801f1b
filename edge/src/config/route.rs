//! Coarse rules: what matches where, who may, and what then.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Stands in the log as route and as the verdict's rule.
    pub name: String,
    /// What it matches; everything when empty.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Whether a credential is needed.
    #[serde(default)]
    pub auth: Auth,
    /// Names of the issuers that may let in here; all when empty.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Whether a browser without a session is sent to log in.
    #[serde(default)]
    pub login: bool,
    /// What the credential must say.
    #[serde(default)]
    pub require: Require,
    /// What is done.
    pub action: Action,
}

/// What a route matches, on the normalised path. All that is given must hold. Paths are compared with their case: before
/// an origin that serves `/Internal` for `/internal` a rule must name both.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Exact host names in lower case, or `*.example.com` for every name below.
    pub hosts: Vec<String>,
    /// The path itself and everything below it.
    pub path_prefix: Option<String>,
    /// The path, exactly.
    pub path: Option<String>,
    /// Methods, exactly. `HEAD` is another one than `GET`.
    pub methods: Vec<String>,
}

/// Whether a credential is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// A valid credential is needed.
    #[default]
    Required,
    /// None is needed, but a token that comes must be valid. A session that is broken or over is as none: a browser keeps
    /// sending it.
    Optional,
    /// None is looked at, and none goes on to the origin.
    Public,
}

/// What a credential must say.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    /// Claim to accepted values: the claim is one of them, or an array that holds one.
    pub claims: BTreeMap<String, Vec<String>>,
    /// All of these, in `scope` (blanks between) or `scp` (likewise, or an array).
    pub scopes: Vec<String>,
}

impl Require {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.scopes.is_empty()
    }
}

/// What is done.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// Send on.
    Forward(Forwarding),
    /// Send the client elsewhere.
    Redirect {
        /// A path, or an `https` URL whose host is in `redirect_hosts`. The request adds nothing to it.
        to: String,
        /// 301, 302, 303, 307 or 308.
        #[serde(default = "found")]
        status: u16,
    },
    /// Refuse.
    Deny {
        /// 400 to 499.
        #[serde(default = "forbidden")]
        status: u16,
    },
    /// Answer 503.
    Maintenance {
        /// `Retry-After`.
        #[serde(default = "five_minutes")]
        retry_after_s: u32,
    },
}

fn found() -> u16 {
    302
}

fn forbidden() -> u16 {
    403
}

fn five_minutes() -> u32 {
    300
}

/// Where a request is sent on to.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Forwarding {
    /// Name of a static backend.
    pub backend: String,
    /// Another backend by the value of a claim.
    #[serde(default)]
    pub by_claim: Option<ByClaim>,
    /// Changes the path.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// Another POP of this service to go through (Fastly's shield code, such as `frankfurt-de`), so that origins and caches
    /// see one place; needs an `edge_token`. What was decided here is not asked again there.
    #[serde(default)]
    pub shield: Option<String>,
    /// Host header for the origin; the client's, normalised and without port, when not given.
    #[serde(default)]
    pub host: Option<String>,
}

/// A backend by the value of a claim; what is not listed goes to the route's own backend.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ByClaim {
    /// Name of the claim, which must be text.
    pub claim: String,
    /// Value to backend.
    pub backends: BTreeMap<String, String>,
}

/// Changes the path: first the one, then the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// Taken off the front, at a segment's boundary.
    pub strip_prefix: Option<String>,
    /// Put before.
    pub add_prefix: Option<String>,
}
