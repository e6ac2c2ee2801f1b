//! A host in memory: a clock that tests set, a provider that tests rotate and switch off, caches that tests can look into.

mod drive;
mod shared;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

pub use drive::drive;
pub use shared::SharedHost;

use crate::host::{FetchError, FetchRequest, FetchResponse, Host};

/// A host for tests and fuzzing.
#[derive(Debug, Clone)]
pub struct TestHost {
    /// The clock.
    pub now_ms: u64,
    /// What a backend answers; a backend that is not here is out.
    pub backends: HashMap<String, FetchResponse>,
    /// Every request that was sent, with its backend.
    pub sent: Vec<(String, FetchRequest)>,
    /// Entries of the POP's cache with their end in milliseconds.
    pub cache: HashMap<String, (u64, Vec<u8>)>,
    /// Last known good values.
    pub last_good: HashMap<String, Vec<u8>>,
    /// Secrets.
    pub secrets: HashMap<String, Vec<u8>>,
    /// The client.
    pub ip: Option<IpAddr>,
    /// Shields that are elsewhere.
    pub shields: Vec<String>,
    /// A developer's machine.
    pub is_local: bool,
    /// State of the randomness, never 0; the same in every run.
    pub seed: u64,
}

impl Default for TestHost {
    fn default() -> Self {
        Self {
            now_ms: 1_795_000_000_000,
            backends: HashMap::new(),
            sent: Vec::new(),
            cache: HashMap::new(),
            last_good: HashMap::new(),
            secrets: HashMap::new(),
            ip: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7))),
            shields: Vec::new(),
            is_local: false,
            seed: 1,
        }
    }
}

impl Host for TestHost {
    fn now_unix_ms(&self) -> u64 {
        self.now_ms
    }

    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            // xorshift64: the same ids in every run.
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            *byte = self.seed.to_le_bytes()[3];
        }
    }

    fn fetch(&mut self, backend: &str, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        self.sent.push((backend.to_owned(), request.clone()));
        self.backends
            .get(backend)
            .cloned()
            .ok_or_else(|| FetchError { backend: backend.to_owned(), reason: "refused".into() })
    }

    fn cache_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.cache.get(key).filter(|(until, _)| self.now_ms < *until).map(|(_, value)| value.clone())
    }

    fn cache_put(&mut self, key: &str, value: &[u8], ttl_s: u32) {
        self.cache.insert(key.to_owned(), (self.now_ms + u64::from(ttl_s) * 1000, value.to_vec()));
    }

    fn last_known_good_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.last_good.get(key).cloned()
    }

    fn last_known_good_put(&mut self, key: &str, value: &[u8]) {
        self.last_good.insert(key.to_owned(), value.to_vec());
    }

    fn secret(&mut self, name: &str) -> Option<Vec<u8>> {
        self.secrets.get(name).cloned()
    }

    fn client_ip(&self) -> Option<IpAddr> {
        self.ip
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn is_elsewhere(&self, shield: &str) -> bool {
        self.shields.iter().any(|own| own == shield)
    }

    fn pop(&self) -> String {
        "FRA".into()
    }

    fn service_id(&self) -> String {
        "SERVICE".into()
    }

    fn service_version(&self) -> String {
        "1".into()
    }

    fn client_request_id(&self) -> String {
        "0123456789abcdef0123456789abcdef".into()
    }
}
