//! The machine under the decision: clock, randomness, static backends, POP cache, KV store, secret store.

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge::{FetchError, FetchRequest, FetchResponse, Forward, Host, IncomingRequest, MAX_FETCH_BYTES, Make};
use fastly::cache::core::{self, CacheError, CacheKey, Found, Transaction};
use fastly::handle::{CacheOverride, RequestHandle};
use fastly::http::Method;
use fastly::http::header::CACHE_CONTROL;
use fastly::http::request::SendErrorCause;
use fastly::shielding::Shield;
use fastly::{Body, KVStore, Request, Response, SecretStore};

use super::{answer, uri};

/// Signing keys, session keys, client secrets.
const SECRET_STORE: &str = "edge_secrets";
/// Key sets that were good, for when a provider is not.
const KV_STORE: &str = "edge_keys";

/// How long a request waits for another that fetches keys; then it is answered 503.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);
/// How long a lookup may take that waits for nobody.
const WAIT_FOR_LOOKUP: Duration = Duration::from_millis(5);

/// What is known of the platform for one request.
pub(crate) struct Machine {
    client_ip: Option<IpAddr>,
    client_request_id: String,
    /// Opened at the first secret.
    secrets: Option<SecretStore>,
}

impl Machine {
    /// Reads what belongs to the client's connection.
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            client_ip: request.get_client_ip_addr(),
            client_request_id: request.get_client_request_id().unwrap_or_default().to_owned(),
            secrets: None,
        }
    }
}

/// Microseconds since 1970; 0 on a clock before that, which expires every token.
pub(crate) fn now_unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Host for Machine {
    fn now_unix_ms(&self) -> u64 {
        now_unix_us() / 1000
    }

    fn now_unix_us(&self) -> u64 {
        now_unix_us()
    }

    #[allow(
        clippy::panic,
        reason = "the panic hook answers and logs; nothing else ends a decision from in here"
    )]
    fn random(&mut self, out: &mut [u8]) {
        // The platform's random source has no failure to report; going on without it would make ids and nonces guessable.
        if getrandom::fill(out).is_err() {
            panic!("no randomness");
        }
    }

    fn fetch(&mut self, backend: &str, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let failed = |reason: String| FetchError { backend: backend.to_owned(), reason };
        let headers: Vec<_> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let url = format!("https://{}{}", request.host, request.target);
        let mut built = build(request.method, &url, &request.host, &headers)
            .ok_or_else(|| failed(format!("{url} cannot be requested")))?;
        built.set_cache_override(&CacheOverride::pass());
        let body = Body::from(request.body.as_slice()).into_handle();
        let (head, body) = built.send(body, backend).map_err(|cause| failed(cause.to_string()))?;
        let mut response = Response::from_handles(head, body);
        let max_age_s = response.get_header_str(CACHE_CONTROL).and_then(max_age_s);
        let status = response.get_status().as_u16();
        let mut body = Vec::new();
        let limit = u64::try_from(MAX_FETCH_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        response.take_body().take(limit).read_to_end(&mut body).map_err(|error| failed(error.to_string()))?;
        Ok(FetchResponse { status, max_age_s, body })
    }

    fn cache_get(&mut self, key: &str) -> Option<Vec<u8>> {
        read_entry(&core::lookup(cache_key(key)).execute().ok()??)
    }

    fn cache_put(&mut self, key: &str, value: &[u8], ttl_s: u32) {
        let inserted = core::insert(cache_key(key), Duration::from_secs(u64::from(ttl_s)))
            .sensitive_data(true)
            .known_length(u64::try_from(value.len()).unwrap_or(u64::MAX))
            .execute();
        if let Ok(mut stream) = inserted {
            stream.append(Body::from(value));
            let _ = stream.finish();
        }
    }

    fn cache_once(&mut self, key: &str, waits: bool, make: &mut Make<'_, Self>) -> Option<Vec<u8>> {
        let wait = if waits { WAIT_FOR_OTHERS } else { WAIT_FOR_LOOKUP };
        let begun = Transaction::lookup(cache_key(key)).execute_async();
        let transaction = match begun.and_then(|pending| pending.wait_for(wait)) {
            Ok(transaction) => transaction,
            Err(CacheError::Timeout) => return None,
            // Without a cache every request makes its own.
            Err(_) => return Some(make(self).0),
        };
        if let Some(value) = transaction.found().as_ref().and_then(read_entry) {
            return Some(value);
        }
        let (value, ttl_s) = make(self);
        if transaction.must_insert_or_update() {
            let inserted = transaction
                .insert(Duration::from_secs(u64::from(ttl_s)))
                .sensitive_data(true)
                .known_length(u64::try_from(value.len()).unwrap_or(u64::MAX))
                .execute();
            if let Ok(mut stream) = inserted {
                stream.append(Body::from(value.as_slice()));
                let _ = stream.finish();
            }
        }
        Some(value)
    }

    fn last_known_good_get(&mut self, key: &str) -> Option<Vec<u8>> {
        let store = KVStore::open(KV_STORE).ok()??;
        Some(store.lookup(key).ok()?.take_body_bytes())
    }

    fn last_known_good_put(&mut self, key: &str, value: &[u8]) {
        if let Ok(Some(store)) = KVStore::open(KV_STORE) {
            let _ = store.insert(key, value);
        }
    }

    fn secret(&mut self, name: &str) -> Option<Vec<u8>> {
        if self.secrets.is_none() {
            self.secrets = SecretStore::open(SECRET_STORE).ok();
        }
        let secret = self.secrets.as_ref()?.try_get(name).ok()??;
        Some(secret.try_plaintext().ok()?.to_vec())
    }

    fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// What Viceroy says of itself; a POP has a name of its own.
    fn is_local(&self) -> bool {
        environment("FASTLY_HOSTNAME") == "localhost"
    }

    fn is_elsewhere(&self, shield: &str) -> bool {
        Shield::new(shield).is_ok_and(|shield| !shield.running_on())
    }

    fn pop(&self) -> String {
        environment("FASTLY_POP")
    }

    fn service_id(&self) -> String {
        environment("FASTLY_SERVICE_ID")
    }

    fn service_version(&self) -> String {
        environment("FASTLY_SERVICE_VERSION")
    }

    fn client_request_id(&self) -> String {
        self.client_request_id.clone()
    }
}

