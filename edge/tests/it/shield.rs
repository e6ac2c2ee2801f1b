//! Two POPs of one service: the second takes the word of the first, and nobody else's.

use crate::common::*;
use edge::testing::TestHost;
use edge::{Config, Decided, Forward, IncomingRequest, decide};
use serde_json::{Value, json};

/// The route of `/api` and the last one go through a shield.
fn shielded() -> Config {
    changed(|item| {
        for route in [8, 9] {
            item["routes"][route]["action"]["forward"]["shield"] = json!("frankfurt-de");
        }
        item["stamp"]["forward_authorization"] = json!(true);
    })
    .unwrap()
}

/// A POP that is not the shield.
fn first_pop() -> TestHost {
    TestHost { shields: vec!["frankfurt-de".into()], ..host() }
}

/// The shield: it sees the first POP's address, and knows no provider.
fn second_pop() -> TestHost {
    let mut host = TestHost { seed: 2, ip: Some([203, 0, 113, 9].into()), ..host() };
    host.backends.clear();
    host
}

fn as_sent(forward: &Forward) -> IncomingRequest {
    IncomingRequest {
        method: forward.method.clone(),
        authority: forward.host.clone(),
        target: forward.target.clone(),
        headers: forward.headers.clone(),
        ..request("GET", "/")
    }
}

fn through_the_first(target: &str, change: impl FnOnce(&mut Value)) -> Decided {
    let mut host = first_pop();
    let mut claims = claims(&host);
    change(&mut claims);
    decide(&shielded(), &mut host, &bearer(target, &token("ES256", "ec", &claims)))
}

#[test]
fn the_shield_takes_over_what_the_first_pop_found_out() {
    let first = through_the_first("/api/orders?id=7", |claims| {
        claims["tenant"] = json!("blue");
        claims["groups"] = json!(["staff", "admin"]);
    });
    let sent = forwarded(&first);
    // As the client asked for it: the shield goes by the same rules.
    assert_eq!((sent.shield.as_deref(), sent.target.as_str()), (Some("frankfurt-de"), "/api/orders?id=7"));
    assert_eq!((first.log.hop, first.log.to_shield), ("", true));

    let mut host = second_pop();
    let second = decide(&shielded(), &mut host, &as_sent(sent));
    let forward = forwarded(&second);
    assert!(host.sent.is_empty(), "nothing is asked again");
    assert_eq!((forward.shield.as_deref(), forward.target.as_str()), (None, "/v2/orders?id=7"));
    // The first POP chose by a claim; the client's own credential came along and is the one that was checked.
    assert_eq!(forward.backend, "blue-origin");
    assert_eq!(sent_header(forward, "authorization"), sent_header(sent, "authorization"));
    assert_eq!(sent_header(forward, "x-auth-sub"), ["user-1"]);
    assert_eq!(sent_header(forward, "x-auth-groups"), ["staff,admin"]);
    assert_eq!(sent_header(forward, "x-forwarded-for"), ["198.51.100.7"], "the client, not the first POP");
    assert!(forward.pass && forward.private);

    // One id, one trace, two spans.
    let (log, before) = (&second.log, &first.log);
    assert_eq!((log.hop, log.to_shield, log.client_ip.as_str()), ("shield", false, "198.51.100.7"));
    assert_eq!(log.correlation_id, before.correlation_id);
    assert_eq!(sent_header(forward, "x-correlation-id"), [before.correlation_id.as_str()]);
    assert_eq!(log.traceparent[..36], before.traceparent[..36]);
    assert_ne!(log.traceparent, before.traceparent);
    assert_eq!(log.parent_span_id, before.traceparent[36..52]);
    assert_eq!((&log.subject, &log.issuer, &log.kid), (&before.subject, &before.issuer, &before.kid));
    assert_eq!(log.verdict.reason, "verified");

    // The origin's token is a new one, for what the origin gets.
    let keys = decide(&shielded(), &mut host, &request("GET", edge::EDGE_KEYS_PATH));
    let keys = edge_token::Jwks::parse(&answered(&keys).body).unwrap();
    let verifier = edge_token::Verifier::new("https://edge.example.com", "mesh");
    let minted = sent_header(forward, "x-edge-token")[0];
    let bound = edge_token::Bound { method: "GET", path_and_query: "/v2/orders?id=7" };
    let claims = verifier.verify(&keys, minted, bound, host.now_ms / 1000).unwrap();
    assert_eq!((claims.sub.as_str(), &claims.jti), ("user-1", &before.correlation_id));
    assert_eq!(claims.selected.keys().collect::<Vec<_>>(), ["tenant"], "POPs keep their own to themselves");
    // And what POPs tell each other is no token for an origin.
    let between = sent_header(sent, "x-edge-token")[0];
    let bound = edge_token::Bound { method: "GET", path_and_query: &sent.target };
    assert!(verifier.verify(&keys, between, bound, host.now_ms / 1000).is_err());
}

