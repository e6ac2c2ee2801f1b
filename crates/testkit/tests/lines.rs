//! Every line of a request carries the ids it should, and has the size of the sample mix.

use testkit::{Mix, Story, als, fastly, istio, otlp};

#[test]
fn lines_carry_their_ids() {
    for request in Mix::new(1).requests(500) {
        let (correlation, trace) = (request.correlation_text(), format!("{:032x}", request.trace_id));
        for hop in &request.hops {
            if hop.is_fastly() {
                let line = fastly::vcl_line(&request, hop);
                assert!(line.contains(&correlation) && line.contains(&trace), "{line}");
                assert!(!fastly::default_line(&request, hop).contains(&correlation));
            } else {
                let id = request.request_text(hop);
                let line = istio::json_line_with_ids(&request, hop);
                assert!(line.contains(&correlation) && line.contains(&trace) && line.contains(&id), "{line}");
                for line in [istio::json_line(&request, hop), istio::text_line(&request, hop)] {
                    assert!(!line.contains(&correlation) && line.contains(&id), "{line}");
                }
            }
        }
    }
}

#[test]
fn lines_are_json_objects_without_line_feeds() {
    for request in Story::ALL.iter().map(|&story| Mix::new(2).request_as(1, story)) {
        for hop in &request.hops {
            let lines = match hop.is_fastly() {
                true => [fastly::vcl_line(&request, hop), fastly::default_line(&request, hop)],
                false => [istio::json_line(&request, hop), istio::json_line_with_ids(&request, hop)],
            };
            for line in lines {
                assert!(
                    serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|value| value.is_object()),
                    "{line}"
                );
                assert!(!line.contains('\n'));
            }
        }
    }
}

/// Bounds of single lines, and of the mean that the speed figures are about.
#[test]
fn lines_have_the_size_of_the_mix() {
    let (mut total, mut count) = (0, 0);
    let mut bounded = |line: String, least: usize, most: usize| {
        assert!((least..=most).contains(&line.len()), "{} bytes: {line}", line.len());
        total += line.len();
        count += 1;
    };
    for request in Mix::new(3).requests(2_000) {
        for hop in &request.hops {
            match hop.is_fastly() {
                true => bounded(fastly::vcl_line(&request, hop), 500, 1_000),
                false => bounded(istio::json_line(&request, hop), 600, 1_100),
            }
        }
    }
    let mean = total / count;
    assert!((650..900).contains(&mean), "mean line has {mean} bytes");
}

#[test]
fn messages_are_made_of_the_same_requests() {
    let request = Mix::new(4).request_as(0, Story::Plain);
    let gateway = &request.hops[2];
    let message = als::message(gateway.pod().unwrap(), true, [(&request, gateway)]);
    let contains =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains(&message, "http_envoy_accesslog") && contains(&message, &request.correlation_text()));
    let labels = otlp::logs(otlp::Shape::Labels, [(&request, gateway)]);
    assert!(contains(&labels, &request.correlation_text()));
    let text = otlp::logs(otlp::Shape::TextBody, [(&request, gateway)]);
    assert!(contains(&text, &request.request_text(gateway)) && !contains(&text, &request.correlation_text()));
}
