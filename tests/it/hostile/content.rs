//! Log lines that were written to do harm where they are read: in a terminal, in a browser, in the service's own log.

use super::{assert_grew_at_most, limited, memory_kib, neighbour_is_served};
use crate::app::eventually;

/// Escape sequences, an overridden direction, a NUL, line breaks, markup, a formula.
const NASTY: &str = "/\\u001b[2J\\u001b]0;owned\\u0007\\u202egnp\\u0000\\n2026-11-22T00:00:00Z  INFO forged\\r<script>alert(1)</script>,=cmd|' /C calc'!A0";
const ID: &str = "8e3bd1f2-94f1-4e37-a6a1-7d1f0b6f8a77";

fn line(path: &str, agent: &str) -> String {
    format!(
        r#"{{"start_time":"2026-11-22T07:00:00.000Z","method":"GET","path":"{path}","protocol":"HTTP/1.1","response_code":503,"response_flags":"UF","bytes_received":0,"bytes_sent":10,"duration":5,"user_agent":"{agent}","request_id":"{ID}","authority":"shop.example.com","upstream_cluster":"{path}"}}"#
    )
}

#[test]
fn nothing_that_a_line_holds_moves_a_cursor_or_a_browser_or_forges_a_log_line() {
    let service = limited("");
    service.accept("/v1/envoy", line(NASTY, NASTY) + "\n");
    eventually("the event is found", || {
        (service.get(&format!("/api/v1/traces/{ID}")).0 == 200).then_some(())
    });
    for arguments in [
        &["trace", ID][..],
        &["trace", ID, "--json"],
        &["search", "--status", "503"],
        &["search", "--json", "--path-prefix", "/\u{1b}[2J"],
    ] {
        let output = service.cli(arguments);
        for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let bad = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
            // JSON that is piped to a program is exact, but for controls, which JSON escapes anyway.
            let exact = arguments.contains(&"--json") && bad == Some('\u{202e}');
            assert!(bad.is_none() || exact, "{arguments:?} {stream}: {bad:?} in {text}");
            assert!(
                !text.lines().any(|line| line.starts_with("2026-11-22T00:00:00Z")),
                "{arguments:?}: {text}"
            );
        }
    }
    let client = reqwest::blocking::Client::new();
    for (path, kind) in [
        (format!("/api/v1/traces/{ID}"), "application/json"),
        ("/api/v1/events?status=503".to_owned(), "application/json"),
        ("/api/v1/traces/%3Cscript%3E".to_owned(), "application/problem+json"),
        ("/%3Cscript%3E".to_owned(), "application/problem+json"),
        ("/tempo/api/search?q=%7B%7D".to_owned(), "application/json"),
        ("/healthz".to_owned(), "text/plain"),
        ("/readyz".to_owned(), "text/plain"),
        ("/metrics".to_owned(), "application/openmetrics-text"),
    ] {
        let answer = client.get(service.url() + &path).send().unwrap();
        let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert!(of("content-type").is_some_and(|said| said.starts_with(kind)), "{path}: {answer:?}");
        assert_eq!(of("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
    // What is asked for may come back in an error of the store.
    for query in
        ["q=%7Bname%3D~%22(%0A2026-11-22T00:00:00Z%20forged%22%7D", "q=%7Bname%3D~%22%5B%0Aforged%22%7D"]
    {
        let (status, answer) = service.get(&format!("/tempo/api/search?{query}"));
        assert!(status == 400 || status == 200, "{status}: {answer}");
    }
    let log = service.log.lock().unwrap().clone();
    assert!(log.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{log}");
    assert!(
        !log.contains('\u{1b}') && !log.lines().any(|line| line.contains("00:00:00Z  INFO forged")),
        "{log}"
    );
}

#[test]
fn shapes_that_break_parsers_are_one_record_each() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let nested = format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let arrays = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let keys: String = (0..50_000).map(|n| format!("\"k{n}\":1,")).collect();
    let same = "\"path\":\"/a\",".repeat(20_000);
    let shapes: Vec<Vec<u8>> = vec![
        nested.into_bytes(),
        arrays.into_bytes(),
        line("/huge", &"x".repeat(900 << 10)).into_bytes(),
        line("/larger", &"x".repeat(5 << 20)).into_bytes(),
        format!("{{{keys}\"path\":\"/\"}}").into_bytes(),
        format!("{{{same}\"method\":\"GET\"}}").into_bytes(),
        [line("/bytes", "").into_bytes(), vec![0xff, 0xfe, 0x00, 0xc0, 0x80]].concat(),
        b"{\"path\":\"\xed\xa0\x80\xff\",\"response_code\":200}".to_vec(),
        vec![0; 100_000],
        vec![b'{'; 100_000],
        vec![b'"'; 100_000],
        b"\\".repeat(100_000),
        format!("{{\"duration\":{}}}", "9".repeat(100_000)).into_bytes(),
        b"{\"duration\":1e999999999}".to_vec(),
    ];
    for (nth, shape) in shapes.iter().enumerate() {
        for path in ["/v1/envoy", "/v1/fastly"] {
            let body =
                [shape.as_slice(), b"\n", line(&format!("/after/{nth}"), "").as_bytes(), b"\n"].concat();
            let (status, answer) = service.post(path, &[], body);
            assert_eq!(status, 200, "{path} {nth}: {answer}");
            let receipt: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let total = receipt["accepted"].as_u64().unwrap() + receipt["rejected"].as_u64().unwrap();
            assert!(total >= 2 && receipt["accepted"].as_u64().unwrap() >= 1, "{path} {nth}: {answer}");
        }
        let json = [("content-type", "application/json")];
        let (status, answer) = service.post("/v1/logs", &json, shape.clone());
        assert!(status == 200 || status == 400, "/v1/logs {nth}: {status} {answer}");
    }
    assert_grew_at_most(&service, before, 96);
    neighbour_is_served(&service);
}
