//! A browser's session after the login: who may use it, from where, and how it ends.

use crate::common::*;
use edge::testing::TestHost;
use edge::{Config, FetchResponse, IncomingRequest, decide};
use serde_json::{Value, json};

fn page(target: &str) -> IncomingRequest {
    with(request("GET", target), "accept", "text/html")
}

fn cookie_of(decided: &edge::Decided) -> String {
    let set = response_header(answered(decided), "set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').unwrap();
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

/// The provider's answer to a code.
fn grant(host: &mut TestHost, nonce: &str) {
    let now = host.now_ms / 1000;
    let claims =
        json!({"iss": ISS, "aud": "web", "sub": "user-1", "iat": now, "exp": now + 300, "nonce": nonce});
    let body = json!({"id_token": token("ES256", "ec", &claims)}).to_string().into();
    host.backends.insert("idp-token".into(), FetchResponse { status: 200, max_age_s: None, body });
}

fn callback(config: &Config, host: &mut TestHost, location: &str, cookie: &str) -> edge::Decided {
    grant(host, parameter(location, "nonce"));
    let target = format!("/callback?code=c&state={}", parameter(location, "state"));
    decide(config, host, &with(page(&target), "cookie", cookie))
}

/// A session's cookie.
fn log_in(config: &Config, host: &mut TestHost) -> String {
    let begun = decide(config, host, &page("/app"));
    let location = response_header(answered(&begun), "location").unwrap().to_owned();
    cookie_of(&callback(config, host, &location, &cookie_of(&begun)))
}

/// The reason of the decision on a page under a session.
fn use_of(config: &Config, host: &mut TestHost, cookie: &str) -> String {
    decide(config, host, &with(page("/app"), "cookie", cookie)).log.verdict.reason
}

#[test]
fn a_new_secret_ends_no_session_and_no_login_while_the_old_one_is_named() {
    let (old, mut host) = (config(), host());
    let session = log_in(&old, &mut host);
    let begun = decide(&old, &mut host, &page("/app"));
    let location = response_header(answered(&begun), "location").unwrap().to_owned();

    host.secrets.insert("session-2".into(), b"another secret of 32 bytes, or more".to_vec());
    let rotating = changed(|item| {
        item["login"]["session_secret"] = json!("session-2");
        item["login"]["session_secret_previous"] = json!("session");
    })
    .unwrap();
    assert!(rotating.secrets().contains("session") && rotating.secrets().contains("session-2"));
    assert_eq!(use_of(&rotating, &mut host, &session), "verified");
    let back = callback(&rotating, &mut host, &location, &cookie_of(&begun));
    assert_eq!(back.log.verdict.reason, "logged_in");
    // What begins now is signed under the new one alone.
    let newer = log_in(&rotating, &mut host);
    let after = changed(|item| item["login"]["session_secret"] = json!("session-2")).unwrap();
    assert_eq!(use_of(&after, &mut host, &newer), "verified");
    assert_eq!(use_of(&old, &mut host, &newer), "login_needed");
    assert_eq!(use_of(&after, &mut host, &session), "login_needed");
    // The old one alone signs nothing, and a weak one counts as none.
    let mut without = host.clone();
    without.secrets.remove("session-2");
    assert_eq!(use_of(&rotating, &mut without, &session), "no_session_secret");
    host.secrets.insert("session".into(), b"short".to_vec());
    assert_eq!(use_of(&rotating, &mut host, &session), "login_needed");
    assert_eq!(use_of(&rotating, &mut host, &newer), "verified");
}

#[test]
fn a_session_ends_with_the_key_that_signed_its_id_token() {
    let (config, mut host) = (config(), host());
    let session = log_in(&config, &mut host);
    assert_eq!(use_of(&config, &mut host, &session), "verified");
    // Rotated, and still published: nothing changes. A POP that does not know the key yet asks for it.
    let (old, new) = (jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new"));
    let mut other = TestHost { cache: Default::default(), ..host.clone() };
    other.backends.insert("idp".into(), jwks(std::slice::from_ref(&new)));
    assert_eq!(ask(&mut other, &new_key("new", 2, &host)), 200);
    other.backends.insert("idp".into(), jwks(&[old, new.clone()]));
    assert_eq!(use_of(&config, &mut other, &session), "verified");
    // Withdrawn: known when the set is read again.
    host.backends.insert("idp".into(), jwks(&[new]));
    host.now_ms += 700_000;
    assert_eq!(use_of(&config, &mut host, &session), "login_needed");
}

#[test]
fn a_session_is_good_for_one_client_only() {
    let (config, mut host) = (config(), host());
    let session = log_in(&config, &mut host);
    // Another service with the same secret and provider.
    let other = changed(|item| item["login"]["client_id"] = json!("web-2")).unwrap();
    assert_eq!(use_of(&other, &mut host, &session), "login_needed");
}

#[test]
fn what_changes_something_comes_from_the_page_itself() {
    let (config, mut host) = (config(), host());
    let session = log_in(&config, &mut host);
    let mut ask = |method: &str, headers: &[(&str, &str)]| {
        let base = with(request(method, "/app/order"), "cookie", &session);
        let request = headers.iter().fold(base, |all, (name, value)| with(all, name, value));
        status(&decide(&config, &mut host, &request))
    };
    let own = "https://www.example.com";
    let passing: [&[(&str, &str)]; 6] = [
        &[],
        &[("origin", own)],
        &[("Origin", "https://WWW.example.com:443")],
        &[("sec-fetch-site", "same-origin"), ("origin", own)],
        &[("Sec-Fetch-Site", "none")],
        &[("sec-fetch-site", "same-origin")],
    ];
    let refused: [&[(&str, &str)]; 8] = [
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example.com")],
        &[("sec-fetch-site", "same-site"), ("origin", own)],
        &[("origin", "null")],
        &[("origin", "http://www.example.com")],
        &[("origin", own), ("origin", "https://evil.example.com")],
        &[("origin", "https://www.example.com.evil.example")],
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        none("refused", passing.iter().filter(|headers| ask(method, headers) != 200));
        none("let in", refused.iter().filter(|headers| ask(method, headers) != 403));
    }
    // A link from elsewhere leads to a page, and a script with a token of its own is not asked.
    assert_eq!(ask("GET", &[("sec-fetch-site", "cross-site")]), 200);
    let bearer = bearer("/x", &token("ES256", "ec", &claims(&crate::common::host())));
    let script = IncomingRequest { method: "POST".into(), ..with(bearer, "origin", "https://evil.example") };
    assert_eq!(status(&decide(&config, &mut crate::common::host(), &script)), 200);
}

#[test]
fn a_cookie_holds_only_what_the_configuration_uses() {
    let (config, mut host) = (config(), host());
    let session = log_in(&config, &mut host);
    let (_, value) = session.split_once('=').unwrap();
    let content: Value = serde_json::from_slice(&unb64(value.split('.').next().unwrap())).unwrap();
    assert_eq!(content["claims"].as_object().unwrap().keys().collect::<Vec<_>>(), ["sub"]);
}
