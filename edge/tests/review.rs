//! A security review of the decision. Tests named `open_*` show defects that were open when they were written and fail
//! until those are mended; the others are proofs that were missing.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use edge::testing::TestHost;
use edge::{Config, Decided, FetchError, FetchRequest, FetchResponse, Host, decide};
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use serde_json::{Value, json};

const DAY_MS: u64 = 86_400_000;

fn good() -> String {
    token("ES256", "ec", &claims(&host()))
}

fn status(decided: &Decided) -> u16 {
    match &decided.decision {
        edge::Decision::Forward(_) => 200,
        edge::Decision::Respond(respond) => respond.status,
    }
}

fn ask(host: &mut TestHost, token: &str) -> u16 {
    status(&decide(&config(), host, &bearer("/x", token)))
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<Config, edge::ConfigError> {
    let mut item = config_json();
    change(&mut item);
    Config::parse(&item.to_string())
}

fn is_refused(at: &str, change: impl FnOnce(&mut Value)) -> bool {
    match changed(change) {
        Ok(_) => false,
        Err(error) => error.at.starts_with(at),
    }
}

/// Tells all offenders at once.
fn none<T: std::fmt::Debug>(what: &str, found: impl Iterator<Item = T>) {
    let found: Vec<T> = found.collect();
    assert!(found.is_empty(), "{what}: {found:?}");
}

fn new_key(kid: &str, seed: u8, host: &TestHost) -> String {
    signed(json!({"alg": "EdDSA", "kid": kid}), "EdDSA", seed, &claims(host))
}

fn pss(salt_bytes: usize, alg: &str) -> String {
    let header = json!({"alg": alg, "kid": "rsa"}).to_string();
    let message = format!("{}.{}", b64(header), b64(claims(&host()).to_string()));
    let key = rsa::pss::SigningKey::<sha2::Sha256>::new_with_salt_len(rsa_key(), salt_bytes);
    let signature = key.try_sign_with_rng(&mut getrandom::SysRng, message.as_bytes()).unwrap();
    format!("{message}.{}", b64(signature.to_bytes()))
}

#[test]
fn ps256_through_the_whole_decision() {
    let decided = decide(&config(), &mut host(), &bearer("/api/x", &pss(32, "PS256")));
    let forward = forwarded(&decided);
    assert_eq!((decided.log.kid.as_str(), forward.target.as_str()), ("rsa", "/v2/x"));
    assert_eq!(sent_header(forward, "x-auth-sub"), ["user-1"]);
    assert_eq!(sent_header(forward, "x-edge-token").len(), 1);
    // The salt is as long as the hash (RFC 7518, 3.5), and one scheme's signature is not the other's.
    for salt_bytes in [0, 20, 31, 33] {
        assert_refused(&judge(&pss(salt_bytes, "PS256")), 401, "bad_signature");
    }
    for alg in ["RS256", "RS384", "RS512"] {
        assert_refused(&judge(&pss(32, alg)), 401, "bad_signature");
        let as_pss = signed(json!({"alg": "PS256", "kid": "rsa"}), alg, 0, &claims(&host()));
        assert_refused(&judge(&as_pss), 401, "bad_signature");
    }
    assert_refused(&judge(&pss(32, "PS384")), 401, "bad_algorithm");
    // An issuer that does not list it.
    let item = changed(|item| item["issuers"][0]["algorithms"] = json!(["RS256"])).unwrap();
    let decided = decide(&item, &mut host(), &bearer("/x", &pss(32, "PS256")));
    assert_refused(&decided, 401, "bad_algorithm");
}

#[test]
fn a_key_published_for_one_algorithm_signs_no_other() {
    let rsa = ["RS256", "RS384", "RS512", "PS256"];
    for own in rsa {
        for used in rsa {
            let mut host = host();
            let mut key = jwk("RS256", 0, "rsa");
            key["alg"] = json!(own);
            host.backends.insert("idp".into(), jwks(&[key]));
            let token = if used == "PS256" { pss(32, used) } else { token(used, "rsa", &claims(&host)) };
            let expected = if own == used { 200 } else { 401 };
            assert_eq!(ask(&mut host, &token), expected, "{own} key, {used} token");
        }
    }
    // A hash of another length under the same key.
    for (named, used) in [("RS256", "RS384"), ("RS384", "RS512"), ("RS512", "RS256")] {
        let cross = signed(json!({"alg": named, "kid": "rsa"}), used, 0, &claims(&host()));
        assert_refused(&judge(&cross), 401, "bad_signature");
    }
    let cross = signed(json!({"alg": "ES384", "kid": "ec"}), "ES256", 1, &claims(&host()));
    assert_refused(&judge(&cross), 401, "unknown_key");
}

#[test]
fn every_answer_carries_the_correlation_id() {
    let mut no_method = request("GET", "/x");
    no_method.method = "TRACE".into();
    let page = with(request("GET", "/app"), "accept", "text/html");
    let large = with(request("GET", "/x"), "x-large", "x".repeat(70_000));
    let all = [
        "/old",
        "/away",
        "/internal",
        "/closed",
        "/x",
        "/x//y",
        "/logout",
        "/callback",
        edge::EDGE_KEYS_PATH,
    ]
    .map(|target| request("GET", target));
    for request in all.into_iter().chain([no_method, page, large]) {
        let decided = decide(&config(), &mut host(), &request);
        let id = response_header(answered(&decided), "x-correlation-id");
        assert_eq!(id, Some(decided.log.correlation_id.as_str()), "{}", request.target);
        assert_eq!(decided.log.line().lines().count(), 1);
    }
    let decided = decide(&config(), &mut host(), &bearer("/x", &good()));
    let sent = &forwarded(&decided).response_headers;
    assert!(sent.contains(&("x-correlation-id".into(), decided.log.correlation_id.clone())));
}

#[test]
fn code_and_state_stay_out_of_the_log() {
    let decided = decide(&config(), &mut host(), &request("GET", "/callback?code=sEcret1&state=sEcret2"));
    assert!(!decided.log.line().contains("sEcret"));
    let page = with(request("GET", "/app?access_token=sEcret3"), "accept", "text/html");
    assert!(!decide(&config(), &mut host(), &page).log.line().contains("sEcret"));
}

#[test]
fn without_the_signing_key_nothing_is_forwarded() {
    for secret in [None, Some(b"{}".to_vec())] {
        let mut host = host();
        host.secrets.remove("edge1");
        host.secrets.extend(secret.map(|secret| ("edge1".to_owned(), secret)));
        for request in [bearer("/x", &good()), request("GET", "/health"), request("GET", "/maybe")] {
            assert_refused(&decide(&config(), &mut host, &request), 503, "no_edge_token");
        }
    }
}

#[test]
fn a_verdict_does_not_let_in_where_its_issuer_may_not() {
    let only = changed(|item| item["routes"][9]["issuers"] = json!(["pool"])).unwrap();
    let mut host = host();
    assert_eq!(status(&decide(&only, &mut host, &bearer("/api/x", &good()))), 200);
    assert_refused(&decide(&only, &mut host, &bearer("/x", &good())), 401, "unknown_issuer");
}

#[test]
fn open_last_known_good_has_an_end() {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    host.backends.clear();
    host.now_ms += 30 * DAY_MS;
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 503, "a key that was last seen a month ago may be withdrawn");
}

