//! OTLP log records in both shapes that Istio's proxies send.

use super::{Kind, Sight, labels};
use crate::protobuf::Message;

/// One request of records, with the empty resource of Istio.
pub(super) fn request<'m>(records: impl Iterator<Item = &'m Message>) -> Vec<u8> {
    let mut scope = Message::new().message(1, &Message::new());
    for record in records {
        scope = scope.message(2, record);
    }
    let resource = Message::new().message(1, &Message::new()).message(2, &scope);
    Message::new().message(1, &resource).into_bytes()
}

/// The TEXT line as body, and nothing that says who sent it.
pub(super) fn text_body(sight: &Sight<'_>) -> Message {
    let body = Message::new().text(1, format!("{}\n", labels::text(sight)));
    bare(sight).message(5, &body)
}

/// Labels as string attributes; what is not there is `-`.
pub(super) fn labels(sight: &Sight<'_>) -> Message {
    let view = sight.view;
    let is_tcp = view.kind == Kind::Tcp;
    let text = |text: &str| labels::or_dash(text).to_owned();
    let number = |number: u64| number.to_string();
    let service = view.service_time_ms().map(number).unwrap_or_default();
    let fixed = [
        ("method", text(view.method)),
        ("path", text(&view.path)),
        ("protocol", text(view.protocol)),
        ("authority", text(&view.host)),
        ("response_code", number(u64::from(view.status))),
        ("response_flags", text(view.flags)),
        ("response_code_details", text(view.details)),
        ("duration", number(view.duration_ns() / 1_000_000)),
        ("bytes_sent", number(view.response_bytes)),
        ("upstream_cluster", text(&view.cluster)),
        ("upstream_host", text(&view.upstream_host)),
        ("upstream_local_address", text(&view.upstream_local)),
        ("upstream_service_time", text(&service)),
        ("upstream_request_attempt_count", number(u64::from(labels::tries(sight)))),
        ("downstream_local_address", text(&view.local)),
        ("downstream_remote_address", text(&view.remote)),
        ("downstream_direct_remote_address", text(&view.direct_remote)),
        ("requested_server_name", text(&view.server_name)),
        ("route_name", text(&sight.route())),
        ("user_agent", if is_tcp { text("") } else { sight.agent() }),
        ("x_forwarded_for", text(&view.forwarded_for)),
        ("request_id", if is_tcp { text("") } else { text(&view.request_id) }),
    ];
    let mut record = bare(sight);
    for (name, value) in fixed {
        record = attribute(record, name, &value);
    }
    // The span stands in the record's own fields, not among the labels.
    for (name, value) in
        labels::ids(sight).into_iter().filter(|(name, _)| !matches!(*name, "trace_id" | "span_id"))
    {
        record = attribute(record, name, labels::or_dash(&value));
    }
    match view.grpc_status {
        Some(status) => attribute(record, "grpc_status_number", &status.to_string()),
        None => record,
    }
}

/// The start in microseconds, and the active span where a tracer runs.
fn bare(sight: &Sight<'_>) -> Message {
    let start_ns = sight.start_ns().div_euclid(1_000) * 1_000;
    let record = Message::new().fixed64(1, start_ns as u64);
    match sight.view.own_span {
        Some((trace, span)) => record.text(9, trace.to_be_bytes()).text(10, span.to_be_bytes()),
        None => record,
    }
}

fn attribute(record: Message, name: &str, value: &str) -> Message {
    let value = Message::new().text(1, value);
    record.message(6, &Message::new().text(1, name).message(2, &value))
}
