//! Secrets: made at random, kept in files that only their owner reads.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The user of the read-only port when a new file is written.
const PUBLIC_USER: &str = "reader";

/// A user and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Secret, given as password.
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read or written.
    #[error("cannot use the credentials file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error(
        "{path} must hold one line user:secret with neither part empty; correct it, or delete it to have a new one made"
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl Credentials {
    /// Reads `user:secret` from a file; writes a new one (mode 0600) where there is none.
    ///
    /// # Errors
    /// When the file cannot be read, written or understood.
    pub fn read_or_create(path: &Path) -> Result<Self, CredentialsError> {
        let file = |source| CredentialsError::File { path: path.to_owned(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let parts = text
                    .trim()
                    .split_once(':')
                    .filter(|(user, secret)| !user.is_empty() && !secret.is_empty());
                let form = || CredentialsError::Form { path: path.to_owned() };
                let (user, secret) = parts.filter(|_| text.trim().lines().count() == 1).ok_or_else(form)?;
                Ok(Self { user: user.to_owned(), secret: secret.to_owned() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self { user: PUBLIC_USER.to_owned(), secret: random_secret() };
                make(path, &format!("{}:{}\n", made.user, made.secret)).map_err(file)?;
                Ok(made)
            }
            Err(error) => Err(file(error)),
        }
    }
}

/// Makes a file that only its owner reads: whole or not at all, for a start that was killed in between must not keep
/// all later ones from reading it.
fn make(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all())?;
    std::fs::rename(&beside, path)
}

/// 244 random bits from the operating system, as 64 hex digits.
pub(crate) fn random_secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_start_left_beside_it_is_no_hindrance() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        std::fs::write(path.with_extension("new"), "rea").unwrap();
        let made = Credentials::read_or_create(&path).unwrap();
        assert_eq!(Credentials::read_or_create(&path).unwrap(), made);
    }

    #[test]
    fn a_file_is_made_once_and_read_afterwards() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        let made = Credentials::read_or_create(&path).unwrap();
        assert_eq!(Credentials::read_or_create(&path).unwrap(), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for wrong in ["", "user", ":x", "user:", "a:b\nc:d"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(Credentials::read_or_create(&path).is_err(), "{wrong:?}");
        }
    }
}