#[test]
fn nothing_but_a_whole_and_fresh_proof_makes_a_shield() {
    let first = through_the_first("/x", |_| {});
    let mut honest = as_sent(forwarded(&first));
    // The client's own credential is left out, so that only the proof could let in.
    honest.headers.retain(|(name, _)| name != "authorization");
    let changed_authorization = honest.clone();
    assert_refused(&decide(&shielded(), &mut second_pop(), &changed_authorization), 401, "no_credential");

    let open =
        changed(|item| item["routes"][9]["action"]["forward"]["shield"] = json!("frankfurt-de")).unwrap();
    let first = decide(&open, &mut first_pop(), &bearer("/x", &token("ES256", "ec", &claims(&host()))));
    let honest = as_sent(forwarded(&first));
    assert_eq!(status(&decide(&open, &mut second_pop(), &honest)), 200);
    let tamper = |change: &dyn Fn(&mut IncomingRequest)| {
        let mut request = honest.clone();
        change(&mut request);
        request
    };
    let token = sent_header(forwarded(&first), "x-edge-token")[0].to_owned();
    let replace = |request: &mut IncomingRequest, name: &str, value: &str| {
        request.headers.retain(|(own, _)| own != name);
        request.headers.push((name.into(), value.into()));
    };
    let cases: [(&str, IncomingRequest); 8] = [
        ("another target", tamper(&|request| request.target = "/y".into())),
        ("a query", tamper(&|request| request.target = "/x?a".into())),
        ("another method", tamper(&|request| request.method = "DELETE".into())),
        ("another subject", tamper(&|request| replace(request, "x-auth-sub", "boss"))),
        ("one more claim", tamper(&|request| replace(request, "x-auth-groups", "admin"))),
        (
            "two tokens",
            tamper(&|request| request.headers.push(("x-edge-token".into(), token.clone().into()))),
        ),
        ("no token", tamper(&|request| request.headers.retain(|(name, _)| name != "x-edge-token"))),
        ("Fastly-FF alone", with(request("GET", "/x"), "fastly-ff", "cache-fra1-FRA")),
    ];
    for (what, request) in cases {
        let decided = decide(&open, &mut second_pop(), &request);
        assert_eq!((status(&decided), decided.log.hop), (401, ""), "{what}");
        assert_ne!(decided.log.correlation_id, first.log.correlation_id, "{what}");
    }
    let mut late = second_pop();
    late.now_ms += 91_000;
    assert_refused(&decide(&open, &mut late, &honest), 401, "no_credential");
    // The token of an origin, which every origin has seen, lets nobody in here.
    let direct =
        decide(&open, &mut host(), &bearer("/x", &crate::common::token("ES256", "ec", &claims(&host()))));
    let replayed = as_sent(forwarded(&direct));
    assert_refused(&decide(&open, &mut second_pop(), &replayed), 401, "no_credential");
    // Keys of another edge.
    let mut foreign = second_pop();
    let other = foreign.secrets["edge2"].clone();
    foreign.secrets.insert("edge1".into(), other);
    foreign.secrets.remove("edge2");
    assert_refused(&decide(&open, &mut foreign, &honest), 401, "no_credential");
}

#[test]
fn a_rule_that_changed_between_two_pops_is_not_walked_round() {
    let first = through_the_first("/x", |_| {});
    let newer = |change: &dyn Fn(&mut Value)| {
        changed(|item| {
            for route in [8, 9] {
                item["routes"][route]["action"]["forward"]["shield"] = json!("frankfurt-de");
            }
            item["stamp"]["forward_authorization"] = json!(true);
            change(item);
        })
        .unwrap()
    };
    let request = as_sent(forwarded(&first));
    let denied = newer(&|item| item["routes"][9]["action"] = json!({"deny": {}}));
    assert_refused(&decide(&denied, &mut second_pop(), &request), 403, "denied_by_route");
    // Another rule has its own demands, and the shield asks by them.
    let renamed = newer(&|item| item["routes"][9]["name"] = json!("rest-2"));
    assert_refused(&decide(&renamed, &mut second_pop(), &request), 503, "no_keys");
    // Nobody by name stays nobody.
    let optional = newer(&|item| item["routes"][9]["auth"] = json!("optional"));
    let anonymous = decide(&optional, &mut first_pop(), &crate::common::request("GET", "/x"));
    let request = as_sent(forwarded(&anonymous));
    assert_eq!(decide(&optional, &mut second_pop(), &request).log.verdict.reason, "anonymous");
    assert_refused(&decide(&shielded(), &mut second_pop(), &request), 401, "no_credential");
}

#[test]
fn at_the_shield_itself_and_without_one_requests_go_straight_on() {
    for mut host in [host(), TestHost { shields: vec!["paris-fr".into()], ..host() }] {
        let token = token("ES256", "ec", &claims(&host));
        let decided = decide(&shielded(), &mut host, &bearer("/api/x", &token));
        assert_eq!((forwarded(&decided).shield.as_deref(), decided.log.to_shield), (None, false));
        assert_eq!(forwarded(&decided).target, "/v2/x");
    }
    let error = changed(|item| {
        item["routes"][9]["action"]["forward"]["shield"] = json!("frankfurt-de");
        item.as_object_mut().unwrap().remove("edge_token");
    });
    assert_eq!(error.unwrap_err().at, "routes[9].action.forward.shield");
    let error = changed(|item| {
        item["routes"][9]["action"]["forward"]["shield"] = json!("frankfurt-de");
        item["edge_token"]["claims"] = (0..10).map(|i| format!("c{i}")).collect();
    });
    assert_eq!(error.unwrap_err().at, "edge_token.claims");
}
