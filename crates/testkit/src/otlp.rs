//! OTLP log requests (`ExportLogsServiceRequest`), as bytes, in both shapes that Istio's proxies send.

use crate::istio;
use crate::protobuf::Message;
use crate::request::{Request, TrueHop};

/// Which shape the records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Istio's default: the TEXT line as body, and an empty resource.
    TextBody,
    /// Labels as string attributes, with the ids and the node among them.
    Labels,
}

/// One request with a record for each entry.
pub fn logs<'a>(shape: Shape, entries: impl IntoIterator<Item = (&'a Request, &'a TrueHop)>) -> Vec<u8> {
    let mut scope = Message::new().message(1, &Message::new());
    for (request, hop) in entries {
        scope = scope.message(2, &record(shape, request, hop));
    }
    let resource = Message::new().message(1, &Message::new()).message(2, &scope);
    Message::new().message(1, &resource).into_bytes()
}

fn record(shape: Shape, request: &Request, hop: &TrueHop) -> Message {
    let record = Message::new().fixed64(1, hop.logged_start_ns() as u64);
    if shape == Shape::TextBody {
        let body = Message::new().text(1, format!("{}\n", istio::text_line(request, hop)));
        return record.message(5, &body);
    }
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let labels = [
        ("method", request.method.to_owned()),
        ("path", request.url.clone()),
        ("protocol", "HTTP/1.1".to_owned()),
        ("authority", request.host.to_owned()),
        ("response_code", hop.status.to_string()),
        ("response_flags", dash(hop.flags)),
        ("response_code_details", dash(hop.details)),
        ("duration", (hop.duration_ns / 1_000_000).to_string()),
        ("bytes_sent", hop.response_bytes.to_string()),
        ("upstream_cluster", dash(&hop.upstream_cluster)),
        ("upstream_host", dash(&hop.upstream_host)),
        ("downstream_local_address", dash(&hop.local_address)),
        ("downstream_remote_address", dash(&hop.remote_address)),
        ("requested_server_name", dash(&hop.server_name)),
        ("user_agent", request.user_agent.clone()),
        ("x_forwarded_for", istio::forwarded_for(request, hop)),
        ("request_id", request.request_text(hop)),
        ("x_correlation_id", request.correlation_text()),
        ("traceparent", request.traceparent()),
        ("node_id", hop.pod().map(|pod| pod.node()).unwrap_or_default()),
    ];
    labels.iter().fold(record, |record, (name, value)| {
        let value = Message::new().text(1, value);
        record.message(6, &Message::new().text(1, name).message(2, &value))
    })
}
