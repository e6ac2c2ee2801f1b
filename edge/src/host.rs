//! What the decision needs from the machine that it runs on: clock, randomness, backends, caches, secrets.
//!
//! The core knows nothing else of the platform, so the same code runs at a POP, in Viceroy and in native tests.

use std::net::IpAddr;

/// A request that the edge itself sends, to a backend that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Host header and authority.
    pub host: String,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// Headers beside `Host` and framing.
    pub headers: Vec<(String, String)>,
    /// Empty for `GET`.
    pub body: Vec<u8>,
}

/// What a backend answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// Status code.
    pub status: u16,
    /// Seconds that the answer may be kept, from its `Cache-Control: max-age`; `None` when it says nothing.
    pub max_age_s: Option<u32>,
    /// The body, cut off by the host at [`MAX_FETCH_BYTES`] plus one byte, so that an oversize is seen.
    pub body: Vec<u8>,
}

/// Most bytes of an answer that are looked at: Entra's largest key sets with certificates stay under 64 KiB.
pub const MAX_FETCH_BYTES: usize = 256 * 1024;

/// A backend that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("backend {backend} gave no answer: {reason}")]
pub struct FetchError {
    /// The backend's name in the configuration.
    pub backend: String,
    /// The platform's words.
    pub reason: String,
}

/// Makes the value of an entry, and says for how many seconds it is kept.
pub type Make<'a, H> = dyn FnMut(&mut H) -> (Vec<u8>, u32) + 'a;

/// The machine under the decision. Failures of caches are silent: a lost entry costs time, never correctness.
pub trait Host {
    /// Milliseconds since 1970.
    fn now_unix_ms(&self) -> u64;

    /// Microseconds since 1970, for timings only.
    fn now_unix_us(&self) -> u64 {
        self.now_unix_ms().saturating_mul(1000)
    }

    /// Fills `out` from the platform's secure source.
    fn random(&mut self, out: &mut [u8]);

    /// Sends to a static backend, past every HTTP cache, and waits for the answer.
    fn fetch(&mut self, backend: &str, request: &FetchRequest) -> Result<FetchResponse, FetchError>;

    /// An entry of this POP's cache that is within its time. Keys are of `[a-z0-9:.-]` and at most 200 bytes.
    fn cache_get(&mut self, key: &str) -> Option<Vec<u8>>;

    /// Keeps an entry in this POP's cache for `ttl_s` seconds; 0 forgets it.
    fn cache_put(&mut self, key: &str, value: &[u8], ttl_s: u32);

    /// The entry of a key; where there is none, exactly one of all callers at this POP makes it (the value, and the
    /// seconds to keep it) and the others wait for what it made. With `waits` false they get `None` at once instead, and
    /// `None` comes too when the wait was too long. This default is for hosts that one caller at a time uses.
    fn cache_once(&mut self, key: &str, _waits: bool, make: &mut Make<'_, Self>) -> Option<Vec<u8>>
    where
        Self: Sized,
    {
        if let Some(value) = self.cache_get(key) {
            return Some(value);
        }
        let (value, ttl_s) = make(self);
        self.cache_put(key, &value, ttl_s);
        Some(value)
    }

    /// The last good value under a key, of any age, shared between POPs.
    fn last_known_good_get(&mut self, key: &str) -> Option<Vec<u8>>;

    /// Replaces the last good value under a key.
    fn last_known_good_put(&mut self, key: &str, value: &[u8]);

    /// A secret by its name in the secret store.
    fn secret(&mut self, name: &str) -> Option<Vec<u8>>;

    /// The address of the connected client, by the connection and by nothing that the client says.
    fn client_ip(&self) -> Option<IpAddr>;

    /// Whether this is no POP but a developer's machine, where there is no TLS.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether the shield of this code is another place than this one; `false` too when there is none of that code, and
    /// then requests go straight on.
    fn is_elsewhere(&self, _shield: &str) -> bool {
        false
    }

    /// Short name of the POP; empty when unknown.
    fn pop(&self) -> String;

    /// Id of the service; empty when unknown.
    fn service_id(&self) -> String;

    /// Version of the running service; empty when unknown.
    fn service_version(&self) -> String;

    /// The platform's own id of this request; empty when unknown.
    fn client_request_id(&self) -> String;
}
