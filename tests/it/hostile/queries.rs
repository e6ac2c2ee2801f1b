//! Questions that ask for too much.

use std::time::{Duration, Instant};

use super::{LINE, assert_grew_at_most, limited, memory_kib, neighbour_is_served};

/// So many requests, each with an id of its own.
fn distinct(count: u32) -> String {
    (0..count).map(|n| LINE.replace("7d1f0b6f8a11", &format!("{n:012x}")) + "\n").collect()
}

#[test]
fn no_question_costs_more_than_its_bounds() {
    let service = limited("");
    service.accept("/v1/envoy", distinct(5_000));
    service.wait_stored(5_000);
    let before = memory_kib(&service).0;
    let long = "a".repeat(50_000);
    let deep = format!("%7B{}1%3D1{}%7D", "(".repeat(20_000), ")".repeat(20_000));
    let not = format!("%7B{}true%7D", "!".repeat(40_000));
    let regex = "(((((a%2B)%2B)%2B)%2B)%2B)%2B%24";
    let repeated = "(x%7B1000%7D)%7B1000%7D";
    for path in [
        format!("/api/v1/traces/{long}"),
        format!("/api/v1/traces/{long}/why?a=b&b={}", &long[..10]),
        "/api/v1/traces/%00%0a%1b".to_owned(),
        "/api/v1/events?limit=18446744073709551615".to_owned(),
        "/api/v1/events?limit=-1".to_owned(),
        "/api/v1/events?limit=999999999999999999999999".to_owned(),
        format!("/api/v1/events?path_prefix={long}"),
        "/api/v1/events?path_prefix=%25%25%25%5C%27%3B--".to_owned(),
        "/api/v1/events?min_duration_ms=NaN".to_owned(),
        "/api/v1/events?min_duration_ms=1e308".to_owned(),
        "/api/v1/events?since=9223372036854775807s".to_owned(),
        "/api/v1/events?since=%E2%82%AC".to_owned(),
        format!("/api/v1/events?after={}", "f".repeat(48)),
        "/api/v1/rejects?limit=18446744073709551615".to_owned(),
        format!("/tempo/api/search?q=%7Bname%3D~%22{regex}%22%7D"),
        format!("/tempo/api/search?q=%7Bname%3D~%22{repeated}%22%7D"),
        format!("/tempo/api/search?q={deep}"),
        format!("/tempo/api/search?q={not}"),
        "/tempo/api/search?limit=18446744073709551615&spss=18446744073709551615".to_owned(),
        format!("/tempo/api/search?tags={}", "a=b%20".repeat(5_000)),
        format!("/tempo/api/v2/traces/{long}"),
    ] {
        let begun = Instant::now();
        let (status, answer) = service.get(&path);
        let shown: String = path.chars().take(80).collect();
        assert!(matches!(status, 200 | 400 | 404 | 414 | 431), "{shown}: {status} {answer}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{shown}: {:?}", begun.elapsed());
        // An answer does not throw a long question back.
        assert!(status == 200 || answer.len() < 8 << 10, "{shown}: {} bytes of {status}", answer.len());
    }
    assert_grew_at_most(&service, before, 128);
    neighbour_is_served(&service);
}

#[test]
fn a_crowd_that_asks_for_everything_waits_and_receiving_does_not() {
    let service = limited("");
    service.accept("/v1/envoy", distinct(3_000));
    service.wait_stored(3_000);
    let before = memory_kib(&service).0;
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let service = &service;
        let ask = || service.get("/api/v1/events?limit=3000").0;
        let crowd: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
        let mut worst = Duration::ZERO;
        while crowd.iter().any(|one| !one.is_finished()) {
            worst = worst.max(neighbour_is_served(service));
            assert_eq!(service.get("/healthz").0, 200);
        }
        eprintln!("the slowest delivery beside the crowd: {worst:?}");
        crowd.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|status| matches!(status, 200 | 503)), "{answers:?}");
    assert!(answers.contains(&200), "{answers:?}");
    assert_grew_at_most(&service, before, 300);
}
