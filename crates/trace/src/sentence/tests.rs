//! Tests of [`super`]: a sentence a case, from events as the decoders make them. What a real Envoy wrote is told in
//! `tests/sentence.rs`.

use event::{Direction, Precision};

use super::*;
use crate::{GapReason, Moment, requests};

const MS: u64 = 1_000_000;
const ID: u128 = 0x0192_f0c4_8a4e_7cc3_98c4_dc0c_0c07_398f;

type Event = HopEvent<'static>;

/// A hop that starts so many milliseconds after the edge and lasts so many.
fn hop(hop: Hop, start_ms: i64, lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        tenant: "default".into(),
        hop,
        correlation_id: ID,
        start_ns: 1_795_290_064_000_000_000 + start_ms * MS as i64,
        start_precision: Precision::Microsecond,
        duration_ns: Some(lasts_ms * MS),
        event_key: start_ms as u64 + 1,
        method: "GET".into(),
        host: "shop.example.com".into(),
        path: "/cart".into(),
        status,
        ..HopEvent::default()
    }
}

fn edge(lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        pop: "FRA".into(),
        cache_state: "MISS".into(),
        cache_result: "miss".into(),
        upstream_tx_first_ns: Some(MS),
        ..hop(Hop::Edge, 0, lasts_ms, status)
    }
}

fn shield(lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        pop: "IAD".into(),
        cache_state: "MISS".into(),
        cache_result: "miss".into(),
        ..hop(Hop::Shield, 5, lasts_ms, status)
    }
}

fn gateway(lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        request_id: 7,
        upstream_cluster: "outbound|8080||orders.shop.svc.cluster.local".into(),
        upstream_remote: "10.0.0.5:8080".into(),
        node: "router~10.0.0.1~gw-1.istio-system~x".into(),
        ..hop(Hop::Gateway, 10, lasts_ms, status)
    }
}

fn sidecar(lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        request_id: 7,
        direction: Direction::Inbound,
        workload: "orders".into(),
        node: "sidecar~10.0.0.5~orders-1.shop~x".into(),
        downstream_local: "10.0.0.5:8080".into(),
        upstream_cluster: "inbound|8080||".into(),
        upstream_remote: "127.0.0.1:8080".into(),
        upstream_tx_first_ns: Some(MS),
        upstream_rx_last_ns: Some((lasts_ms - 1) * MS),
        ..hop(Hop::Sidecar, 12, lasts_ms, status)
    }
}

/// A call of the workload behind [`sidecar`].
fn call(lasts_ms: u64, status: u16) -> Event {
    HopEvent {
        request_id: 7,
        direction: Direction::Outbound,
        workload: "orders".into(),
        node: "sidecar~10.0.0.5~orders-1.shop~x".into(),
        path: "/charge".into(),
        upstream_cluster: "outbound|8080||payments.shop.svc.cluster.local".into(),
        ..hop(Hop::Sidecar, 14, lasts_ms, status)
    }
}

fn with(mut event: Event, change: impl FnOnce(&mut Event)) -> Event {
    change(&mut event);
    event
}

fn flagged(event: Event, flags: &'static str, details: &'static str) -> Event {
    with(event, |event| (event.response_flags, event.details) = (flags.into(), details.into()))
}

/// The sentence of events that are one request.
fn told(events: Vec<Event>) -> String {
    let found = requests(events, Moment::FINAL);
    assert_eq!(found.len(), 1, "{found:#?}");
    let sentence = summary(&found[0]);
    assert!(sentence.chars().count() <= SENTENCE_MOST, "{sentence}");
    sentence
}

#[test]
fn success_names_who_answered_and_where_the_time_went() {
    assert_eq!(
        told(vec![edge(48, 200), shield(42, 200), gateway(35, 200), sidecar(33, 200)]),
        "GET shop.example.com/cart was answered 200 in 48 ms by orders behind FRA → IAD → gateway; 31 ms of it in \
         orders."
    );
}