#[test]
fn open_a_newer_set_of_another_pop_counts_before_an_own_stale_one() {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    // Another POP has seen the provider withdraw every key but one; then the provider is out.
    let newer = jwks(&[jwk("EdDSA", 9, "newer")]);
    host.last_good.values_mut().for_each(|set| set.clone_from(&newer.body));
    host.backends.clear();
    host.now_ms += 700_000;
    let (old, new) = (token("ES256", "ec", &claims(&host)), new_key("newer", 9, &host));
    assert_eq!((ask(&mut host, &new), ask(&mut host, &old) == 200), (200, false));
}

/// One POP's cache under many requests at once; an answer of the provider takes 50 ms.
#[derive(Clone)]
struct Shared(Arc<Mutex<TestHost>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut TestHost) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

impl Host for Shared {
    fn now_unix_ms(&self) -> u64 {
        self.with(|host| host.now_ms)
    }
    fn random(&mut self, out: &mut [u8]) {
        self.with(|host| host.random(out));
    }
    fn fetch(&mut self, backend: &str, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let answer = self.with(|host| host.fetch(backend, request));
        std::thread::sleep(Duration::from_millis(50));
        answer
    }
    fn cache_get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.with(|host| host.cache_get(key))
    }
    fn cache_put(&mut self, key: &str, value: &[u8], ttl_s: u32) {
        self.with(|host| host.cache_put(key, value, ttl_s));
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
    fn client_ip(&self) -> Option<std::net::IpAddr> {
        None
    }
    fn pop(&self) -> String {
        String::new()
    }
    fn service_id(&self) -> String {
        String::new()
    }
    fn service_version(&self) -> String {
        String::new()
    }
    fn client_request_id(&self) -> String {
        String::new()
    }
}

