//! A token tried as the edge would: its own configuration, its own verifier, and the keys that were just fetched.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use edge::verify::verify;
use edge::{Config, ConfigError, FetchError, FetchRequest, FetchResponse, Host};
use serde_json::{Value, json};

/// The smallest configuration around an issuer's block.
pub(super) fn config(block: &Value) -> Result<Config, ConfigError> {
    let item = json!({
        "version": 1,
        "policy_version": "setup",
        "issuers": [block],
        "routes": [{"name": "all", "action": {"deny": {"status": 403}}}],
    });
    Config::parse(&item.to_string())
}

/// What the edge would say of a token: who it is from, or why it is refused.
pub(super) fn verdict(block: &Value, keys: Vec<u8>, token: &str) -> Result<String, String> {
    if token.is_empty() {
        return Err("no token came on standard input".to_owned());
    }
    let config = config(block).map_err(|error| format!("the token was not tried: {error}"))?;
    match verify(&config, &mut Desk { keys }, &[], token) {
        Ok(identity) => {
            Ok(format!("the edge takes this token, of {}, until {}", identity.subject(), identity.exp))
        }
        Err(refusal) => Err(format!("the edge refuses this token: {}", refusal.reason())),
    }
}

/// The machine under one trial: the clock, and the keys as every backend's answer. Nothing is kept.
struct Desk {
    keys: Vec<u8>,
}

impl Host for Desk {
    fn now_unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// A verification needs no randomness.
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0);
    }

    fn fetch(&mut self, _: &str, _: &FetchRequest) -> Result<FetchResponse, FetchError> {
        Ok(FetchResponse { status: 200, max_age_s: None, body: self.keys.clone() })
    }

    fn cache_get(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn cache_put(&mut self, _: &str, _: &[u8], _: u32) {}

    fn last_known_good_get(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn last_known_good_put(&mut self, _: &str, _: &[u8]) {}

    fn secret(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn client_ip(&self) -> Option<IpAddr> {
        None
    }

    fn pop(&self) -> String {
        String::new()
    }

    fn service_id(&self) -> String {
        String::new()
    }

    fn service_version(&self) -> String {
        String::new()
    }

    fn client_request_id(&self) -> String {
        String::new()
    }
}