/// The SDK's own accessors panic where the platform left a variable out.
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// An entry's value while it is within its time.
fn read_entry(found: &Found) -> Option<Vec<u8>> {
    if !found.is_usable() || found.is_stale() {
        return None;
    }
    let mut value = Vec::new();
    found.to_stream().ok()?.read_to_end(&mut value).ok()?;
    Some(value)
}

fn cache_key(key: &str) -> CacheKey {
    CacheKey::copy_from_slice(key.as_bytes())
}

/// `max-age` of a Cache-Control value; `no-store` and `no-cache` count as 0.
fn max_age_s(value: &str) -> Option<u32> {
    let mut found = None;
    for directive in value.split(',').map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(0);
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = seconds.trim_matches('"').parse().ok();
        }
    }
    found
}

/// A backend that gave no answer, as the client is told.
pub(crate) struct SendFailure {
    pub(crate) status: u16,
    pub(crate) title: &'static str,
}

/// Sends a decided request with the client's body and waits for the head of the answer.
pub(crate) fn send_on(
    forward: &Forward,
    incoming: &IncomingRequest,
    body: Body,
) -> Result<Response, SendFailure> {
    let headers: Vec<_> =
        forward.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let url = format!("{}://{}{}", incoming.scheme, forward.host, forward.target);
    let mut request = build(&forward.method, &url, &forward.host, &headers)
        .ok_or(SendFailure { status: 400, title: "malformed request" })?;
    if forward.pass {
        request.set_cache_override(&CacheOverride::pass());
    }
    let shield = forward.shield.as_ref().map(|code| Shield::new(code)?.encrypted_backend()).transpose();
    let shield = shield.map_err(|_| SendFailure { status: 502, title: "shield unreachable" })?;
    let backend = shield.as_ref().map_or(forward.backend.as_str(), fastly::Backend::name);
    let sent = request.send(body.into_handle(), backend).map_err(|cause| match cause {
        SendErrorCause::ConnectionTimeout
        | SendErrorCause::HttpResponseTimeout
        | SendErrorCause::DnsTimeout => SendFailure { status: 504, title: "origin timed out" },
        _ => SendFailure { status: 502, title: "origin unreachable" },
    });
    sent.map(|(head, body)| Response::from_handles(head, body))
}

/// A request with exactly these headers. Framing is the platform's, which discards what a client said of it.
///
/// A handle and no `Request`: that one asks for the client's address when it is sent, which the platform knows of no request
/// but the client's own, and panics.
fn build(method: &str, url: &str, host: &str, headers: &[(&str, &[u8])]) -> Option<RequestHandle> {
    let mut handle = RequestHandle::new();
    handle.set_method(&Method::from_bytes(method.as_bytes()).ok()?);
    if !uri::set(&mut handle, url) {
        return None;
    }
    let host = ("host", host.as_bytes());
    let others = headers.iter().copied().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
    for (name, value) in others.chain([host]) {
        let (name, value) = answer::header(name, value)?;
        handle.append_header(&name, &value);
    }
    Some(handle)
}