/// `many` requests at once with a key that the provider has just begun to use: how many were let in, and its answers.
fn rotate_under(many: usize) -> (usize, usize) {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    host.now_ms += 10_000;
    host.sent.clear();
    host.backends.insert("idp".into(), jwks(&[jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new")]));
    let token = new_key("new", 2, &host);
    let (config, shared) = (config(), Shared(Arc::new(Mutex::new(host))));
    let start = std::sync::Barrier::new(many);
    let passed = std::thread::scope(|scope| {
        let ask = || {
            start.wait();
            status(&decide(&config, &mut shared.clone(), &bearer("/x", &token))) == 200
        };
        let all: Vec<_> = (0..many).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    });
    (passed, shared.with(|host| host.sent.len()))
}

#[test]
fn a_new_key_under_64_requests_at_once_refuses_nobody() {
    assert_eq!(rotate_under(64).0, 64);
}

#[test]
fn open_a_new_key_under_64_requests_at_once_is_asked_for_once() {
    let (_, fetches) = rotate_under(64);
    assert!(fetches <= 2, "{fetches} requests for one key id");
}

#[test]
fn open_a_new_key_under_200_requests_at_once_refuses_nobody() {
    assert_eq!(rotate_under(200).0, 200);
}

#[test]
fn open_one_unknown_key_in_an_outage_is_not_asked_for_again_and_again() {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    host.backends.clear();
    host.sent.clear();
    let made_up = signed(json!({"alg": "ES256", "kid": "made-up"}), "ES256", 66, &claims(&host));
    (0..100).for_each(|_| assert_eq!(ask(&mut host, &made_up), 503));
    assert!(host.sent.len() <= 2, "{} requests in one moment to a provider that is out", host.sent.len());
}

#[test]
fn open_a_made_up_key_does_not_hold_up_a_rotation() {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    let made_up = signed(json!({"alg": "ES256", "kid": "made-up"}), "ES256", 66, &claims(&host));
    assert_eq!(ask(&mut host, &made_up), 401);
    // One unsigned token just before a rotation; anybody can send one every two seconds.
    host.now_ms += 500;
    host.backends.insert("idp".into(), jwks(&[jwk("ES256", 1, "ec"), jwk("EdDSA", 2, "new")]));
    let token = new_key("new", 2, &host);
    assert_eq!(ask(&mut host, &token), 200);
}

#[test]
fn open_a_set_read_by_a_wrong_clock_is_not_fresh_for_longer() {
    let mut host = host();
    host.now_ms += DAY_MS;
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 200);
    // The clock is put right, the key is withdrawn, and more than the longest freshness goes by.
    host.now_ms -= DAY_MS;
    host.backends.insert("idp".into(), jwks(&[jwk("EdDSA", 2, "new")]));
    host.now_ms += 3_700_000;
    let token = self::token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 401);
}

#[test]
fn open_a_set_whose_only_point_is_on_no_curve_is_an_outage() {
    let mut host = host();
    assert_eq!(ask(&mut host, &good()), 200);
    let mut broken = jwk("ES256", 1, "ec");
    broken["x"] = json!(b64([1; 32]));
    host.backends.insert("idp".into(), jwks(&[broken]));
    host.now_ms += 700_000;
    let token = token("ES256", "ec", &claims(&host));
    assert_eq!(ask(&mut host, &token), 200, "the last known good set still holds");
}

#[test]
fn open_a_path_rule_holds_in_every_spelling_that_an_origin_decodes() {
    // The request is denied by a rule for `/v1/users:purge` and the like; the rule after it lets in.
    let cases = [
        ("/v1/users:purge", "/v1/users%3Apurge"),
        ("/@admin", "/%40admin"),
        ("/a(b)", "/a%28b%29"),
        ("/x,y", "/x%2Cy"),
        ("/a$b", "/a%24b"),
        ("/a=b", "/a%3Db"),
    ];
    let passes = |(rule, target): &(&str, &str)| {
        let config = changed(|item| item["routes"][3]["match"] = json!({ "path_prefix": rule })).unwrap();
        status(&decide(&config, &mut host(), &bearer(target, &good()))) == 200
    };
    none("round a rule", cases.into_iter().filter(passes));
}

#[test]
fn open_what_no_path_may_hold_is_not_signed_as_it_is() {
    // Envoy's normalization writes some of these as escapes; then another path arrives than stands in the edge token.
    let marks = ['"', '<', '>', '{', '}', '`', '^', '|'];
    let signed = |mark: &char| {
        let decided = decide(&config(), &mut host(), &bearer(&format!("/a{mark}b"), &good()));
        status(&decided) == 200 && forwarded(&decided).target.contains(*mark)
    };
    none("forwarded raw", marks.into_iter().filter(signed));
}

#[test]
fn open_settings_that_are_weak_or_of_no_use_are_refused() {
    let cases = [
        ("issuers[0].audiences", "/issuers/0/audiences", json!(["api", ""])),
        ("issuers[2].client_ids", "/issuers/2/client_ids", json!([""])),
        ("issuers[0].jwks.path", "/issuers/0/jwks/path", json!("//evil.example/jwks")),
        // Rules that never match, or not what their author means.
        ("routes[3].match", "/routes/3/match", json!({"methods": ["delete"]})),
        ("routes[3].match", "/routes/3/match", json!({"path_prefix": "/internal/"})),
        ("routes[3].match", "/routes/3/match", json!({"hosts": ["-"]})),
        // A separator that also stands in escapes makes one member look like two.
        ("stamp.claims[1].separator", "/stamp/claims/1/separator", json!("2")),
        // Each of these mints no token, so that every request would be answered 503.
        ("edge_token.claims", "/edge_token/claims", json!(["sub"])),
        ("edge_token.claims", "/edge_token/claims", (0..17).map(|i| format!("c{i}")).collect()),
        ("edge_token.keys", "/edge_token/keys/0/kid", json!("a/b")),
    ];
    let taken = |(at, place, value): &(&str, &str, Value)| {
        let (parent, name) = place.rsplit_once('/').unwrap();
        !is_refused(at, |item| item.pointer_mut(parent).unwrap()[name] = value.clone())
    };
    none("taken", cases.into_iter().filter(taken));
}

#[test]
fn open_a_host_name_is_read_strictly() {
    let names = ["www.example.com..", ".", "..", "a[b]", ".example.com", "a..example.com"];
    let accepted = |name: &&str| {
        let mut odd = bearer("/x", &good());
        odd.authority = (*name).into();
        status(&decide(&config(), &mut host(), &odd)) == 200
    };
    none("taken as a host", names.into_iter().filter(accepted));
}

#[test]
fn open_the_host_that_was_judged_is_the_one_that_is_forwarded() {
    let mut odd = bearer("/x", &good());
    odd.authority = "WWW.Example.COM.:443".into();
    let decided = decide(&config(), &mut host(), &odd);
    // Without one the platform forwards the authority as the client wrote it.
    assert_eq!(forwarded(&decided).host.as_deref(), Some("www.example.com"));
}

#[test]
fn open_trusted_headers_by_other_names_and_spellings() {
    // RFC 9440, Google, Cloudflare, mod_auth_openidc, Kong, Grafana, Kubernetes; and what some CGIs read as x-auth-sub.
    let names = "client-cert client-cert-chain x-goog-iap-jwt-assertion cf-access-jwt-assertion oidc-claim-sub \
                 OIDC_CLAIM_email x-consumer-username x-webauth-user x-username x-auth x-forwarded x-jwt-payload \
                 ssl-client-cert impersonate-user x-client-trace-id x.auth.sub x-auth.sub";
    let survives = |name: &&str| {
        let decided = decide(&config(), &mut host(), &with(bearer("/x", &good()), name, "forged"));
        forwarded(&decided).headers.iter().any(|(_, value)| value == b"forged")
    };
    none("forwarded", names.split(' ').filter(survives));
}

#[test]
fn open_two_members_of_a_claim_are_not_one_with_a_separator() {
    let header = |groups: Value| {
        let item = changed(|item| item["stamp"]["claims"][1]["encode"] = json!("base64url")).unwrap();
        let mut claims = claims(&host());
        claims["groups"] = groups;
        let decided = decide(&item, &mut host(), &bearer("/x", &token("ES256", "ec", &claims)));
        sent_header(forwarded(&decided), "x-auth-groups").join("")
    };
    assert_ne!(header(json!(["staff", "admin"])), header(json!(["staff,admin"])));
}

#[test]
fn open_an_id_token_by_its_nonce_and_a_logout_token_by_its_events_are_no_access_tokens() {
    for (name, value) in [
        ("nonce", json!("n-0S6")),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
    ] {
        let mut other = claims(&host());
        other[name] = value;
        assert_refused(&judge(&token("ES256", "ec", &other)), 401, "wrong_token_type");
    }
}

#[test]
fn open_an_id_token_says_when_it_was_made() {
    let config = changed(|item| item["issuers"][0]["token"] = json!("id")).unwrap();
    let mut claims = claims(&host());
    claims.as_object_mut().unwrap().remove("iat");
    let decided = decide(&config, &mut host(), &bearer("/x", &token("ES256", "ec", &claims)));
    assert_eq!(status(&decided), 401, "OpenID Connect Core, 2: iat is required");
}

#[test]
fn open_a_cacheable_request_has_no_body() {
    for (name, value) in [("content-length", "5"), ("transfer-encoding", "chunked")] {
        let decided = decide(&config(), &mut host(), &with(request("GET", "/health"), name, value));
        assert!(forwarded(&decided).pass, "a body is no part of a cache's key: {name}");
    }
}

#[test]
fn open_refused_paths_leave_no_session_ids_in_the_log() {
    for target in ["/app;jsessionid=sEcret", "/app#access_token=sEcret", "/app%3Faccess_token=sEcret"] {
        let decided = decide(&config(), &mut host(), &request("GET", target));
        assert!(!decided.log.line().contains("sEcret"), "{target}");
    }
}

#[test]
fn open_a_missing_second_key_does_not_unpublish_the_first() {
    let mut host = host();
    host.secrets.remove("edge2");
    assert_eq!(status(&decide(&config(), &mut host, &request("GET", edge::EDGE_KEYS_PATH))), 200);
}

#[test]
fn open_methods_that_purge_are_not_forwarded() {
    for method in ["PURGE", "FASTLYPURGE"] {
        let decided = decide(&config(), &mut host(), &request(method, "/health"));
        assert_eq!(status(&decided), 405, "{method}");
    }
}

#[test]
fn open_an_id_of_zeros_is_no_correlation_id() {
    let item = changed(|item| item["stamp"]["trusted_upstreams"] = json!(["198.51.100.7"])).unwrap();
    let zeros = with(bearer("/x", &good()), "x-correlation-id", "00000000-0000-0000-0000-000000000000");
    assert!(!decide(&item, &mut host(), &zeros).log.correlation_id.starts_with("00000000-"));
}

#[test]
fn open_a_second_pop_of_the_same_service_takes_the_word_of_the_first() {
    let first = decide(&config(), &mut host(), &bearer("/x", &good()));
    let mut second = request("GET", &forwarded(&first).target);
    second.headers.clone_from(&forwarded(&first).headers);
    let decided = decide(&config(), &mut TestHost { seed: 2, ..host() }, &second);
    assert_eq!((status(&decided), &decided.log.correlation_id), (200, &first.log.correlation_id));
}
