//! HTTP/1 as no client speaks it: too many headers, smuggling shapes, pipelines.

use std::io::Write as _;
use std::time::Duration;

use super::wire;
use super::{LINE, limited, neighbour_is_served};
use crate::app::Service;

fn asked(service: &Service, request: &[u8]) -> String {
    let mut stream = wire::connect(service.http, Duration::from_secs(2));
    wire::pour(&mut stream, request);
    String::from_utf8_lossy(&wire::rest(&mut stream).0).into_owned()
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn headers_beyond_every_bound_are_refused() {
    let service = limited("");
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(200 << 10));
    let line = format!("GET /api/v1/traces/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(10 << 20));
    for request in [
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{long}\r\n"),
        line,
    ] {
        let answer = asked(&service, request.as_bytes());
        assert_eq!(count(&answer, "HTTP/1.1 2"), 0, "{answer}");
    }
    neighbour_is_served(&service);
}

#[test]
fn no_request_hides_in_anothers_body() {
    let service = limited("");
    let hidden = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let head = "POST /v1/envoy HTTP/1.1\r\nhost: a\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    for shape in [
        format!("{head}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}", chunked.len()),
        format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\n{chunked}"),
        format!("{head}transfer-encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("{head}transfer-encoding: xchunked\r\n\r\n{chunked}"),
        format!("{head}transfer-encoding : chunked\r\n\r\n{chunked}"),
        format!("{head}content-length: +5\r\n\r\n{chunked}"),
        format!("{head}content-length: 5, 5\r\n\r\n{chunked}"),
        format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{chunked}"),
    ] {
        let answer = asked(&service, shape.as_bytes());
        // RFC 9112, 6.3: chunked overrides a length, and the connection must then not be used again.
        assert_eq!(count(&answer, "ok\n"), 0, "{shape}\n---\n{answer}");
        assert!(count(&answer, "HTTP/1.1 ") <= 1, "{shape}\n---\n{answer}");
    }
    neighbour_is_served(&service);
}

#[test]
fn a_pipeline_is_answered_in_order_and_whole() {
    let service = limited("");
    let body = format!("{LINE}\n");
    let one = format!("POST /v1/envoy HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = wire::connect(service.http, Duration::from_secs(3));
    stream.write_all(one.repeat(100).as_bytes()).unwrap();
    let answer = String::from_utf8_lossy(&wire::rest(&mut stream).0).into_owned();
    assert_eq!((count(&answer, "HTTP/1.1 200"), count(&answer, r#""accepted":1"#)), (100, 100));
    service.wait_stored(100);
}
