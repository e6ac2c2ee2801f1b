//! TraceQL: what is understood, what is refused and how, and that nothing makes the reader panic.

use ::trace::Moment;
use event::{Direction, Hop, HopEvent};
use proptest::prelude::*;

use super::*;

/// What Grafana's search form and query editor write, and forms of the language that mean the same.
const UNDERSTOOD: &[&str] = &[
    "{}",
    "{ }",
    "{ true }",
    r#"{resource.service.name="cart" && name="GET"}"#,
    r#"{(resource.service.name="cart" || resource.service.name="gateway") && status=error}"#,
    r#"{resource.service.name=~"cart|gateway" && duration>100ms && traceDuration<1.5s}"#,
    r#"{.http.request.method != "GET"}"#,
    r#"{ span."http.route" = "/a b" }"#,
    r#"{ span.url.path =~ "/users/\\d+" }"#,
    "{ span.url.path = `raw \\d` }",
    "{ span.http.response.status_code >= 500 || span.http.response.status_code = 429 }",
    "{ 500 <= span.http.response.status_code }",
    "{ span.throughline.sample_rate > 1.5 && span.throughline.completed = true }",
    "{ span.throughline.completed }",
    "{ span.error.type != nil && resource.k8s.pod.name = nil }",
    r#"{ kind = server && span:kind != client && trace:rootService = "edge" && rootName =~ "G.*" }"#,
    r#"{ trace:id = "0af7651916cd43dd8448eb211c80319c" || span:id = "00f067aa0ba902b7" }"#,
    r#"({ kind = server } && { kind = client }) || { status = error }"#,
    r#"{ kind = server } | select(resource.service.name, span.url.path, name)"#,
    r#"{ kind = server } with (most_recent=true)"#,
    r#"{ span.throughline.attribute.x-request-start = "7" }"#,
    "{ .no.such.attribute = 5 }",
];

