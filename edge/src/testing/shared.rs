//! One POP's cache under many requests at once.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::TestHost;
use crate::host::{FetchError, FetchRequest, FetchResponse, Host, Make};

/// A [`TestHost`] for many threads; each clone is one request's view of it.
#[derive(Debug, Clone, Default)]
pub struct SharedHost {
    pop: Arc<Pop>,
    /// How long a backend takes to answer.
    pub answer_takes: Duration,
}

#[derive(Debug, Default)]
struct Pop {
    host: Mutex<TestHost>,
    /// Keys whose entry somebody makes.
    made: Mutex<HashSet<String>>,
    is_made: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedHost {
    /// Of a host with what its cache holds.
    pub fn new(host: TestHost, answer_takes: Duration) -> Self {
        Self { pop: Arc::new(Pop { host: Mutex::new(host), ..Pop::default() }), answer_takes }
    }

    /// Acts on the host under its lock.
    pub fn with<T>(&self, act: impl FnOnce(&mut TestHost) -> T) -> T {
        act(&mut lock(&self.pop.host))
    }
}

impl Host for SharedHost {
    fn now_unix_ms(&self) -> u64 {
        self.with(|host| host.now_ms)
    }

    fn random(&mut self, out: &mut [u8]) {
        self.with(|host| host.random(out));
    }

    fn fetch(&mut self, backend: &str, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let answer = self.with(|host| host.fetch(backend, request));
        std::thread::sleep(self.answer_takes);
        answer
    }

    fn cache_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.with(|host| host.cache_get(key))
    }

    fn cache_put(&mut self, key: &str, value: &[u8], ttl_s: u32) {
        self.with(|host| host.cache_put(key, value, ttl_s));
    }

    fn cache_once(&mut self, key: &str, waits: bool, make: &mut Make<'_, Self>) -> Option<Vec<u8>> {
        let pop = Arc::clone(&self.pop);
        let mut made = lock(&pop.made);
        loop {
            if let Some(value) = self.cache_get(key) {
                return Some(value);
            }
            if made.insert(key.to_owned()) {
                break;
            }
            if !waits {
                return None;
            }
            made = pop.is_made.wait(made).unwrap_or_else(PoisonError::into_inner);
        }
        drop(made);
        let (value, ttl_s) = make(self);
        self.cache_put(key, &value, ttl_s);
        lock(&pop.made).remove(key);
        pop.is_made.notify_all();
        Some(value)
    }

    fn last_known_good_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.with(|host| host.last_known_good_get(key))
    }

    fn last_known_good_put(&mut self, key: &str, value: &[u8]) {
        self.with(|host| host.last_known_good_put(key, value));
    }

    fn secret(&mut self, name: &str) -> Option<Vec<u8>> {
        self.with(|host| host.secret(name))
    }

    fn client_ip(&self) -> Option<IpAddr> {
        self.with(|host| host.client_ip())
    }

    fn pop(&self) -> String {
        self.with(|host| host.pop())
    }

    fn service_id(&self) -> String {
        self.with(|host| host.service_id())
    }

    fn service_version(&self) -> String {
        self.with(|host| host.service_version())
    }

    fn client_request_id(&self) -> String {
        self.with(|host| host.client_request_id())
    }
}
