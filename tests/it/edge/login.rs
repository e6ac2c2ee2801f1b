//! A browser's way to the provider and back, step by step over HTTP.

use chain::{Granted, Key};
use serde_json::json;

use super::client::Answer;
use super::expect;
use super::world::{WORLD, World, claims};

const BROWSER: [(&str, &str); 2] = [("accept", "text/html,*/*"), ("sec-fetch-mode", "navigate")];

/// What the browser holds after it was sent to the provider.
struct Begun {
    state: String,
    cookie: String,
    journey: String,
    traceparent: String,
}

fn parameter<'a>(location: &'a str, name: &str) -> &'a str {
    let (_, query) = location.split_once('?').unwrap();
    let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name);
    found.unwrap_or_else(|| panic!("no {name} in {location}")).1
}

/// The name and value of the cookie whose name begins so.
fn cookie(answer: &Answer, prefix: &str) -> String {
    let found = answer.values("set-cookie").find(|value| value.starts_with(prefix));
    let text = found.unwrap_or_else(|| panic!("no cookie {prefix} in {answer:?}"));
    assert!(text.contains("; Secure; HttpOnly; SameSite=Lax"), "{text}");
    text.split(';').next().unwrap().to_owned()
}

fn begin(world: &World, target: &str, code: &str) -> Begun {
    let answer = world.get(target, &BROWSER);
    let line = expect(world, &answer, 302, "redirect", "login_needed");
    let location = answer.header("location");
    assert!(location.starts_with("https://idp.test/authorize?"), "{location}");
    assert_eq!(parameter(location, "code_challenge_method"), "S256");
    let [nonce, challenge] = ["nonce", "code_challenge"].map(|name| parameter(location, name).to_owned());
    world.provider.grant(code, Granted { nonce, challenge });
    Begun {
        state: parameter(location, "state").to_owned(),
        cookie: cookie(&answer, "__Host-edge-login-"),
        journey: line["journey_id"].as_str().unwrap().to_owned(),
        traceparent: line["traceparent"].as_str().unwrap().to_owned(),
    }
}

fn callback(world: &World, state: &str, code: &str, cookie: &str) -> Answer {
    world.get(&format!("/callback?code={code}&state={state}"), &[("cookie", cookie)])
}

#[test]
fn a_browser_logs_in_comes_back_and_logs_out() {
    let begun = begin(&WORLD, "/page/cart?item=7", "code-1");
    let back = callback(&WORLD, &begun.state, "code-1", &begun.cookie);
    let line = expect(&WORLD, &back, 302, "redirect", "logged_in");
    assert_eq!(back.header("location"), "/page/cart?item=7");
    assert_eq!(line["journey_id"], begun.journey.as_str());
    assert!(line["links"].as_array().unwrap().contains(&json!(begun.traceparent)), "{line}");

    let session = cookie(&back, "__Host-edge-session=");
    let page = WORLD.get("/page/cart?item=7", &[("cookie", &format!("theme=dark; {session}"))]);
    let replayed = expect(&WORLD, &page, 200, "allow", "");
    assert_eq!(replayed["journey_id"], begun.journey.as_str());
    assert!(replayed["links"].as_array().unwrap().contains(&line["traceparent"]), "{replayed}");
    let seen = WORLD.origin.seen(page.header("x-correlation-id"));
    assert_eq!(seen[0].values("x-user"), ["ada"]);
    assert_eq!(seen[0].values("cookie"), ["theme=dark"], "the edge's cookie stays at the edge");
    assert!(page.header("cache-control").contains("private"), "{page:?}");

    let out = WORLD.get("/logout", &[("cookie", &session)]);
    expect(&WORLD, &out, 302, "redirect", "logged_out");
    assert!(out.header("set-cookie").starts_with("__Host-edge-session=;"), "{out:?}");

    let printed = WORLD.viceroy.printed();
    for secret in [session.as_str(), "code-1&", begun.state.as_str()] {
        let lines = printed.lines().filter(|line| line.starts_with("edge-logs :: "));
        assert!(!lines.into_iter().any(|line| line.contains(secret)), "{secret} is in the log");
    }
}

#[test]
fn a_script_is_told_and_not_redirected() {
    let answer = WORLD.get("/page/data", &[("accept", "application/json"), ("sec-fetch-mode", "cors")]);
    expect(&WORLD, &answer, 401, "deny", "no_credential");
}

#[test]
fn a_state_is_good_only_as_signed_and_in_its_own_browser() {
    let begun = begin(&WORLD, "/page", "code-2");
    let other = begin(&WORLD, "/page", "code-3");
    let mut forged = begun.state.clone().into_bytes();
    forged[10] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    let cases = [
        (forged.as_str(), begun.cookie.as_str(), "bad_state"),
        ("", begun.cookie.as_str(), "bad_state"),
        (begun.state.as_str(), other.cookie.as_str(), "state_of_another_browser"),
        (begun.state.as_str(), "a=b", "state_of_another_browser"),
    ];
    for (state, cookie, reason) in cases {
        expect(&WORLD, &callback(&WORLD, state, "code-2", cookie), 400, "deny", reason);
    }
    // A code of another login does not fit the verifier in the cookie.
    expect(&WORLD, &callback(&WORLD, &begun.state, "code-3", &begun.cookie), 403, "deny", "code_refused");
}

#[test]
fn a_forged_or_foreign_session_is_none() {
    let forged = Key::es256("idp-1").token(&claims(json!({})));
    for session in ["e30.e30".to_owned(), forged] {
        let cookie = format!("__Host-edge-session={session}");
        let answer = WORLD.get("/page", &[("accept", "application/json"), ("cookie", &cookie)]);
        expect(&WORLD, &answer, 401, "deny", "no_credential");
    }
}
