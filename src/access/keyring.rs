//! The tokens of one source or reader. Several hold at once, so that a rotation overlaps; in memory only their hashes.
//!
//! A plain SHA-256 is enough where tokens are random (`throughline token` makes 244 bits): there is nothing to guess
//! that a slow hash would protect, and a delivery must not cost a tenth of a second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::reread::{FromFile, Reread};

/// Shorter ones could be guessed.
const LEAST_TOKEN_BYTES: usize = 16;
/// Most tokens of one owner: a rotation needs two.
const MAX_TOKENS: usize = 32;

/// SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token as it is written.
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Of what a header presents, with or without the `Bearer` scheme before it.
    fn presented(value: &[u8]) -> Self {
        let token = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => value.trim_ascii(),
        };
        Self(Sha256::digest(token).into())
    }

    /// 64 hex digits.
    pub(crate) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// What logs and metrics call it: enough to tell tokens of one owner apart, nothing to find the token by.
    pub(crate) fn short(self) -> String {
        self.hex().chars().take(8).collect()
    }
}

/// Where the tokens of one owner are written.
#[derive(Debug, Default)]
pub(crate) struct WrittenTokens {
    pub(crate) plain: Vec<String>,
    pub(crate) hashes: Vec<String>,
    pub(crate) file: Option<PathBuf>,
}

/// The tokens of one owner.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// `source` or `reader`.
    kind: &'static str,
    /// Its name.
    name: String,
    fixed: Vec<TokenHash>,
    file: Option<FromFile<Vec<TokenHash>>>,
    /// Unix seconds at which a token was presented last.
    used: Mutex<BTreeMap<TokenHash, u64>>,
}

impl Keyring {
    /// The tokens as written; `None` where none are.
    pub(crate) fn new(
        kind: &'static str,
        name: &str,
        written: WrittenTokens,
    ) -> Result<Option<Self>, String> {
        let owner = format!("{kind} `{name}`");
        let mut fixed = Vec::new();
        for token in &written.plain {
            fixed.push(checked(token).map_err(|reason| format!("{owner}: {reason}"))?);
        }
        for hash in &written.hashes {
            fixed.push(TokenHash::from_hex(hash).ok_or_else(|| {
                format!("{owner}: `token_sha256` is not 64 hex digits: `throughline token` prints both")
            })?);
        }
        let file = written.file.map(|path| FromFile::open(path, lines)).transpose();
        let file = file.map_err(|reason| format!("{owner}: {reason}"))?;
        if fixed.is_empty() && file.is_none() {
            return Ok(None);
        }
        if fixed.len() > MAX_TOKENS {
            return Err(format!("{owner}: more than {MAX_TOKENS} tokens"));
        }
        Ok(Some(Self { kind, name: name.to_owned(), fixed, file, used: Mutex::default() }))
    }

    /// The token that a header value presents, if it is one of these. Every one is compared, each in constant time.
    pub(crate) fn admits(&self, value: &[u8], now_s: u64) -> Option<TokenHash> {
        let presented = TokenHash::presented(value);
        if !self.holds(presented) {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.insert(presented, now_s).is_none() {
            tracing::info!(owner = self.kind, name = self.name, token = presented.short(), "token in use");
        }
        Some(presented)
    }

    /// Whether a text is one of the tokens, wherever it stands.
    pub(crate) fn is_token(&self, text: &str) -> bool {
        self.holds(TokenHash::presented(text.as_bytes()))
    }

    /// Whose they are: `source` or `reader`, and its name.
    pub(crate) fn owner(&self) -> (&'static str, &str) {
        (self.kind, &self.name)
    }

    /// Whether this is (still) one of the tokens.
    pub(crate) fn holds(&self, hash: TokenHash) -> bool {
        let mut found = Choice::from(0);
        self.each(|own| found |= own.0.ct_eq(&hash.0));
        found.into()
    }

    fn each(&self, mut visit: impl FnMut(TokenHash)) {
        self.fixed.iter().copied().for_each(&mut visit);
        if let Some(file) = &self.file {
            file.current().iter().copied().for_each(&mut visit);
        }
    }

    /// Each token that holds, with the unix second of its last use; 0 for none since the start.
    pub(crate) fn uses(&self) -> Vec<(TokenHash, u64)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut uses = Vec::new();
        self.each(|hash| uses.push((hash, used.get(&hash).copied().unwrap_or(0))));
        // A token that came and went does not stay in memory.
        used.retain(|hash, _| uses.iter().any(|(own, _)| own == hash));
        uses
    }
}

