//! Answers of receivers as they come over the wire, and what they mean.

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn grpc(code: u32, more: &[(&'static str, &str)]) -> Answer {
    let code = code.to_string();
    let trailers = headers(&[&[("grpc-status", code.as_str()), ("grpc-message", "words")], more].concat());
    of_grpc(StatusCode::OK, &HeaderMap::new(), Some(&trailers), &Bytes::new())
}

fn details(delay: Option<Delay>) -> String {
    let value = RetryInfo { retry_delay: delay }.encode_to_vec();
    let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value };
    let status = RpcStatus { code: 8, message: "full".into(), details: vec![Any::default(), any] };
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec())
}

#[test]
fn grpc_codes_mean_what_the_specification_says() {
    for code in [1, 4, 10, 14, 15] {
        assert!(matches!(grpc(code, &[]), Answer::Later { pause: None, .. }), "{code}");
    }
    for code in [2, 3, 5, 6, 7, 9, 12, 13, 16, 99] {
        assert!(matches!(grpc(code, &[]), Answer::Never { .. }), "{code}");
    }
    assert_eq!(grpc(3, &[]), Answer::Never { why: "gRPC INVALID_ARGUMENT words".into() });
    let trailers = headers(&[("grpc-status", "3"), ("grpc-message", "bad%20span%3A 100%, %c3%A4%zz%")]);
    let answer = of_grpc(StatusCode::OK, &HeaderMap::new(), Some(&trailers), &Bytes::new());
    assert_eq!(answer, Answer::Never { why: "gRPC INVALID_ARGUMENT bad span: 100%, ä%zz%".into() });
    assert!(matches!(grpc(8, &[]), Answer::TooLarge { .. }));
    assert!(matches!(grpc(11, &[]), Answer::TooLarge { .. }));
}

#[test]
fn retry_info_makes_exhaustion_a_matter_of_time() {
    let in_two = details(Some(Delay { seconds: 2, nanos: 500_000_000 }));
    let pause = Some(Duration::from_millis(2500));
    assert_eq!(
        grpc(8, &[("grpc-status-details-bin", &in_two)]),
        Answer::Later { why: "gRPC RESOURCE_EXHAUSTED words".into(), pause }
    );
    let at_once = details(None);
    assert!(matches!(
        grpc(14, &[("grpc-status-details-bin", &at_once)]),
        Answer::Later { pause: Some(Duration::ZERO), .. }
    ));
    let never = details(Some(Delay { seconds: i64::MAX, nanos: 0 }));
    assert!(matches!(
        grpc(8, &[("grpc-status-details-bin", &never)]),
        Answer::Later { pause: Some(LONGEST_PAUSE), .. }
    ));
    assert!(matches!(grpc(8, &[("grpc-status-details-bin", "!!")]), Answer::TooLarge { .. }));
}

#[test]
fn a_status_may_stand_in_the_head_and_a_proxy_may_have_none() {
    let head = headers(&[("grpc-status", "14")]);
    assert!(matches!(of_grpc(StatusCode::OK, &head, None, &Bytes::new()), Answer::Later { .. }));
    let none = HeaderMap::new();
    let later =
        of_grpc(StatusCode::SERVICE_UNAVAILABLE, &headers(&[("retry-after", "7")]), None, &Bytes::new());
    assert!(matches!(later, Answer::Later { pause: Some(pause), .. } if pause.as_secs() == 7));
    assert!(matches!(of_grpc(StatusCode::FORBIDDEN, &none, None, &Bytes::new()), Answer::Never { .. }));
}

#[test]
fn partial_success_is_told() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too\nold".into() };
    let response = ExportTraceServiceResponse { partial_success: Some(partial) };
    let body: Bytes = response.encode_to_vec().into();
    let expected = Answer::Taken { refused: 3, message: "too old".into() };
    assert_eq!(of_http(StatusCode::OK, &HeaderMap::new(), &body), expected);
    let framed: Bytes = [&[0, 0, 0, 0, body.len() as u8][..], &body].concat().into();
    let trailers = headers(&[("grpc-status", "0")]);
    assert_eq!(of_grpc(StatusCode::OK, &HeaderMap::new(), Some(&trailers), &framed), expected);
    let nothing = Answer::Taken { refused: 0, message: String::new() };
    assert_eq!(of_http(StatusCode::OK, &HeaderMap::new(), &Bytes::new()), nothing);
}

#[test]
fn http_statuses_mean_what_the_specification_says() {
    let asked = headers(&[("retry-after", "3")]);
    for status in [429, 502, 503, 504] {
        let answer = of_http(StatusCode::from_u16(status).unwrap(), &asked, &Bytes::new());
        assert!(
            matches!(answer, Answer::Later { pause: Some(pause), .. } if pause.as_secs() == 3),
            "{status}"
        );
    }
    for status in [301, 400, 401, 403, 404, 500, 501] {
        let answer = of_http(StatusCode::from_u16(status).unwrap(), &asked, &Bytes::new());
        assert!(matches!(answer, Answer::Never { .. }), "{status}");
    }
    let message: Bytes =
        RpcStatus { code: 3, message: "bad span".into(), ..Default::default() }.encode_to_vec().into();
    let why = "HTTP 400 Bad Request bad span".to_owned();
    assert_eq!(of_http(StatusCode::BAD_REQUEST, &asked, &message), Answer::Never { why });
}