#[test]
fn a_cache_hit_ends_at_the_edge() {
    let hit =
        with(edge(1, 200), |event| (event.cache_state, event.cache_result) = ("HIT".into(), "hit".into()));
    assert_eq!(
        told(vec![hit]),
        "GET shop.example.com/cart was answered 200 in 1 ms from the cache of the edge in FRA (HIT)."
    );
    let hit =
        with(shield(1, 200), |event| (event.cache_state, event.cache_result) = ("HIT".into(), "hit".into()));
    assert_eq!(
        told(vec![edge(20, 200), hit]),
        "GET shop.example.com/cart was answered 200 in 20 ms from the cache of the shield in IAD (HIT) behind FRA."
    );
}

#[test]
fn a_denial_is_told_where_it_was_made() {
    let allowed = || {
        with(edge(20, 403), |event| {
            event.verdict = "allow".into();
            event.subject = "3f2a9c0d11aa22bb33cc44dd55ee66ff".into();
        })
    };
    let policy = "rbac_access_denied_matched_policy[ns[shop]-policy[deny-partners]-rule[0]]";
    let denied = |event: Event| {
        with(event, |event| {
            event.details = policy.into();
            event.verdict = "deny".into();
            event.verdict_rule = "ns[shop]-policy[deny-partners]-rule[0]".into();
            event.verdict_reason = "rbac_access_denied".into();
            event.upstream_remote = "".into();
            event.upstream_tx_first_ns = None;
        })
    };
    assert_eq!(
        told(vec![allowed(), denied(gateway(1, 403))]),
        "GET shop.example.com/cart was refused with 403 at the gateway by policy shop/deny-partners (rule 0) after \
         the edge in FRA had let subject 3f2a9c0d… in; nothing reached the workload; the client saw 403."
    );
    assert_eq!(
        told(vec![edge(20, 403), gateway(3, 403), denied(sidecar(1, 403))]),
        "GET shop.example.com/cart was refused with 403 at orders' sidecar by policy shop/deny-partners (rule 0); \
         nothing reached the workload; the client saw 403."
    );
    let at_edge = with(edge(1, 401), |event| {
        event.upstream_tx_first_ns = None;
        (event.cache_state, event.cache_result) = ("".into(), "".into());
        (event.verdict, event.verdict_rule, event.verdict_reason) =
            ("deny".into(), "require-login".into(), "token_expired".into());
    });
    assert_eq!(
        told(vec![at_edge]),
        "GET shop.example.com/cart was refused with 401 at the edge in FRA by rule require-login (token expired); \
         nothing reached the workload."
    );
}

#[test]
fn a_redirect_of_the_edge_is_no_refusal() {
    let sent_away = with(edge(1, 302), |event| {
        event.upstream_tx_first_ns = None;
        (event.cache_state, event.cache_result) = ("".into(), "".into());
        (event.verdict, event.verdict_rule, event.verdict_reason) =
            ("redirect".into(), "shop".into(), "login_needed".into());
    });
    assert_eq!(
        told(vec![sent_away.clone()]),
        "GET shop.example.com/cart was redirected with 302 at the edge in FRA by rule shop (login needed)."
    );
    assert_eq!(failed_at(&requests(vec![sent_away], Moment::FINAL)[0]), None);
}

#[test]
fn a_timeout_is_told_at_the_hop_that_gave_up() {
    let gave_up = flagged(gateway(3_000, 504), "UT", "response_timeout");
    let left = flagged(sidecar(2_999, 0), "DC", "downstream_remote_disconnect");
    assert_eq!(
        told(vec![edge(3_020, 504), gave_up.clone(), left]),
        "GET shop.example.com/cart was given up by the gateway after 3 s with 504 (UT) while orders had not answered; \
         the client saw 504."
    );
    assert_eq!(
        told(vec![edge(3_020, 504), gave_up]),
        "GET shop.example.com/cart was given up by the gateway after 3 s with 504 (UT) while orders had not answered; \
         the client saw 504; no record of orders' sidecar was seen."
    );
}

#[test]
fn an_edge_that_gives_up_says_what_the_gateway_had_done_by_then() {
    let gave_up = with(edge(15_000, 503), |event| {
        (event.cache_state, event.cache_result) = ("ERROR".into(), "error".into());
    });
    let left = flagged(gateway(14_990, 0), "DC", "downstream_remote_disconnect");
    assert_eq!(
        told(vec![gave_up.clone(), left, flagged(sidecar(14_980, 0), "DC", "downstream_remote_disconnect")]),
        "GET shop.example.com/cart was answered 503 by the edge in FRA itself (ERROR); the gateway had not answered \
         when it was left."
    );
    let passed = with(edge(15_000, 503), |event| event.cache_result = "pass".into());
    assert_eq!(
        told(vec![passed, gateway(30, 200), sidecar(20, 200)]),
        "GET shop.example.com/cart was answered 503 by the edge in FRA; the gateway had answered 200."
    );
    assert_eq!(
        told(vec![gave_up, gateway(30, 200), sidecar(20, 200)]),
        "GET shop.example.com/cart was answered 503 by the edge in FRA itself (ERROR); the gateway had answered 200."
    );
}

