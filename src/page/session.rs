//! Who is signed in: a random number in a cookie, and here whose it is. A browser sends no bearer token by itself, and a
//! token in a cookie would lie on its disk.
//!
//! A session is worth what its token is worth: at each request the token must still be one of its reader's, so that a
//! rotation ends the sessions of the tokens that it takes out. Sessions end with the process, too.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Uri, header};

use super::header_text;
use crate::access::{Caller, TokenHash};
use crate::api::Api;

/// The cookie's name.
const COOKIE: &str = "throughline_session";
/// A working day; then the token is asked for again.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Away for so long is gone.
const IDLE: Duration = Duration::from_secs(2 * 3600);
/// Most sessions of one reader: whoever signs in again and again pushes out its own only.
const MOST_EACH: usize = 64;
/// Random bytes of a session's number.
const NUMBER_BYTES: usize = 32;

/// Every session; a number stands here as its hash, so that nothing in memory opens one.
#[derive(Default)]
pub(super) struct Sessions(Mutex<BTreeMap<TokenHash, Session>>);

struct Session {
    reader: String,
    token: TokenHash,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) > LONGEST || now.duration_since(self.used) > IDLE
    }
}

impl Sessions {
    /// Begins a session; its number, for the cookie. `None` where the system gives no randomness.
    pub(super) fn begin(&self, reader: &str, token: TokenHash, now: Instant) -> Option<String> {
        let mut bytes = Vec::with_capacity(NUMBER_BYTES);
        for _ in 0..NUMBER_BYTES / 16 {
            // 122 random bits each, by the system's own source.
            bytes.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        let number: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| !session.is_over(now));
        while sessions.values().filter(|session| session.reader == reader).count() >= MOST_EACH {
            let own = sessions.iter().filter(|(_, session)| session.reader == reader);
            let oldest = *own.min_by_key(|(_, session)| session.used)?.0;
            sessions.remove(&oldest);
        }
        let session = Session { reader: reader.to_owned(), token, began: now, used: now };
        sessions.insert(TokenHash::of(&number), session);
        Some(number)
    }

    /// Whose session a request belongs to, if it still holds.
    pub(super) fn caller(&self, headers: &HeaderMap, api: &Api, now: Instant) -> Option<Caller> {
        let number = TokenHash::of(cookie(headers)?);
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&number)?;
        let holder = if session.is_over(now) { None } else { api.holder(&session.reader, session.token) };
        match holder {
            Some(_) => session.used = now,
            None => _ = sessions.remove(&number),
        }
        holder
    }

    /// Ends the session of a request.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(number) = cookie(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&TokenHash::of(number));
        }
    }
}

/// The session's number as the browser sent it.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut numbers = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, number)| number);
    // Not to be read by scripts, not to be sent from other sites, and of the length that we made.
    numbers.find(|number| number.len() == 2 * NUMBER_BYTES)
}

/// The header that sets the cookie; an empty number ends it.
pub(super) fn set_cookie(number: &str, for_tls: bool) -> String {
    let seconds = if number.is_empty() { 0 } else { LONGEST.as_secs() };
    let secure = if for_tls { "; Secure" } else { "" };
    format!("{COOKIE}={number}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// Whether a form that was sent is one of our own. `SameSite` keeps other sites out, but not other ports of this host.
pub(super) fn is_own_form(headers: &HeaderMap, uri: &Uri) -> bool {
    // What a browser says of it cannot be written by a script, and it knows the name even behind a proxy.
    if let Some(site) = header_text(headers, "sec-fetch-site") {
        return site == "same-origin";
    }
    let host = header_text(headers, "host").or_else(|| uri.authority().map(|it| it.as_str()));
    let origin = header_text(headers, "origin").and_then(|origin| origin.split_once("://"));
    matches!((host, origin), (Some(host), Some((_, origin))) if host.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_forms_count() {
        let uri = Uri::from_static("/login");
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site"), ("host", "a:1"), ("origin", "http://a:1")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("host", "a.example:8080"), ("origin", "https://A.example:8080")], true),
            (&[("host", "a.example:8080"), ("origin", "http://a.example:9090")], false),
            (&[("host", "a.example"), ("origin", "null")], false),
            (&[("host", "a.example")], false),
            (&[], false),
        ] {
            assert_eq!(is_own_form(&headers(pairs), &uri), expected, "{pairs:?}");
        }
        let h2 = Uri::from_static("https://a.example/login");
        assert!(is_own_form(&headers(&[("origin", "https://a.example")]), &h2), "HTTP/2 has no Host");
    }

    #[test]
    fn a_number_is_random_and_its_reader_pushes_out_its_own_only() {
        let (sessions, token, now) = (Sessions::default(), TokenHash::of("a-token"), Instant::now());
        let other = sessions.begin("other", token, now).unwrap();
        let first = sessions.begin("ann", token, now).unwrap();
        assert_eq!(first.len(), 64);
        for later in 1..200 {
            let number = sessions.begin("ann", token, now + Duration::from_secs(later)).unwrap();
            assert_ne!(number, first);
        }
        let kept = sessions.0.lock().unwrap();
        assert_eq!(kept.len(), MOST_EACH + 1);
        assert!(kept.contains_key(&TokenHash::of(&other)) && !kept.contains_key(&TokenHash::of(&first)));
    }

    #[test]
    fn sessions_end_by_themselves() {
        let (sessions, token, now) = (Sessions::default(), TokenHash::of("a-token"), Instant::now());
        let number = sessions.begin("ann", token, now).unwrap();
        let hash = TokenHash::of(&number);
        let over = |after: Duration| sessions.0.lock().unwrap()[&hash].is_over(now + after);
        assert!(!over(Duration::from_secs(7000)) && over(IDLE + Duration::from_secs(1)));
        sessions.0.lock().unwrap().get_mut(&hash).unwrap().used = now + LONGEST;
        assert!(over(LONGEST + Duration::from_secs(1)));
    }

    #[test]
    fn the_cookie_is_for_us_alone() {
        let set = set_cookie(&"a".repeat(64), true);
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(set.contains(part), "{set}");
        }
        let text = format!("x=1; {COOKIE}={}; y=2", "b".repeat(64));
        assert_eq!(cookie(&headers(&[("cookie", &text)])), Some("b".repeat(64).as_str()));
        assert_eq!(cookie(&headers(&[("cookie", "throughline_session=short")])), None);
    }
}
