//! Keys over time: rotation, outage, clocks, and verdicts that are remembered no longer than they hold.

use crate::common::*;
use edge::testing::TestHost;
use edge::{Config, decide};
use serde_json::json;

#[test]
fn rotation_in_step_with_the_provider_refuses_nobody() {
    let mut host = host();
    for round in 1..20_u8 {
        // The new key is published beside the old one at the very moment of its first use.
        let kid = |n: u8| format!("k{n}");
        host.backends.insert(
            "idp".into(),
            jwks(&[jwk("EdDSA", round, &kid(round)), jwk("EdDSA", round + 1, &kid(round + 1))]),
        );
        for n in [round, round + 1] {
            let mut claims = claims(&host);
            claims["jti"] = json!(round);
            let token = signed(json!({"alg": "EdDSA", "kid": kid(n)}), "EdDSA", n, &claims);
            assert_eq!(ask(&mut host, &token), 200, "round {round}, key {n}");
        }
        host.now_ms += 120_000;
    }
}

#[test]
fn a_key_that_was_withdrawn_lets_nobody_in_once_the_set_is_known_without_it() {
    let mut host = host();
    let old = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &old), 200);
    host.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 1, "ed")]));
    // The verdict is remembered under the old set; the set is fresh for its ten minutes.
    assert_eq!(ask(&mut host, &old), 200);
    // The first token of a new key brings the new set, and with it every verdict of the old one is gone.
    let mut newer = jwk("EdDSA", 2, "new");
    newer["use"] = json!("sig");
    host.backends.insert("idp".into(), jwks(&[newer]));
    let token = signed(json!({"alg": "EdDSA", "kid": "new"}), "EdDSA", 2, &claims(&host));
    assert_eq!(ask(&mut host, &token), 200);
    host.now_ms += 3000;
    assert_eq!(ask(&mut host, &old), 401);
}

#[test]
fn an_outage_refuses_nobody_whose_keys_were_seen_before() {
    let mut host = host();
    assert_eq!(ask_anew(&mut host), 200);
    host.backends.clear();
    // Two days: first stale from this POP's cache, then from the last known good.
    for _ in 0..48 {
        host.now_ms += 3_600_000;
        assert_eq!(ask_anew(&mut host), 200);
    }
    assert!(
        host.cache
            .iter()
            .filter(|(key, _)| key.starts_with("jwks:"))
            .all(|(_, (until, _))| *until < host.now_ms)
    );
    // Another POP has never seen the provider up.
    let mut other = TestHost {
        last_good: host.last_good.clone(),
        now_ms: host.now_ms,
        secrets: host.secrets.clone(),
        ..TestHost::default()
    };
    assert_eq!(ask_anew(&mut other), 200);
    // The provider is asked no more than once in five seconds meanwhile.
    let before = other.sent.len();
    for _ in 0..100 {
        assert_eq!(ask_anew(&mut other), 200);
    }
    assert_eq!(other.sent.len(), before);
    // A forged token gains nothing by the outage.
    let forged = signed(json!({"alg": "ES256", "kid": "ec"}), "ES256", 66, &claims(&other));
    assert_eq!(ask(&mut other, &forged), 401);
}

#[test]
fn clocks_may_differ_by_the_skew() {
    let start = host();
    let token = token("ES256", "ec", &claims(&start));
    for (shift_s, status) in [(-61_i64, 401), (-60, 200), (0, 200), (600, 200), (659, 200), (660, 401)] {
        let mut host = host();
        host.now_ms = start.now_ms.saturating_add_signed(shift_s * 1000);
        assert_eq!(ask(&mut host, &token), status, "{shift_s} s");
    }
}

#[test]
fn a_verdict_is_never_remembered_past_its_time() {
    let mut host = host();
    let mut soon = claims(&host);
    soon["exp"] = json!(host.now_ms / 1000 + 20);
    let token = token("ES256", "ec", &soon);
    assert_eq!(ask(&mut host, &token), 200);
    let verdicts = |host: &TestHost| {
        let found = host.cache.iter().filter(|(key, _)| key.starts_with("verdict:"));
        found.map(|(_, (until, _))| until - host.now_ms).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&host), [20_000]);
    assert_eq!(ask_anew(&mut host), 200);
    assert_eq!(verdicts(&host).into_iter().max(), Some(60_000));
    host.now_ms += 80_000;
    assert_eq!(ask(&mut host, &token), 401);
}

#[test]
fn a_verdict_is_used_and_is_bound_to_token_keys_and_policy() {
    let (config, mut host) = (config(), host());
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 200);
    // Proof that it is used: what it says is what counts.
    let name = host.cache.keys().find(|key| key.starts_with("verdict:")).unwrap().clone();
    let entry = host.cache.get_mut(&name).unwrap();
    let text = String::from_utf8_lossy(&entry.1[8..]).replace("user-1", "user-2");
    entry.1 = [&entry.1[..8], text.as_bytes()].concat();
    let decided = decide(&config, &mut host, &bearer("/x", &token));
    assert_eq!(sent_header(forwarded(&decided), "x-auth-sub"), ["user-2"]);
    // Another signature over the same claims is another token.
    let (head, _) = token.rsplit_once('.').unwrap();
    assert_eq!(ask(&mut host, &format!("{head}.{}", b64([1; 64]))), 401);
    // Another policy version does not know it.
    let mut item = config_json();
    item["policy_version"] = json!("p2");
    let newer = Config::parse(&item.to_string()).unwrap();
    let decided = decide(&newer, &mut host, &bearer("/x", &token));
    assert_eq!(sent_header(forwarded(&decided), "x-auth-sub"), ["user-1"]);
    assert_eq!(decided.log.verdict.policy_version, "p2");
    // A clock set back makes it worthless rather than long.
    host.now_ms -= 30_000;
    assert_eq!(ask(&mut host, &token), 200);
}