#[test]
fn failures_to_reach_an_upstream() {
    let connect = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let refused = with(flagged(gateway(5, 503), "UF,URX", connect), |event| event.attempt = 3);
    assert_eq!(
        told(vec![edge(20, 503), refused]),
        "GET shop.example.com/cart was answered 503 by the gateway: it could not connect to orders in 3 tries \
         (connection refused; UF,URX); the client saw 503."
    );
    let unmet = |flags, details| {
        with(flagged(gateway(1, 503), flags, details), |event| event.upstream_remote = "".into())
    };
    assert_eq!(
        told(vec![edge(20, 503), unmet("UH", "no_healthy_upstream")]),
        "GET shop.example.com/cart was answered 503 by the gateway: no healthy instance of orders (UH); nothing \
         reached the workload; the client saw 503."
    );
    let nowhere = with(unmet("NR", "route_not_found"), |event| {
        (event.status, event.upstream_cluster) = (404, "".into());
    });
    assert_eq!(
        told(vec![with(edge(20, 404), |event| event.path = "/nowhere".into()), nowhere]),
        "GET shop.example.com/nowhere was answered 404 by the gateway: no route matches (NR); nothing reached the \
         workload; the client saw 404."
    );
}

#[test]
fn an_upstream_that_breaks_off() {
    let before = "upstream_reset_before_response_started{connection_termination}";
    assert_eq!(
        told(vec![
            edge(20, 503),
            flagged(gateway(9, 503), "", "via_upstream"),
            flagged(sidecar(5, 503), "UC", before)
        ]),
        "GET shop.example.com/cart was answered 503 by orders' sidecar: orders closed the connection before it \
         answered (UC); the client saw 503."
    );
    let after = "upstream_reset_after_response_started{remote_reset}";
    assert_eq!(
        told(vec![edge(90, 200), flagged(gateway(80, 200), "UR", after)]),
        "GET shop.example.com/cart was broken off in the middle of its 200 answer after 80 ms: orders reset the \
         stream (the gateway) (UR); the client saw 200; no record of orders' sidecar was seen."
    );
}

#[test]
fn retries_are_one_request() {
    let first = with(sidecar(5, 503), |event| {
        event.attempt = 1;
        event.node = "sidecar~10.0.0.6~orders-2.shop~x".into();
        event.downstream_local = "10.0.0.6:8080".into();
        event.start_ns -= MS as i64;
        event.event_key = 99;
    });
    let second =
        with(sidecar(9, 200), |event| (event.attempt, event.start_ns) = (2, event.start_ns + 10 * MS as i64));
    let retried = with(gateway(30, 200), |event| event.attempt = 2);
    assert_eq!(
        told(vec![edge(48, 200), retried, first, second]),
        "GET shop.example.com/cart was answered 200 on the second try in 48 ms by orders behind FRA → gateway; 7 ms \
         of it in orders; the first failed with 503."
    );
}

#[test]
fn a_client_that_left() {
    assert_eq!(
        told(vec![
            flagged(
                with(gateway(400, 0), |event| event.correlation_id = 0),
                "DC",
                "downstream_remote_disconnect"
            ),
            flagged(
                with(sidecar(397, 0), |event| event.correlation_id = 0),
                "DC",
                "downstream_remote_disconnect"
            )
        ]),
        "GET shop.example.com/cart was abandoned by its client after 400 ms, before any answer (the gateway says so: \
         DC)."
    );
    let unread = with(edge(48, 200), |event| event.completed = Some(false));
    assert_eq!(
        told(vec![unread, gateway(35, 200), sidecar(33, 200)]),
        "GET shop.example.com/cart was answered 200 in 48 ms by orders behind FRA → gateway; 31 ms of it in orders; \
         the client did not take the whole answer."
    );
}

