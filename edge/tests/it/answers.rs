//! Answers, what caches may keep of them, and the one line that each leaves.

use crate::common::*;
use edge::decide;
use serde_json::Value;

#[test]
fn attack_cache_leak_between_identities() {
    let decided = decide(&config(), &mut host(), &bearer("/x", &good()));
    assert!(forwarded(&decided).pass && forwarded(&decided).private);
    // An optional route answers one way or the other, so it is never cached either.
    assert!(forwarded(&decide(&config(), &mut host(), &request("GET", "/maybe"))).pass);
    let open = decide(&config(), &mut host(), &bearer("/health", &good()));
    assert!(!forwarded(&open).pass);
    assert!(sent_header(forwarded(&open), "authorization").is_empty());
    assert!(
        forwarded(&decide(&config(), &mut host(), &with(request("GET", "/health"), "cookie", "a=b"))).pass
    );
    assert!(forwarded(&decide(&config(), &mut host(), &request("POST", "/health"))).pass);
}

#[test]
fn attack_log_injection_and_secrets_in_the_log() {
    let good = good();
    let odd = with(bearer("/api/x?secret=hunter2", &good), "user-agent", "\"},{\"verdict\":\"allow\"\u{7f}");
    let odd = with(odd, "cookie", "theirs=topsecret");
    let decided = decide(&config(), &mut host(), &odd);
    let line = decided.log.line();
    assert_eq!(line.lines().count(), 1);
    let read: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["verdict"]["outcome"], "allow");
    let signature = good.rsplit('.').next().unwrap();
    for secret in ["hunter2", "topsecret", signature, good.as_str(), "user-1"] {
        assert!(!line.contains(secret), "{secret}");
    }
    assert_eq!(read["subject"].as_str().unwrap().len(), 32);
    let minted = sent_header(forwarded(&decided), "x-edge-token")[0].to_owned();
    assert!(!line.contains(&minted));
    let refused = decide(&config(), &mut host(), &bearer("/x\n{\"a\":1}", &good));
    assert_eq!(refused.log.line().lines().count(), 1);
}

#[test]
fn a_cacheable_request_has_no_body() {
    for (name, value) in [("content-length", "5"), ("transfer-encoding", "chunked")] {
        let decided = decide(&config(), &mut host(), &with(request("GET", "/health"), name, value));
        assert!(forwarded(&decided).pass, "a body is no part of a cache's key: {name}");
    }
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
fn refused_paths_leave_no_session_ids_in_the_log() {
    for target in ["/app;jsessionid=sEcret", "/app#access_token=sEcret", "/app%3Faccess_token=sEcret"] {
        let decided = decide(&config(), &mut host(), &request("GET", target));
        assert!(!decided.log.line().contains("sEcret"), "{target}");
    }
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
fn a_missing_second_key_does_not_unpublish_the_first() {
    let mut host = host();
    host.secrets.remove("edge2");
    assert_eq!(status(&decide(&config(), &mut host, &request("GET", edge::EDGE_KEYS_PATH))), 200);
}

#[test]
fn what_an_identity_is_answered_stays_out_of_shared_caches() {
    let decided = decide(&config(), &mut host(), &bearer("/x", &good()));
    let told = |origins: &str| forwarded(&decided).cache_control(origins).unwrap();
    for (origins, expected) in [
        ("", "private, no-store"),
        ("public, max-age=60", "private, max-age=60"),
        ("s-maxage=600,max-age=5, must-revalidate", "private, max-age=5, must-revalidate"),
        ("Public , S-MaxAge = 9", "private"),
        ("private, no-store", "private, no-store"),
        ("private=\"set-cookie, public\", max-age=3", "private, no-store"),
        ("max-age=60", "private, max-age=60"),
    ] {
        assert_eq!(told(origins), expected, "{origins}");
    }
    let open = decide(&config(), &mut host(), &request("GET", "/health"));
    assert_eq!(forwarded(&open).cache_control("public, max-age=60"), None, "as the origin says");
}

#[test]
fn a_refusal_after_a_good_signature_says_who_signed() {
    let signed_by = |token: &str| {
        let log = judge(token).log;
        (log.verdict.reason, log.issuer, log.kid, log.subject)
    };
    let is = |reason: &str, iss: &str, kid: &str| (reason.into(), iss.into(), kid.into(), String::new());
    let with = |name: &str, value: Value| {
        let mut claims = claims(&host());
        claims[name] = value;
        token("ES256", "ec", &claims)
    };
    assert_eq!(signed_by(&with("exp", 1.into())), is("expired", ISS, "ec"));
    assert_eq!(signed_by(&with("aud", "other".into())), is("wrong_audience", ISS, "ec"));
    // What nobody vouches for is not repeated.
    let forged = signed(serde_json::json!({"alg": "ES256", "kid": "ec"}), "ES256", 66, &claims(&host()));
    assert_eq!(signed_by(&forged), is("bad_signature", "", ""));
}

#[test]
fn without_tls_nothing_is_served() {
    let plain = |mut request: edge::IncomingRequest| {
        request.scheme = "http".into();
        request.authority = "www.example.com:80".into();
        request
    };
    let decided = decide(&config(), &mut host(), &plain(bearer("/%61pp?b=c", &good())));
    let respond = answered(&decided);
    assert_eq!((respond.status, decided.log.verdict.reason.as_str()), (308, "plain_http"));
    assert_eq!(response_header(respond, "location"), Some("https://www.example.com/app?b=c"));
    assert_eq!(response_header(respond, "x-correlation-id"), Some(decided.log.correlation_id.as_str()));
    let mut post = bearer("/x", &good());
    post.method = "POST".into();
    assert_refused(&decide(&config(), &mut host(), &plain(post)), 403, "plain_http");
    // Where there is no TLS: on a developer's machine, and where the configuration says so.
    let open = changed(|item| item["plain_http"] = true.into()).unwrap();
    assert_eq!(status(&decide(&open, &mut host(), &plain(bearer("/x", &good())))), 200);
    let mut desk = edge::testing::TestHost { is_local: true, ..host() };
    assert_eq!(status(&decide(&config(), &mut desk, &plain(bearer("/x", &good())))), 200);
}
