//! A browser's journey: to the provider and back, and everything that could go astray on the way.

use crate::common::*;
use edge::testing::TestHost;
use edge::{Config, FetchResponse, IncomingRequest, decide};
use serde_json::{Value, json};

fn page(target: &str) -> IncomingRequest {
    with(request("GET", target), "accept", "text/html,application/xhtml+xml")
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap();
    value.replace("%2F", "/").replace("%3A", ":").replace("%20", " ")
}

fn set_cookies(decided: &edge::Decided) -> Vec<String> {
    let all = answered(decided).headers.iter().filter(|(name, _)| name == "set-cookie");
    all.map(|(_, value)| value.clone()).collect()
}

fn pair(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap().to_owned()
}

struct Journey {
    config: Config,
    host: TestHost,
    state: String,
    nonce: String,
    cookie: String,
    id: String,
    traceparent: String,
}

fn begin(target: &str) -> Journey {
    begin_in(host(), target)
}

fn begin_in(mut host: TestHost, target: &str) -> Journey {
    let config = config();
    let decided = decide(&config, &mut host, &page(target));
    let respond = answered(&decided);
    assert_eq!((respond.status, decided.log.verdict.reason.as_str()), (302, "login_needed"));
    let to = response_header(respond, "location").unwrap();
    assert!(to.starts_with("https://id.example.com/authorize?response_type=code&client_id=web&"));
    assert_eq!(parameter(to, "redirect_uri"), "https://www.example.com/callback");
    assert_eq!(parameter(to, "code_challenge_method"), "S256");
    let cookies = set_cookies(&decided);
    assert!(
        cookies[0].starts_with("__Host-edge-login-")
            && cookies[0].ends_with("Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax")
    );
    let cookie = pair(&cookies[0]);
    let verifier = cookie.split_once('=').unwrap().1;
    assert_eq!(parameter(to, "code_challenge"), b64(<sha2::Sha256 as sha2::Digest>::digest(verifier)));
    assert!(!to.contains(verifier));
    Journey {
        state: parameter(to, "state"),
        nonce: parameter(to, "nonce"),
        cookie,
        id: decided.log.journey_id.clone(),
        traceparent: decided.log.traceparent.clone(),
        config,
        host,
    }
}

impl Journey {
    fn provider_gives(&mut self, change: impl FnOnce(&mut Value)) {
        let now = self.host.now_ms / 1000;
        let mut claims = json!({"iss": ISS, "aud": "web", "sub": "user-1", "iat": now, "exp": now + 300, "nonce": self.nonce, "at_hash": "x"});
        change(&mut claims);
        let body = json!({"access_token": "opaque", "id_token": token("ES256", "ec", &claims)}).to_string();
        self.host
            .backends
            .insert("idp-token".into(), FetchResponse { status: 200, max_age_s: None, body: body.into() });
    }

    fn back(&mut self, query: &str, cookie: &str) -> edge::Decided {
        let request = with(page(&format!("/callback?{query}")), "cookie", cookie);
        decide(&self.config, &mut self.host, &request)
    }

    fn finish(&mut self) -> edge::Decided {
        let (state, cookie) = (self.state.clone(), self.cookie.clone());
        self.back(&format!("code=c0de&state={state}"), &cookie)
    }
}

#[test]
fn a_browser_logs_in_and_gets_where_it_wanted() {
    let mut journey = begin("/app/orders?id=7");
    journey.provider_gives(|_| {});
    let decided = journey.finish();
    assert_eq!(response_header(answered(&decided), "location"), Some("/app/orders?id=7"));
    assert_eq!(decided.log.verdict.reason, "logged_in");
    // Redirect, callback and repeated request are one journey, each linked to the one before.
    assert_eq!(decided.log.journey_id, journey.id);
    assert_eq!(decided.log.links, [journey.traceparent.clone()]);
    let (_, exchange) = journey.host.sent.iter().find(|(backend, _)| backend == "idp-token").unwrap();
    let body = String::from_utf8(exchange.body.clone()).unwrap();
    assert!(body.contains("grant_type=authorization_code&code=c0de&") && body.contains("code_verifier="));

    let cookies = set_cookies(&decided);
    assert!(cookies[1].contains("Max-Age=0"), "the verifier is gone");
    let session = pair(&cookies[0]);
    let again = with(page("/app/orders?id=7"), "cookie", format!("theirs=1; {session}; {}", journey.cookie));
    let second = decide(&journey.config, &mut journey.host, &again);
    let forward = forwarded(&second);
    assert_eq!(sent_header(forward, "x-auth-sub"), ["user-1"]);
    assert_eq!(sent_header(forward, "cookie"), ["theirs=1"]);
    assert_eq!(second.log.journey_id, journey.id);
    assert_eq!(second.log.links, std::slice::from_ref(&decided.log.traceparent));
    // All in the trace of the first, each with a span of its own.
    let steps = [&journey.traceparent, &decided.log.traceparent, &second.log.traceparent];
    let parts = steps.map(|text| text.split('-').collect::<Vec<_>>());
    assert!(parts.iter().all(|part| part[1] == parts[0][1]), "{steps:?}");
    assert!(parts[0][2] != parts[1][2] && parts[1][2] != parts[2][2], "{steps:?}");
    assert_eq!(sent_header(forwarded(&second), "traceparent"), [second.log.traceparent.as_str()]);
    // Past its time the session is none, and the browser logs in again.
    journey.host.now_ms += 3_600_000;
    let later = decide(&journey.config, &mut journey.host, &again);
    assert_eq!(later.log.verdict.reason, "login_needed");
    // A script gets an answer and no redirect.
    let script = with(request("GET", "/app/data"), "accept", "application/json");
    assert_refused(&decide(&journey.config, &mut journey.host, &script), 401, "no_credential");
}