impl Reread for Keyring {
    fn look(&self) {
        if let Some(file) = &self.file {
            file.look();
        }
    }
}

fn checked(token: &str) -> Result<TokenHash, String> {
    if token.len() < LEAST_TOKEN_BYTES {
        return Err(format!("a token is shorter than {LEAST_TOKEN_BYTES} characters: anyone could guess it"));
    }
    Ok(TokenHash::of(token))
}

/// One token a line, or `sha256:` and its hash; empty lines and those that begin with `#` are passed over.
fn lines(text: &str) -> Result<Vec<TokenHash>, String> {
    let written = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hashes: Vec<TokenHash> = written
        .map(|line| match line.strip_prefix("sha256:") {
            Some(hash) => TokenHash::from_hex(hash.trim())
                .ok_or_else(|| "what follows `sha256:` is not 64 hex digits".to_owned()),
            None => checked(line),
        })
        .collect::<Result<_, _>>()?;
    match hashes.len() {
        0 => Err("holds no token".to_owned()),
        1..=MAX_TOKENS => Ok(hashes),
        _ => Err(format!("holds more than {MAX_TOKENS} tokens")),
    }
}

/// A keyring for tests.
#[cfg(test)]
pub(crate) fn of(token: &str) -> std::sync::Arc<Keyring> {
    let written = WrittenTokens { plain: vec![token.to_owned()], ..WrittenTokens::default() };
    std::sync::Arc::new(Keyring::new("source", "test", written).unwrap().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "the-old-token-of-many-characters";
    const NEW: &str = "the-new-token-of-many-characters";

    #[test]
    fn old_and_new_hold_side_by_side_however_they_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, format!("# rotated in May\n\n{OLD}\nsha256:{}\n", TokenHash::of(NEW).hex()))
            .unwrap();
        let written = WrittenTokens {
            plain: vec!["plain-token-of-the-config".to_owned()],
            hashes: vec![TokenHash::of("hashed-token-of-the-config").hex()],
            file: Some(path.clone()),
        };
        let ring = Keyring::new("source", "x", written).unwrap().unwrap();
        for token in [OLD, NEW, "plain-token-of-the-config", "hashed-token-of-the-config"] {
            for value in [token.to_owned(), format!("Bearer {token}"), format!("bearer  {token} ")] {
                assert_eq!(ring.admits(value.as_bytes(), 7), Some(TokenHash::of(token)), "{value}");
            }
        }
        assert_eq!(ring.admits(b"another-token-of-many-characters", 7), None);
        assert_eq!(ring.admits(TokenHash::of(OLD).hex().as_bytes(), 7), None, "a hash opens nothing");

        std::fs::write(&path, NEW).unwrap();
        ring.look();
        assert_eq!(ring.admits(OLD.as_bytes(), 9), None, "what was taken out of the file no longer opens");
        assert!(ring.admits(NEW.as_bytes(), 9).is_some());
        let uses = ring.uses();
        assert!(uses.contains(&(TokenHash::of(NEW), 9)) && uses.len() == 3, "{uses:?}");
    }

    #[test]
    fn nothing_of_a_token_is_in_memory_or_shown() {
        let ring = of(OLD);
        let _ = ring.admits(OLD.as_bytes(), 1);
        assert!(!format!("{ring:?}").contains(OLD));
    }

    #[test]
    fn what_is_no_token_is_refused_with_a_reason() {
        let refusal = |written| Keyring::new("reader", "x", written).unwrap_err();
        let short = WrittenTokens { plain: vec!["short".to_owned()], ..Default::default() };
        assert!(refusal(short).contains("anyone could guess it"));
        let hash = WrittenTokens { hashes: vec!["abc".to_owned()], ..Default::default() };
        assert!(refusal(hash).contains("64 hex digits"));
        assert!(lines("\n# none\n").unwrap_err().contains("no token"));
        assert!(Keyring::new("reader", "x", WrittenTokens::default()).unwrap().is_none());
    }
}
