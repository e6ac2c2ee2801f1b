//! Where the keys of an issuer come from: this POP's cache, the provider, what was last good.
//!
//! A set is fresh for what the provider says within 5 minutes and an hour. When the provider is out it is used stale, for
//! as long as the issuer's block says (`max_stale_s`), by the newest copy of this POP and of all. One request of all that
//! come asks the provider; where a stale set is at hand the others go on with it, where none is they wait for what comes.
//! An unknown key id asks once, whatever number of requests come with it; made-up ids ask three times in a window.

use crate::config::Issuer;
use crate::encoding::{sha256, sha256_hex};
use crate::host::{FetchRequest, Host, MAX_FETCH_BYTES};

use super::entry::{Entry, FRESHEST_S};

/// Shortest freshness: providers that say `no-cache` mean browsers.
const FRESH_S: u32 = 300;
/// This POP's cache keeps a stale set for this long; beyond that there is the last known good one.
const STALE_S: u32 = 86_400;
/// After a failure the provider is left alone for this long.
const RETRY_S: u32 = 5;
/// An id that the provider did not know is not asked for again.
const UNKNOWN_S: u32 = 30;
/// So many ids may force a refresh in one window: one made-up id must not hold up a rotation.
const FORCED_IDS: u8 = 3;
/// The window.
const FORCED_S: u32 = 2;
/// The window while refreshes bring nothing new: somebody makes ids up.
const FRUITLESS_S: u32 = 8;
/// For how long a fruitless refresh widens the window.
const WIDE_S: u32 = 60;

/// First bytes of what is remembered of an id.
const FOUND: u8 = b'k';
const UNKNOWN: u8 = b'u';
const UNSETTLED: u8 = b'n';

/// The keys when an id is not among them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// Another set than before.
    Changed(Entry),
    /// The provider does not know the id.
    Unknown,
    /// The provider was asked just now for other ids, or cannot be asked: not known yet.
    NotYet,
}

fn key(kind: &str, issuer: &Issuer, more: &[u8]) -> String {
    format!("{kind}:{}", sha256_hex(&[issuer.iss.as_bytes(), more]))
}

/// The issuer's keys; `None` when there are none anywhere, and then nobody can be let in.
pub(crate) fn load(issuer: &Issuer, host: &mut impl Host) -> Option<Entry> {
    let now_ms = host.now_unix_ms();
    let own = host.cache_get(&key("jwks", issuer, b"")).as_deref().and_then(Entry::read);
    if own.as_ref().is_some_and(|own| own.is_fresh(now_ms)) {
        return own;
    }
    let usable = |entry: &Entry| entry.is_usable(now_ms, issuer.max_stale_s);
    let own = own.filter(usable);
    let asked = host.cache_once(&key("jwks-asked", issuer, b""), own.is_none(), &mut |host| {
        let entry = fetch(issuer, host).map(|entry| entry.write());
        let entry = entry.or_else(|| host.last_known_good_get(&key("jwks", issuer, b"")));
        (entry.unwrap_or_default(), RETRY_S)
    });
    let asked = asked.as_deref().and_then(Entry::read).filter(usable);
    // Another POP may have seen a rotation or a withdrawal that this one has not.
    own.into_iter().chain(asked).max_by_key(Entry::fetched_at_ms)
}

/// What the provider says when a token names a key that is not in the set at hand. A token without an id has an empty
/// one, and any other set than the one at hand is an answer to it.
pub(crate) fn refresh(issuer: &Issuer, kid: &str, at_hand: &Entry, host: &mut impl Host) -> Refreshed {
    let name = key("jwks-kid", issuer, kid.as_bytes());
    let outcome = host.cache_once(&name, true, &mut |host| {
        if !may_force(issuer, kid, host) {
            return (vec![UNSETTLED], 1);
        }
        let Some(entry) = fetch(issuer, host) else { return (vec![UNSETTLED], RETRY_S) };
        let is_new = entry.fingerprint() != at_hand.fingerprint();
        host.cache_put(&key("jwks-fruitless", issuer, b""), b"1", if is_new { 0 } else { WIDE_S });
        if entry.has(kid) || (kid.is_empty() && is_new) {
            ([&[FOUND][..], &entry.write()].concat(), RETRY_S)
        } else {
            (vec![UNKNOWN], UNKNOWN_S)
        }
    });
    match outcome.as_deref().and_then(<[u8]>::split_first) {
        Some((&FOUND, entry)) => Entry::read(entry).map_or(Refreshed::NotYet, Refreshed::Changed),
        Some((&UNKNOWN, _)) => Refreshed::Unknown,
        _ => Refreshed::NotYet,
    }
}

/// Whether an id is one of the few that may force a refresh now. Each place of the window is taken by exactly one id.
fn may_force(issuer: &Issuer, kid: &str, host: &mut impl Host) -> bool {
    let fruitless = host.cache_get(&key("jwks-fruitless", issuer, b"")).is_some();
    let window_s = if fruitless { FRUITLESS_S } else { FORCED_S };
    let mark = sha256(&[kid.as_bytes()]);
    (0..FORCED_IDS).any(|place| {
        let name = key("jwks-forced", issuer, &[place]);
        host.cache_once(&name, true, &mut |_| (mark.to_vec(), window_s)).is_some_and(|taken| taken == mark)
    })
}

/// Asks the provider, unless it gave no answer a moment ago, and keeps what comes.
fn fetch(issuer: &Issuer, host: &mut impl Host) -> Option<Entry> {
    let out = key("jwks-out", issuer, b"");
    if host.cache_get(&out).is_some() {
        return None;
    }
    let Some((entry, fresh_s)) = ask(issuer, host) else {
        host.cache_put(&out, b"1", RETRY_S);
        return None;
    };
    let name = key("jwks", issuer, b"");
    let bytes = entry.write();
    host.cache_put(&name, &bytes, fresh_s + STALE_S);
    let kept = host.last_known_good_get(&name).as_deref().and_then(Entry::read);
    if !kept.is_some_and(|kept| kept.is_as_good_as(&entry)) {
        host.last_known_good_put(&name, &bytes);
    }
    Some(entry)
}

/// The provider's answer. One without a usable key is an outage, not a rotation.
fn ask(issuer: &Issuer, host: &mut impl Host) -> Option<(Entry, u32)> {
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
    let fresh_s = response.max_age_s.unwrap_or(FRESH_S).clamp(FRESH_S, FRESHEST_S);
    let entry = Entry::new(response.body, host.now_unix_ms(), fresh_s)?;
    Some((entry, fresh_s))
}