#[test]
fn the_workload_fails_and_so_did_its_call() {
    let refused = flagged(
        call(3, 503),
        "UF",
        "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
    );
    assert_eq!(
        told(vec![edge(48, 500), gateway(35, 500), sidecar(33, 500), refused]),
        "GET shop.example.com/cart was answered 500 by orders; the client saw 500; a call of orders to payments, GET \
         /charge, was answered 503 by orders' sidecar: it could not connect to payments (connection refused; UF)."
    );
}

#[test]
fn a_grpc_error_hides_under_200() {
    let grpc = |event| with(event, |event: &mut Event| event.grpc_status = Some(5));
    assert_eq!(
        told(vec![edge(20, 200), grpc(gateway(9, 200)), grpc(sidecar(7, 200))]),
        "GET shop.example.com/cart was answered with gRPC status 5 NOT_FOUND (under HTTP 200) by orders; the client \
         saw 200."
    );
}

#[test]
fn a_failure_is_counted_where_it_was_caused() {
    let events = vec![edge(3_020, 504), flagged(gateway(3_000, 504), "UT", "response_timeout")];
    let found = requests(events, Moment::FINAL);
    assert_eq!(failed_at(&found[0]), Some(Failed { span: 1, what: "timed_out" }));
    assert_eq!(failed_at(&requests(vec![edge(48, 200)], Moment::FINAL)[0]), None);
}

#[test]
fn what_is_still_running_is_not_told_as_ended() {
    let running = with(gateway(1_500, 200), |event| {
        event.correlation_id = 0;
        event.intermediate = true;
        event.log_type = "DownstreamPeriodic".into();
        event.response_bytes = Some(300);
    });
    assert_eq!(
        told(vec![running]),
        "GET shop.example.com/cart was still running after 1.5 s when the gateway last told of it; 200 and 300 bytes \
         so far."
    );
}

#[test]
fn a_line_without_an_end_claims_no_failure() {
    let begun = with(gateway(0, 0), |event| event.correlation_id = 0);
    let found = requests(vec![begun], Moment::FINAL);
    assert_eq!(failed_at(&found[0]), None);
    assert!(
        summary(&found[0]).starts_with(
            "GET shop.example.com/cart was still running when the gateway last told of it; no answer so far"
        ),
        "{}",
        summary(&found[0])
    );
}

#[test]
fn fastly_restarts_and_missing_hops_are_said() {
    let restarted = with(edge(48, 200), |event| event.restarts = Some(2));
    assert_eq!(
        told(vec![restarted]),
        "GET shop.example.com/cart was answered 200 in 48 ms behind FRA; the edge in FRA restarted it 2 times; no \
         record of the gateway was seen."
    );
    assert_eq!(
        told(vec![gateway(35, 200), sidecar(33, 200)]),
        "GET shop.example.com/cart was answered 200 in 35 ms by orders behind the gateway; 31 ms of it in orders; no \
         record of the edge was seen."
    );
    let als = with(gateway(35, 200), |event| event.format = "envoy-als-http".into());
    assert_eq!(
        told(vec![edge(48, 200), als]),
        "GET shop.example.com/cart was answered 200 in 48 ms by orders behind FRA → gateway; no record of orders' \
         sidecar was seen (its sender gives no acknowledgement)."
    );
}

#[test]
fn what_may_still_come_is_no_loss() {
    let moment = Moment { now_ns: 2, settle_ns: 10 };
    let found = requests(vec![edge(48, 200)], moment);
    assert_eq!(found[0].gaps[0].reason, GapReason::Settling);
    assert!(
        summary(&found[0]).ends_with("behind FRA; more records may still come."),
        "{}",
        summary(&found[0])
    );
}

#[test]
fn hostile_text_stays_in_its_place() {
    let sentence = told(vec![with(edge(48, 200), |event| {
        event.path = format!("/\u{1b}[2J\n\u{202e}{}", "x".repeat(5_000)).into();
        event.pop = "A\u{7}".into();
    })]);
    assert!(!sentence.contains(['\u{1b}', '\n', '\u{202e}', '\u{7}']), "{sentence:?}");
    assert!(sentence.contains("/\\u{1b}[2J\\u{a}"), "{sentence}");
}
