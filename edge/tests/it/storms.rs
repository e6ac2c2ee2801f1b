//! Many requests at once at one POP: a rotation refuses nobody, and nothing that clients send makes a storm of requests to
//! the provider.

use std::time::Duration;

use crate::common::*;
use edge::decide;
use edge::testing::{SharedHost, TestHost};
use serde_json::json;

/// One request with each of `tokens` at the same moment, at a POP where a provider takes `answer_takes` to answer: their
/// statuses, how many of them waited for that, and how often the provider was asked.
fn race(mut host: TestHost, answer_takes: Duration, tokens: &[String]) -> (Vec<u16>, usize, usize) {
    host.sent.clear();
    let shared = SharedHost::new(host, answer_takes);
    let (config, start) = (config(), std::sync::Barrier::new(tokens.len()));
    let began = std::time::Instant::now();
    let answers: Vec<(u16, bool)> = std::thread::scope(|scope| {
        let mut all = Vec::new();
        for token in tokens {
            let (mut host, config, start) = (shared.clone(), &config, &start);
            all.push(scope.spawn(move || {
                start.wait();
                let status = status(&decide(config, &mut host, &bearer("/x", token)));
                (status, began.elapsed() >= answer_takes)
            }));
        }
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let waited = answers.iter().filter(|(_, waited)| *waited).count();
    let statuses = answers.into_iter().map(|(status, _)| status).collect();
    (statuses, waited, shared.with(|host| host.sent.len()))
}

/// The same where a provider takes 50 ms.
fn at_once(host: TestHost, tokens: &[String]) -> (Vec<u16>, usize) {
    let (statuses, _, asked) = race(host, Duration::from_millis(50), tokens);
    (statuses, asked)
}

fn all_are(statuses: &[u16], expected: u16) {
    none("other answers", statuses.iter().filter(|status| **status != expected));
}

/// A POP that knows the provider's keys.
fn warm() -> TestHost {
    let mut host = host();
    assert_eq!(ask_anew(&mut host), 200);
    host
}

fn made_up(host: &TestHost, number: usize) -> String {
    let header = json!({"alg": "ES256", "kid": format!("made-up-{number}")});
    signed(header, "ES256", 66, &claims(host))
}

#[test]
fn a_new_key_under_200_requests_at_once_is_asked_for_once_and_refuses_nobody() {
    for many in [64, 200] {
        let mut host = warm();
        host.now_ms += 10_000;
        host.backends.insert("idp".into(), jwks(&[jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new")]));
        let tokens = vec![new_key("new", 2, &host); many];
        let (statuses, asked) = at_once(host, &tokens);
        all_are(&statuses, 200);
        assert_eq!(asked, 1, "{many} requests");
    }
}

#[test]
fn a_cold_pop_asks_once_however_many_come() {
    let tokens = vec![token("ES256", "ec", &claims(&host())); 200];
    let (statuses, asked) = at_once(host(), &tokens);
    all_are(&statuses, 200);
    assert_eq!(asked, 1);
    // The failure is remembered as the keys are.
    let mut out = host();
    out.backends.clear();
    let (statuses, asked) = at_once(out, &tokens);
    all_are(&statuses, 503);
    assert_eq!(asked, 1);
}

#[test]
fn a_stale_set_is_refreshed_by_one_and_nobody_waits_for_it() {
    let mut host = warm();
    host.now_ms += 700_000;
    let tokens = vec![token("ES256", "ec", &claims(&host)); 100];
    // Far longer than a hundred decisions take.
    let (statuses, waited, asked) = race(host, Duration::from_secs(5), &tokens);
    all_are(&statuses, 200);
    assert_eq!((waited, asked), (1, 1));
}

#[test]
fn made_up_ids_at_once_ask_three_times() {
    let host = warm();
    let mut tokens: Vec<String> = (0..64).map(|number| made_up(&host, number)).collect();
    tokens.push(token("ES256", "ec", &claims(&host)));
    let (statuses, asked) = at_once(host, &tokens);
    assert_eq!(asked, 3);
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "known to be made up");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 61, "not asked for");
    assert_eq!(statuses.last(), Some(&200), "whoever has a good token notices nothing");
}

#[test]
fn made_up_ids_over_a_long_time_ask_less_than_once_in_two_seconds() {
    let mut host = warm();
    host.sent.clear();
    for number in 0..6000 {
        let token = made_up(&host, number);
        assert!([401, 503].contains(&ask(&mut host, &token)));
        host.now_ms += 10;
    }
    // A minute of it: three at once, then three in eight seconds.
    assert!(host.sent.len() <= 3 * 60 / 8 + 3, "{} requests", host.sent.len());
    // The provider begins to use a new key meanwhile: known at the latest with the next place in the window.
    host.backends.insert("idp".into(), jwks(&[jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new")]));
    let began_ms = host.now_ms;
    let new = new_key("new", 2, &host);
    while ask(&mut host, &new) != 200 {
        host.now_ms += 500;
    }
    assert!(host.now_ms - began_ms <= 8000, "{} ms", host.now_ms - began_ms);
}

#[test]
fn one_unknown_key_in_an_outage_is_not_asked_for_again_and_again() {
    let mut host = warm();
    host.backends.clear();
    host.sent.clear();
    let token = made_up(&host, 1);
    (0..100).for_each(|_| assert_eq!(ask(&mut host, &token), 503));
    assert_eq!(host.sent.len(), 1, "requests in one moment to a provider that is out");
    // Nor by any other id, nor because the set becomes stale: one request in five seconds.
    for number in 0..1000 {
        let token = made_up(&host, number);
        assert_eq!(ask(&mut host, &token), 503);
        assert_eq!(ask_anew(&mut host), 200);
        host.now_ms += 1000;
    }
    assert!(host.sent.len() <= 1 + 1000 / 5, "{} requests in 1000 s", host.sent.len());
}

#[test]
fn a_made_up_key_does_not_hold_up_a_rotation() {
    let mut host = warm();
    for number in 0..2 {
        let token = made_up(&host, number);
        assert_eq!(ask(&mut host, &token), 401);
    }
    // Two unsigned tokens just before a rotation; anybody can send them.
    host.now_ms += 500;
    host.backends.insert("idp".into(), jwks(&[jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new")]));
    let token = new_key("new", 2, &host);
    assert_eq!(ask(&mut host, &token), 200);
}

#[test]
fn a_token_without_a_key_id_finds_a_rotated_key_and_makes_no_storm() {
    let mut host = host();
    host.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 1, "ed")]));
    let anonymous = |seed, host: &TestHost| signed(json!({"alg": "EdDSA"}), "EdDSA", seed, &claims(host));
    let old = anonymous(1, &host);
    assert_eq!(ask(&mut host, &old), 200);
    host.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 2, "ed-2")]));
    let new = anonymous(2, &host);
    assert_eq!(ask(&mut host, &new), 200);
    let asked = host.sent.len();
    for seed in 3..103 {
        let forged = anonymous(seed, &host);
        assert_eq!(ask(&mut host, &forged), 401);
        host.now_ms += 100;
    }
    assert!(host.sent.len() - asked <= 2, "{} requests in 10 s", host.sent.len() - asked);
}
