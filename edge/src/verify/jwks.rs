//! Where the keys of an issuer come from: this POP's cache, the provider, what was last good.
//!
//! A set is fresh for what the provider says within 5 minutes and an hour, and is used stale for a day when the provider
//! is out. An unknown key id asks the provider once; ids that it does not know either are remembered, and made-up
//! ids in any number ask it at most once in two seconds. A POP's cache has no locks, so requests that come while an
//! answer is on its way may ask again, for the same id only and within a bound.

use crate::config::Issuer;
use crate::encoding::{sha256, sha256_hex};
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
/// Requests that may ask for one and the same id at the same moment.
const SAME_KID: u8 = 64;

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

/// The end of freshness in milliseconds since 1970 (8 bytes), then the set as it came.
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
    let stale = entry.and_then(|entry| keys_of(entry.body));
    let at_hand =
        stale.or_else(|| host.last_known_good_get(&key("jwks", issuer, "")).as_deref().and_then(keys_of));
    // While one request asks, and for a while after a failure, the others go on with what there is. Where there is
    // nothing, every one asks until one has failed: a POP that has just begun turns nobody away.
    let asked = key("jwks-asked", issuer, "");
    if host.cache_get(&asked).is_none() {
        if at_hand.is_some() {
            host.cache_put(&asked, b"1", RETRY_S);
        }
        match fetch(issuer, host) {
            Some(keys) => {
                host.cache_put(&asked, b"", 0);
                return Some(keys);
            }
            None => host.cache_put(&asked, b"1", RETRY_S),
        }
    }
    at_hand
}

/// What the provider says when a token names a key that is not in the set.
pub(crate) fn refresh(issuer: &Issuer, kid: &str, host: &mut impl Host) -> Refreshed {
    let (unknown, forced) = (key("nokid", issuer, kid), key("jwks-forced", issuer, ""));
    if host.cache_get(&unknown).is_some() {
        return Refreshed::Unknown;
    }
    // The first of many that come with a new key may not have its answer yet when the others come.
    let mark = sha256(&[kid.as_bytes()]);
    let asking = match host.cache_get(&forced).as_deref().and_then(<[u8]>::split_last) {
        None => 0,
        Some((asking, same)) if same == mark && *asking < SAME_KID => *asking,
        Some(_) => return Refreshed::NotYet,
    };
    host.cache_put(&forced, &[&mark[..], &[asking + 1]].concat(), FORCED_S);
    let Some(keys) = fetch(issuer, host) else { return Refreshed::NotYet };
    if keys.set.has(kid) {
        return Refreshed::Changed(keys);
    }
    host.cache_put(&unknown, b"1", UNKNOWN_S);
    Refreshed::Unknown
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
