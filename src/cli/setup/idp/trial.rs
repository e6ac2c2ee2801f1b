//! A token tried as the edge would: its own configuration, its own verifier, and the keys that were just fetched.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use edge::verify::verify;
use edge::{Config, ConfigError, FetchError, FetchRequest, FetchResponse, Host};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is told of a token that is refused: enough to see why, and nothing of the person.
const TOLD: [&str; 8] = ["alg", "kid", "typ", "iss", "aud", "exp", "nbf", "iat"];
/// Longest value of these that is told.
const TOLD_MOST_CHARS: usize = 200;

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
pub(super) fn verdict(block: Option<&Value>, keys: Vec<u8>, token: &str) -> Result<String, String> {
    let token = token.trim();
    if token.is_empty() {
        return Err("no token came on standard input".to_owned());
    }
    let config = match block.map(config) {
        Some(Ok(config)) => config,
        _ => return Err(format!("the token was not tried, for want of a block{}", says(token))),
    };
    match verify(&config, &mut Desk { keys }, &[], token) {
        Ok(identity) => {
            let until = i64::try_from(identity.exp).unwrap_or(i64::MAX);
            Ok(format!("the edge takes this token, of {}, until {}", identity.subject(), time(until)))
        }
        Err(refusal) => Err(format!("the edge refuses this token: {}{}", refusal.reason(), says(token))),
    }
}

/// What a token says of itself, unchecked; nothing where it says nothing.
fn says(token: &str) -> String {
    let part = |part: &str| -> Option<Map<String, Value>> {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let mut parts = token.split('.');
    let (header, claims) = (parts.next().and_then(part), parts.next().and_then(part));
    let told: Vec<_> = TOLD
        .into_iter()
        .filter_map(|name| {
            let value = header.iter().chain(&claims).find_map(|object| object.get(name))?;
            let is_time = ["exp", "nbf", "iat"].contains(&name);
            let shown = match value.as_i64().filter(|_| is_time) {
                Some(seconds) => time(seconds),
                None => value.to_string().chars().take(TOLD_MOST_CHARS).collect(),
            };
            Some(format!("{name} {shown}"))
        })
        .collect();
    if told.is_empty() { String::new() } else { format!("; it says {}", told.join(", ")) }
}

fn time(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).map_or_else(|_| unix_s.to_string(), |time| time.to_string())
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