#[test]
fn a_verdict_does_not_carry_over_to_a_route_that_asks_for_more() {
    let (config, mut host) = (config(), host());
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 200);
    assert_refused(&decide(&config, &mut host, &bearer("/admin", &token)), 403, "missing_claim");
    let mut boss = claims(&host);
    boss["role"] = json!(["boss"]);
    let with_role = self::token("ES256", "ec", &boss);
    assert_refused(&decide(&config, &mut host, &bearer("/admin", &with_role)), 403, "missing_scope");
    boss["scope"] = json!("read admin");
    forwarded(&decide(&config, &mut host, &bearer("/admin", &self::token("ES256", "ec", &boss))));
}

#[test]
fn a_verdict_does_not_let_in_where_its_issuer_may_not() {
    let only = changed(|item| item["routes"][9]["issuers"] = json!(["pool"])).unwrap();
    let mut host = host();
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(status(&decide(&only, &mut host, &bearer("/api/x", &token))), 200);
    assert_refused(&decide(&only, &mut host, &bearer("/x", &token)), 401, "unknown_issuer");
}

#[test]
fn a_remembered_verdict_needs_no_look_into_the_key_set() {
    let mut host = host();
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 200);
    // The set behind its fingerprint can no longer be read, and nothing reads it.
    let name = host.cache.keys().find(|key| key.starts_with("jwks:")).unwrap().clone();
    let (_, entry) = host.cache.get_mut(&name).unwrap();
    let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
    entry.truncate(end + 1);
    assert_eq!(ask(&mut host, &token), 200);
    // But a signature cannot be checked by it.
    assert_eq!(ask_after_a_second(&mut host), 503);
}

/// A token that was not seen before.
fn ask_after_a_second(host: &mut TestHost) -> u16 {
    host.now_ms += 1000;
    ask_anew(host)
}

#[test]
fn last_known_good_has_an_end() {
    let (config, mut host) = (config(), host());
    assert_eq!(ask_anew(&mut host), 200);
    host.backends.clear();
    host.now_ms += config.issuers[0].max_stale_s * 1000 - 1000;
    assert_eq!(ask_anew(&mut host), 200);
    host.now_ms += 6000;
    assert_eq!(ask_anew(&mut host), 503, "a key that was last seen three days ago may be withdrawn");
    // As soon as the provider is back, so are the keys.
    host.backends.insert("idp".into(), all_keys());
    host.now_ms += 6000;
    assert_eq!(ask_anew(&mut host), 200);
}

#[test]
fn last_known_good_is_as_old_as_the_last_answer_and_not_as_the_last_rotation() {
    let mut host = host();
    // The provider answers the same for a week, then it is out.
    for _ in 0..7 * 24 {
        assert_eq!(ask_anew(&mut host), 200);
        host.now_ms += 3_700_000;
    }
    host.backends.clear();
    host.cache.clear();
    assert_eq!(ask_anew(&mut host), 200);
    // And it is not written with every answer.
    host.backends.insert("idp".into(), all_keys());
    host.now_ms += 6000;
    assert_eq!(ask_anew(&mut host), 200);
    let kept = host.last_good.clone();
    host.now_ms += 700_000;
    assert_eq!(ask_anew(&mut host), 200);
    assert_eq!(host.last_good, kept);
}

#[test]
fn a_newer_set_of_another_pop_counts_before_an_own_stale_one() {
    let mut host = host();
    assert_eq!(ask_anew(&mut host), 200);
    // Another POP sees the provider withdraw every key but one; then the provider is out.
    let mut other = TestHost { cache: Default::default(), ..host.clone() };
    other.now_ms += 300_000;
    other.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 9, "newer")]));
    let new = new_key("newer", 9, &other);
    assert_eq!(ask(&mut other, &new), 200);
    host.last_good = other.last_good;
    host.backends.clear();
    host.now_ms += 700_000;
    let (old, new) = (token("ES256", "ec", &claims(&host)), new_key("newer", 9, &host));
    assert_eq!(ask(&mut host, &new), 200);
    // The withdrawn key's id is unknown again, and the provider cannot be asked for it.
    assert_eq!(ask(&mut host, &old), 503);
}

#[test]
fn a_set_read_by_a_wrong_clock_is_not_fresh_for_longer() {
    let mut host = host();
    host.now_ms += DAY_MS;
    assert_eq!(ask_anew(&mut host), 200);
    // The clock is put right and the key is withdrawn: what came from the future counts for nothing.
    host.now_ms -= DAY_MS;
    // A platform's cache counts its entries' time by no clock that can be wrong; this one does.
    host.cache.retain(|key, _| key.starts_with("jwks:"));
    host.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 2, "new")]));
    assert_eq!(ask_anew(&mut host), 401);
}

#[test]
fn a_set_whose_only_point_is_on_no_curve_is_an_outage() {
    let mut host = host();
    assert_eq!(ask_anew(&mut host), 200);
    let mut broken = jwk("ES256", 1, "ec");
    broken["x"] = json!(b64([1; 32]));
    host.backends.insert("idp".into(), jwks(&[broken]));
    host.now_ms += 700_000;
    assert_eq!(ask_anew(&mut host), 200, "the last known good set still holds");
}