#[test]
fn a_broken_session_is_no_session() {
    let mut journey = begin("/app");
    journey.provider_gives(|_| {});
    let session = pair(&set_cookies(&journey.finish())[0]);
    let (name, value) = session.split_once('=').unwrap();
    let (content, mac) = value.split_once('.').unwrap();
    let mut claims: Value = serde_json::from_slice(&unb64(content)).unwrap();
    claims["claims"]["sub"] = json!("boss");
    let state_as_session = journey.state.clone();
    for forged in [
        format!("{}.{mac}", b64(claims.to_string())),
        content.to_owned(),
        format!("{content}."),
        format!("{content}.{}", b64([0; 32])),
        state_as_session,
        String::new(),
    ] {
        let request = with(page("/app"), "cookie", format!("{name}={forged}"));
        let decided = decide(&journey.config, &mut journey.host, &request);
        assert_eq!(decided.log.verdict.reason, "login_needed", "{forged}");
    }
    // Without the secret, or with a short one, nobody gets in and nobody is sent round in circles.
    for secret in [None, Some(b"short".to_vec())] {
        let mut host = journey.host.clone();
        host.secrets.remove("session");
        host.secrets.extend(secret.map(|secret| ("session".to_owned(), secret)));
        let decided = decide(&journey.config, &mut host, &with(page("/app"), "cookie", session.clone()));
        assert_refused(&decided, 503, "no_session_secret");
    }
}

#[test]
fn attack_login_state_forged_replayed_or_of_another_browser() {
    let mut journey = begin("/app");
    journey.provider_gives(|_| {});
    let (state, cookie) = (journey.state.clone(), journey.cookie.clone());
    // Another browser draws other random numbers.
    let other = begin_in(TestHost { seed: 2, ..host() }, "/app/other");
    assert_ne!(other.cookie, cookie);
    let (content, mac) = state.split_once('.').unwrap();
    let mut forged: Value = serde_json::from_slice(&unb64(content)).unwrap();
    forged["back"] = json!("//evil.example");
    for bad in [
        format!("{}.{mac}", b64(forged.to_string())),
        content.to_owned(),
        String::new(),
        format!("{state}&state={state}"),
    ] {
        let decided = journey.back(&format!("code=c&state={bad}"), &cookie);
        assert_refused(&decided, 400, "bad_state");
    }
    // The victim's browser has no cookie of the attacker's login.
    for cookies in [
        "a=b",
        other.cookie.as_str(),
        &format!("{cookie}; {cookie}"),
        &format!("{}=x", cookie.split_once('=').unwrap().0),
    ] {
        let decided = journey.back(&format!("code=c&state={state}"), cookies);
        assert_refused(&decided, 400, "state_of_another_browser");
    }
    assert_refused(&journey.back(&format!("state={state}"), &cookie), 400, "no_code");
    assert_refused(
        &journey.back(&format!("error=access_denied&state={state}"), &cookie),
        403,
        "provider_refused",
    );
    assert!(journey.host.sent.iter().all(|(backend, _)| backend != "idp-token"), "no code was exchanged");
    journey.host.now_ms += 601_000;
    assert_refused(&journey.back(&format!("code=c&state={state}"), &cookie), 400, "bad_state");
}

#[test]
fn attack_login_id_token_substitution() {
    type Change = (fn(&mut Value), &'static str);
    let changes: [Change; 6] = [
        (|claims| claims["nonce"] = json!("other"), "bad_claims"),
        (
            |claims| {
                claims.as_object_mut().unwrap().remove("nonce");
            },
            "bad_claims",
        ),
        (|claims| claims["aud"] = json!("api"), "wrong_audience"),
        (|claims| claims["aud"] = json!(["web", "other"]), "wrong_audience"),
        (|claims| claims["iss"] = json!("https://rsa.example.com"), "unknown_issuer"),
        (|claims| claims["exp"] = json!(1), "expired"),
    ];
    for (change, reason) in changes {
        let mut journey = begin("/app");
        journey.provider_gives(change);
        assert_refused(&journey.finish(), 403, reason);
    }
    let mut journey = begin("/app");
    assert_refused(&journey.finish(), 503, "provider_out");
    let refused =
        FetchResponse { status: 400, max_age_s: None, body: br#"{"error":"invalid_grant"}"#.to_vec() };
    journey.host.backends.insert("idp-token".into(), refused);
    assert_refused(&journey.finish(), 403, "code_refused");
}

#[test]
fn attack_login_open_redirect() {
    for target in ["/app/..//evil.example", "/app\\evil.example", "//evil.example/app", "/app//evil.example"]
    {
        assert_eq!(answered(&decide(&config(), &mut host(), &page(target))).status, 400, "{target}");
    }
    let mut journey = begin("/app?next=https://evil.example");
    journey.provider_gives(|_| {});
    assert_eq!(
        response_header(answered(&journey.finish()), "location"),
        Some("/app?next=https://evil.example")
    );
}

#[test]
fn logout_ends_the_session() {
    let decided = decide(&config(), &mut host(), &page("/logout?to=https://evil.example"));
    assert_eq!(response_header(answered(&decided), "location"), Some("/"));
    assert_eq!(
        set_cookies(&decided),
        ["__Host-edge-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"]
    );
}
