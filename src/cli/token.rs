//! `throughline token`: makes a token for a source or a reader.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::access::TokenHash;

/// No options: every token is as random as the last.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Prints a new token and its hash: one goes to whoever sends or asks, the other into the configuration.
pub(crate) fn run(_: &Arguments) -> anyhow::Result<ExitCode> {
    let token = random();
    let hash = TokenHash::of(&token).hex();
    let text = format!("token        {token}\ntoken_sha256 {hash}\n");
    std::io::stdout().write_all(text.as_bytes()).context("print the token")?;
    Ok(ExitCode::SUCCESS)
}

/// 244 random bits (of two version-4 UUIDs, from the system's generator). The prefix is for scanners of leaked secrets.
fn random() -> String {
    let bytes = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    format!("tl_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_differ_and_are_long() {
        let (a, b) = (super::random(), super::random());
        assert!(a != b && a.len() == 46 && a.starts_with("tl_"), "{a} {b}");
    }
}
