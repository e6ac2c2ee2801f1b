//! Where the keys of an issuer come from: this POP's cache, the provider, what was last good.
//!
//! A set is fresh for what the provider says within 5 minutes and an hour, and is used stale for a day when the provider
//! is out. An unknown key id asks the provider once; ids that it does not know either are remembered, and made-up
//! ids in any number ask it at most once in two seconds.

use crate::config::Issuer;
use crate::encoding::sha256_hex;
use crate::host::{FetchRequest, Host, MAX_FETCH_BYTES};

use super::keys::KeySet;

const FRESH_S: std::ops::RangeInclusive<u32> = 300..=3600;
/// A stale set is still offered for this long; beyond that there is the last known good one.
const STALE_S: u32 = 86_400;
/// After a failure the provider is left alone for this long.
const RETRY_S: u32 = 5;
/// An id that the provider did not know is not asked for again.
const UNKNOWN_S: u32 = 30;
/// Forced refreshes of one issuer are this far apart.
const FORCED_S: u32 = 2;

/// An issuer's keys as they are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The set.
    pub(crate) set: KeySet,
    /// Hash of the set's bytes: a verdict holds only under the set by which it was found.
    pub(crate) fingerprint: String,
}

/// The keys when an id is not among them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// Another set than before.
    Changed(Keys),
    /// The provider does not know the id.
    Unknown,
    /// The provider was asked just now for another id, or cannot be asked: not known yet.
    NotYet,
}

fn key(kind: &str, issuer: &Issuer, kid: &str) -> String {
    format!("{kind}:{}", sha256_hex(&[issuer.iss.as_bytes(), kid.as_bytes()]))
}

/// Time of fetching (8 bytes), freshness in seconds (4 bytes), then the set as it came.
struct Entry<'a> {
    fresh_until_ms: u64,
    body: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (until, body) = bytes.split_first_chunk::<8>()?;
        Some(Self { fresh_until_ms: u64::from_le_bytes(*until), body })
    }
}

fn keys_of(body: &[u8]) -> Option<Keys> {
    Some(Keys { set: KeySet::parse(body)?, fingerprint: sha256_hex(&[body]) })
}

/// The issuer's keys; `None` when there are none anywhere, and then nobody can be let in.
pub(crate) fn load(issuer: &Issuer, host: &mut impl Host) -> Option<Keys> {
    let cached = host.cache_get(&key("jwks", issuer, ""));
    let entry = cached.as_deref().and_then(Entry::read);
    if let Some(entry) = &entry
        && host.now_unix_ms() < entry.fresh_until_ms
        && let Some(keys) = keys_of(entry.body)
    {
        return Some(keys);
    }
    // While one request asks, and for a while after a failure, the others go on with what there is.
    let asked = key("jwks-asked", issuer, "");
    let stale = entry.and_then(|entry| keys_of(entry.body));
    if host.cache_get(&asked).is_none() {
        host.cache_put(&asked, b"1", RETRY_S);
        if let Some(keys) = fetch(issuer, host) {
            host.cache_put(&asked, b"", 0);
            return Some(keys);
        }
    }
    stale.or_else(|| host.last_known_good_get(&key("jwks", issuer, "")).as_deref().and_then(keys_of))
}

/// What the provider says when a token names a key that is not in the set.
pub(crate) fn refresh(issuer: &Issuer, kid: &str, old: &Keys, host: &mut impl Host) -> Refreshed {
    let (unknown, forced) = (key("nokid", issuer, kid), key("jwks-forced", issuer, ""));
    if host.cache_get(&unknown).is_some() {
        return Refreshed::Unknown;
    }
    if host.cache_get(&forced).is_some() {
        return Refreshed::NotYet;
    }
    host.cache_put(&forced, b"1", FORCED_S);
    let Some(keys) = fetch(issuer, host) else { return Refreshed::NotYet };
    if !keys.set.has(kid) {
        host.cache_put(&unknown, b"1", UNKNOWN_S);
        return Refreshed::Unknown;
    }
    if keys == *old { Refreshed::Unknown } else { Refreshed::Changed(keys) }
}

fn fetch(issuer: &Issuer, host: &mut impl Host) -> Option<Keys> {
    let request = FetchRequest {
        method: "GET",
        host: issuer.jwks_host().to_owned(),
        target: issuer.jwks_path()?,
        headers: vec![("accept".into(), "application/json".into())],
        body: Vec::new(),
    };
    let response = host.fetch(&issuer.jwks.backend, &request).ok()?;
    if response.status != 200 || response.body.len() > MAX_FETCH_BYTES {
        return None;
    }
    // An answer without one usable key is an outage, not a rotation.
    let keys = keys_of(&response.body)?;
    let fresh_s = response.max_age_s.unwrap_or(*FRESH_S.start()).clamp(*FRESH_S.start(), *FRESH_S.end());
    let until = host.now_unix_ms().saturating_add(u64::from(fresh_s) * 1000);
    let entry = [&until.to_le_bytes()[..], &response.body].concat();
    let name = key("jwks", issuer, "");
    host.cache_put(&name, &entry, fresh_s + STALE_S);
    if host.last_known_good_get(&name).as_deref() != Some(&response.body) {
        host.last_known_good_put(&name, &response.body);
    }
    Some(keys)
}
