//! What goes on to the origin: nothing that a client could forge, and what the edge says so that it reads one way.

use crate::common::*;
use edge::decide;
use serde_json::{Value, json};

#[test]
fn attack_trusted_header_smuggling() {
    let names = [
        "x-auth-sub",
        "X-AUTH-SUB",
        "x_auth_sub",
        "X_Auth-Sub",
        "x-auth-sub ",
        " x-auth-sub",
        "x-user",
        "X-USER",
        "x_user",
        "x-user ",
        "x-user-id",
        "x-tenant",
        "X_TENANT",
        "x-acme-role",
        "x_acme_role",
        "x-edge-token",
        "x_edge_token",
        "x-edge-anything",
        "x-auth-groups",
        "remote_user",
        "x-correlation_id",
        "X-Correlation-Id",
    ];
    let base = bearer("/x", &good());
    let forged = names.iter().fold(base, |all, name| with(with(all, name, "forged"), name, "forged too"));
    let decided = decide(&config(), &mut host(), &forged);
    let forward = forwarded(&decided);
    for (name, value) in &forward.headers {
        let text = String::from_utf8_lossy(value);
        assert!(!text.contains("forged"), "{name}: {text}");
    }
    assert_eq!(sent_header(forward, "x-auth-sub"), ["user-1"]);
    assert_eq!(sent_header(forward, "x-correlation-id"), [decided.log.correlation_id.as_str()]);
    // Without a claim there is no header, and no room for a forged one.
    assert!(sent_header(forward, "x-auth-groups").is_empty());
    // Nor on a public route.
    let open = names.iter().fold(request("GET", "/health"), |all, name| with(all, name, "forged"));
    let decided = decide(&config(), &mut host(), &open);
    assert!(!forwarded(&decided).headers.iter().any(|(_, value)| value == b"forged"));
}

#[test]
fn attack_hop_by_hop_headers() {
    let named = "close, X-Auth-Sub, x-custom, x_edge_token, traceparent, X-Correlation-ID, x-forwarded-for";
    let forged = with(with(bearer("/x", &good()), "Connection", named), "x-custom", "for this hop");
    let forged = with(with(with(forged, "te", "trailers"), "transfer-encoding", "chunked"), "upgrade", "h2c");
    let forged = with(with(forged, "proxy-connection", "x"), "content-length", "7");
    let decided = decide(&config(), &mut host(), &forged);
    let forward = forwarded(&decided);
    for name in
        ["connection", "x-custom", "te", "transfer-encoding", "upgrade", "proxy-connection", "content-length"]
    {
        assert!(sent_header(forward, name).is_empty(), "{name}");
    }
    for name in ["x-auth-sub", "x-edge-token", "traceparent", "x-correlation-id", "x-forwarded-for"] {
        assert_eq!(sent_header(forward, name).len(), 1, "{name}");
    }
}

