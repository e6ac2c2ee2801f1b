//! WHO may do what: tokens, addresses and rates of senders, tokens and roles of readers. What a request may do is
//! decided by [`crate::ingest::auth`] and [`crate::api`] with what is here.

mod addresses;
mod audit;
pub(crate) mod keyring;
mod rate;
mod reread;
mod role;

pub(crate) use addresses::{AddressList, origin};
pub(crate) use audit::{Audit, Lookup};
pub(crate) use keyring::{Keyring, TokenHash, WrittenTokens};
pub(crate) use rate::Bucket;
pub(crate) use reread::{Reread, keep_current};
pub(crate) use role::{Role, Roles};

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::HOST;

use crate::api::Problem;
use crate::config::Reader;

/// A reader whose token was presented, or whoever asks an open service on loopback.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Name of the configured reader; `open` where none is configured.
    pub(crate) name: Arc<str>,
    /// Whose records it sees.
    pub(crate) tenant: Arc<str>,
    /// What it may do.
    pub(crate) roles: Roles,
}

/// Whether a request on loopback names a local host. A page in the operator's browser can have its own name resolve to
/// 127.0.0.1 and then read what an open service answers; the name that it asked for gives it away.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().unwrap_or("?");
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

impl From<&Reader> for Caller {
    fn from(reader: &Reader) -> Self {
        Self { name: reader.name.as_str().into(), tenant: reader.tenant.as_str().into(), roles: reader.roles }
    }
}

impl Caller {
    /// Who asks where no reader is configured. On loopback everything is allowed; on another address that `insecure`
    /// leaves open nobody may erase.
    pub(crate) fn open(is_loopback: bool) -> Self {
        let roles = if is_loopback { Roles::of([Role::Personal, Role::Admin]) } else { Roles::DEFAULT };
        Self { name: "open".into(), tenant: crate::config::DEFAULT_TENANT.into(), roles }
    }

    /// The answer to a question about a personal field that the caller may not see.
    pub(crate) fn lacks_personal(&self, asked: &str) -> Problem {
        Problem::forbidden(&format!(
            "`{asked}` is personal, and reader `{}` may not see personal fields: ask without it, or with a token that \
             has the role `personal`",
            self.name
        ))
    }

    /// An error that names the role, if the caller has it not.
    pub(crate) fn may(&self, role: Role) -> Result<(), Problem> {
        if self.roles.allow(role) {
            return Ok(());
        }
        let (name, needed, has) =
            (&self.name, role.name(), self.roles.names().collect::<Vec<_>>().join(", "));
        Err(Problem::forbidden(&format!(
            "reader `{name}` has the roles {has}; this needs `{needed}`: ask whoever keeps the configuration"
        )))
    }

    /// Whether personal fields are shown.
    pub(crate) fn sees_personal(&self) -> bool {
        self.roles.allow(Role::Personal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_resolves_its_name_to_loopback_is_not_local() {
        let local = |host: &str| is_local(&HeaderMap::from_iter([(HOST, host.parse().unwrap())]));
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "[::1]:8080", "192.0.2.1"] {
            assert!(local(host), "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[evil]:1"]
        {
            assert!(!local(host), "{host}");
        }
        assert!(
            is_local(&HeaderMap::new()),
            "HTTP/2 has no such header, and browsers speak it over TLS only"
        );
    }
}