/// What is refused, and a word of the sentence that says why.
const REFUSED: &[(&str, &str)] = &[
    ("", "`{`"),
    ("status = error", "`{`"),
    ("{", "a field"),
    ("{ status = error", "`}`"),
    ("{ status = }", "a value"),
    ("{ status error }", "a comparison"),
    ("{ nothing = 5 }", "no field"),
    ("{ .a = .b }", "a value"),
    ("{ .a + 1 = 2 }", "a comparison"),
    ("{ !true }", "`!`"),
    ("{ .a =~ 5 }", "in quotes"),
    (r#"{ .a =~ "(" }"#, "no regular expression"),
    (r#"{ .a =~ "(a{1000}){1000}" }"#, "too large"),
    ("{ .a > nil }", "nil"),
    ("{ .a = 5parsecs }", "time span"),
    (r#"{ .a = "open }"#, "closing quote"),
    ("{ event.name = 1 }", "scope"),
    ("{ parent.a = 1 }", "scope"),
    ("{} >> {}", "`>>`"),
    ("{} > {}", "the end"),
    ("{} | count() > 1", "`select`"),
    ("{} | rate()", "`select`"),
    ("{} | by(.a)", "`select`"),
    ("{} {}", "the end"),
];

#[test]
fn what_people_and_grafana_write_is_understood() {
    for query in UNDERSTOOD {
        if let Err(refused) = parse(query) {
            panic!("{query}: {refused}");
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    for (query, why) in REFUSED {
        let refused = parse(query).err().unwrap_or_else(|| panic!("{query} is understood"));
        assert!(refused.what.contains(why), "{query}: {refused}");
        assert!(refused.at <= query.len());
    }
}

#[test]
fn a_query_is_bounded_in_length_depth_and_conditions() {
    let nested = |depth: usize| format!("{{ {}.a = 1{} }}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok() && parse(&nested(MAX_DEPTH + 1)).is_err());
    let many = |conditions: usize| format!("{{ {} }}", vec![".a = 1"; conditions].join(" && "));
    assert!(parse(&many(MAX_CONDITIONS)).is_ok() && parse(&many(MAX_CONDITIONS + 1)).is_err());
    assert!(parse(&format!("{{ .a = \"{}\" }}", "x".repeat(MAX_QUERY_BYTES))).is_err());
    // Deep enough to end any stack, were the bound not looked at first.
    assert!(parse(&"(".repeat(MAX_QUERY_BYTES)).is_err());
}

#[test]
fn a_query_that_is_being_typed_filters_by_what_is_there() {
    let conditions = |query: &str| parse_lenient(query).map(|query| query.fields().len());
    assert_eq!(conditions(r#"{ resource.service.name = "cart" && .a = }"#), Some(1));
    assert_eq!(conditions(r#"{ resource.service.name = "cart" && "#), Some(1));
    assert_eq!(conditions("{ .a = }"), Some(0));
    assert_eq!(conditions("nonsense"), None);
}

/// A gateway that answers 503 and the sidecar that it called, under an edge without a status.
fn request() -> ::trace::Request {
    let at = |event_key: u64, hop, direction, service: &'static str, status| HopEvent {
        event_key,
        hop,
        direction,
        service: service.into(),
        status,
        method: "GET".into(),
        correlation_id: 9,
        start_ns: event_key as i64 * 1_000_000,
        duration_ns: Some(200_000_000 / event_key),
        attributes: vec![("colour".into(), "Red".into())],
        ..HopEvent::default()
    };
    let events = vec![
        at(1, Hop::Edge, Direction::Unknown, "shop", 0),
        at(2, Hop::Gateway, Direction::Outbound, "ingress", 503),
        at(3, Hop::Sidecar, Direction::Inbound, "cart", 503),
    ];
    ::trace::requests(events, Moment::FINAL).remove(0)
}

fn spans(query: &str) -> Vec<usize> {
    parse(query).unwrap().spans(&Trace::new(&request()))
}

#[test]
fn a_trace_fits_by_its_spans() {
    assert_eq!(spans("{}"), [0, 1, 2]);
    assert_eq!(spans("{ status = error }"), [1, 2]);
    assert_eq!(spans("{ span.http.response.status_code >= 500 && resource.service.name = \"cart\" }"), [2]);
    assert_eq!(spans("{ resource.service.name = \"cart\" || resource.service.name = \"shop\" }"), [0, 2]);
    assert_eq!(spans("{ resource.service.name =~ \"c.*|sho\" }"), [2], "a pattern fits the whole text");
    assert_eq!(spans("{ duration > 90ms }"), [0, 1]);
    assert_eq!(spans("{ rootServiceName = \"shop\" && status = error }"), [1, 2]);
    assert_eq!(spans("{ traceDuration > 199ms && traceDuration <= 200ms }"), [0, 1, 2]);
    assert_eq!(spans("{ span.throughline.attribute.colour = \"Red\" }"), [0, 1, 2]);
    assert_eq!(
        spans("{ span.throughline.correlation_id = \"00000000000000000000000000000009\" }"),
        [0, 1, 2]
    );
}

#[test]
fn spansets_are_of_one_trace_and_not_of_one_span() {
    assert_eq!(spans("{ resource.service.name = \"shop\" } && { status = error }"), [0, 1, 2]);
    assert!(spans("{ resource.service.name = \"shop\" && status = error }").is_empty());
    assert!(spans("{ resource.service.name = \"shop\" } && { kind = client }").is_empty());
    assert_eq!(spans("{ kind = client } || { status = error }"), [1, 2]);
}

#[test]
fn what_a_span_does_not_say_fits_no_comparison() {
    // The edge has no status: 0 means that none was sent.
    assert_eq!(spans("{ span.http.response.status_code != 200 }"), [1, 2]);
    assert_eq!(spans("{ span.http.response.status_code = nil }"), [0]);
    assert_eq!(spans("{ span.http.response.status_code != nil }"), [1, 2]);
    assert!(spans("{ span.http.response.status_code = \"503\" }").is_empty(), "a number is no text");
    assert!(spans("{ .no.such != 1 }").is_empty());
    assert_eq!(spans("{ .no.such = nil }"), [0, 1, 2]);
}

/// Pieces that queries are made of, sound and otherwise.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "(",
        ")",
        "&&",
        "||",
        "|",
        "=",
        "!=",
        "=~",
        "!~",
        "<",
        ">",
        ">=",
        ",",
        "select",
        "with",
        "nil",
        "true",
        "status",
        "error",
        "duration",
        "100ms",
        "1.5s",
        "-1",
        "5",
        "1.5",
        ".a",
        "span.",
        "resource.",
        "span.\"a b\"",
        "resource.service.name",
        "trace:id",
        "rootName",
        "\"text\"",
        "\"(\"",
        "`raw`",
        "\"",
        "\\",
        "!",
        ">>",
        "~",
        "é",
        "\u{0}",
        "..",
        "{}",
        "1e9",
    ];
    prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = parse(&text);
        let _ = parse_lenient(&text);
    }

    #[test]
    fn no_sequence_of_pieces_makes_reader_or_answer_panic(pieces in proptest::collection::vec(piece(), 0..30)) {
        let text = pieces.join(" ");
        for query in parse(&text).ok().into_iter().chain(parse_lenient(&text)) {
            let trace_spans = query.spans(&Trace::new(&request()));
            prop_assert!(trace_spans.iter().all(|&index| index < 3));
            let _ = (query.prefilter(), query.id(), query.fields());
        }
    }
}

#[test]
fn every_tag_that_shows_something_personal_is_known_to() {
    let mut event = HopEvent { client_address: 0xffff_c000_0201, ..Default::default() };
    macro_rules! set { ($($field:ident)*) => { $( event.$field = "192.0.2.1:99".into(); )* }; }
    set!(forwarded_for downstream_remote user_agent ja3 ja4 query upstream_path referer subject);
    let nothing = HopEvent::default();
    let mut shown = 0;
    for tag in trace::otlp::SPAN_TAGS.iter().chain(trace::otlp::RESOURCE_TAGS) {
        if tag.read(&event) != tag.read(&nothing) {
            shown += 1;
            assert!(Field::Tag(tag).is_personal(), "{} shows what is masked elsewhere", tag.name);
        }
    }
    assert!(shown > 6, "{shown}");
    assert!(!Field::named("resource.service.name").unwrap().is_personal());
    assert!(Field::named(".throughline.attribute.note").unwrap().is_personal());
}