#[test]
fn attack_spoofed_proxy_headers() {
    let names = [
        "Fastly-Client-IP",
        "Fastly-FF",
        "Fastly-SSL",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "X-Real-IP",
        "x-envoy-internal",
        "x-envoy-original-path",
        "x-envoy-external-address",
        "x-amzn-oidc-data",
        "x-amzn-oidc-identity",
        "x-edge-jwt",
        "traceparent",
        "tracestate",
        "x-request-id",
        "true-client-ip",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "x_forwarded_for",
        "baggage",
        "b3",
    ];
    let forged = names.iter().fold(bearer("/x", &good()), |all, name| with(all, name, "6.6.6.6"));
    let decided = decide(&config(), &mut host(), &forged);
    let forward = forwarded(&decided);
    assert!(!forward.headers.iter().any(|(_, value)| value == b"6.6.6.6"));
    assert_eq!(sent_header(forward, "x-forwarded-for"), ["198.51.100.7"]);
    assert_eq!(sent_header(forward, "x-forwarded-proto"), ["https"]);
    assert_eq!(sent_header(forward, "x-forwarded-host"), ["www.example.com"]);
    // A valid foreign trace is linked, not joined.
    let foreign = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let decided = decide(&config(), &mut host(), &with(bearer("/x", &good()), "traceparent", foreign));
    assert!(!sent_header(forwarded(&decided), "traceparent")[0].contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(decided.log.links, [foreign]);
}

#[test]
fn attack_claim_injection_into_headers() {
    let mut base = claims(&host());
    base["groups"] = json!(["a,b", "c%d", "é", "x y"]);
    base["name"] = json!("Zoë\u{1F600}");
    let decided = judge(&token("ES256", "ec", &base));
    assert_eq!(sent_header(forwarded(&decided), "x-auth-groups"), ["a%2Cb,c%25d,%C3%A9,x%20y"]);
    assert_eq!(sent_header(forwarded(&decided), "x-auth-name"), [b64("Zoë\u{1F600}").as_str()]);
    for groups in [
        json!("a\r\nx-auth-sub: boss"),
        json!(["ok", "a\nb"]),
        json!("\u{0}"),
        json!({"a": 1}),
        json!([["a"]]),
        json!("x".repeat(65)),
        json!(null),
    ] {
        base["groups"] = groups.clone();
        let decided = judge(&token("ES256", "ec", &base));
        assert!(sent_header(forwarded(&decided), "x-auth-groups").is_empty(), "{groups}");
    }
    let mut subject = claims(&host());
    for sub in [json!("a\r\nb"), json!(""), json!(7), json!("x".repeat(256))] {
        subject["sub"] = sub;
        assert_refused(&judge(&token("ES256", "ec", &subject)), 401, "bad_claims");
    }
}

#[test]
fn attack_request_smuggling() {
    let odd = with(with(bearer("/x", &good()), "Transfer-Encoding", "chunked"), "Content-Length", "5");
    let odd = with(with(odd, "x-bad\r\nx-auth-sub", "boss"), "x-ok", "a\r\nx-auth-sub: boss");
    let decided = decide(&config(), &mut host(), &odd);
    let forward = forwarded(&decided);
    for (name, value) in &forward.headers {
        assert!(
            !name.contains(['\r', '\n', ' ', ':']) && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
        );
    }
    assert!(
        sent_header(forward, "transfer-encoding").is_empty()
            && sent_header(forward, "content-length").is_empty()
    );
}

#[test]
fn trusted_headers_by_other_names_and_spellings_stay_out() {
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
fn two_members_of_a_claim_are_not_one_with_a_separator() {
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
fn an_id_of_zeros_is_no_correlation_id() {
    let item = changed(|item| item["stamp"]["trusted_upstreams"] = json!(["198.51.100.7"])).unwrap();
    let zeros = with(bearer("/x", &good()), "x-correlation-id", "00000000-0000-0000-0000-000000000000");
    assert!(!decide(&item, &mut host(), &zeros).log.correlation_id.starts_with("00000000-"));
}

#[test]
fn a_connection_header_costs_no_more_than_its_place() {
    let few = (0..64).map(|i| format!("x-hop-{i}")).collect::<Vec<_>>().join(",");
    let request = with(with(bearer("/x", &good()), "connection", &few), "x-hop-63", "for this hop");
    let decided = decide(&config(), &mut host(), &request);
    assert!(sent_header(forwarded(&decided), "x-hop-63").is_empty());
    let many = with(bearer("/x", &good()), "connection", format!("{few},x-hop-64"));
    assert_refused(&decide(&config(), &mut host(), &many), 431, "headers_too_large");
}

#[test]
fn of_the_traces_that_begin_here_a_share_is_sampled() {
    let sampled = |percent: u8| {
        let config = changed(|item| item["stamp"]["sampled_percent"] = json!(percent)).unwrap();
        let mut host = host();
        let begun = (0..500).map(|_| decide(&config, &mut host, &request("GET", "/health")));
        begun.filter(|decided| decided.log.traceparent.ends_with("-01")).count()
    };
    assert_eq!((sampled(0), sampled(100)), (0, 500));
    let share = sampled(10);
    assert!((25..80).contains(&share), "{share} of 500 at 10 %");
}
