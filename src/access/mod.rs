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

use std::sync::Arc;

use crate::api::Problem;

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

impl Caller {
    /// Who asks where no reader is configured: everything is allowed, as whoever is on the host can read the disk.
    pub(crate) fn open() -> Self {
        Self {
            name: "open".into(),
            tenant: crate::config::DEFAULT_TENANT.into(),
            roles: Roles::of([Role::Personal, Role::Admin]),
        }
    }

    /// The answer to a question about a personal field that the caller may not see.
    pub(crate) fn lacks_personal(&self, asked: &str) -> Problem {
        Problem::forbidden(&format!(
            "`{asked}` is personal, and reader `{}` may not see personal fields: ask without it, or with a token that \
             has the role `personal`",
            self.name
        ))
    }

    /// Whether personal fields are shown.
    pub(crate) fn sees_personal(&self) -> bool {
        self.roles.allow(Role::Personal)
    }
}
