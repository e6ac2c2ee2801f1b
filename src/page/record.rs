//! What is stored of one hop: every field of its record by name, in groups, with what the schema has no field for.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::text::{Logged, counted, cut, id_link, value};
use super::waterfall::anchor;
use crate::api::answer::{EventAnswer, SpanAnswer};
use crate::render::{duration_text, hop_text};

/// Fields in the order of asking; what is in none of these comes under "other".
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Ids",
        &[
            "correlation_id",
            "request_id",
            "edge_request_id",
            "trace_id",
            "span_id",
            "parent_span_id",
            "event_key",
        ],
    ),
    (
        "Asked",
        &[
            "method",
            "scheme",
            "host",
            "path",
            "query",
            "upstream_path",
            "protocol",
            "user_agent",
            "referer",
            "content_type",
            "forwarded_for",
            "client_address",
            "country",
            "asn",
        ],
    ),
    (
        "Answered",
        &[
            "status",
            "grpc_status",
            "response_flags",
            "details",
            "termination_details",
            "transport_failure",
            "cache_state",
            "cache_result",
            "completed",
            "verdict",
            "verdict_rule",
            "verdict_reason",
            "policy_version",
            "subject",
            "issuer",
            "key_id",
        ],
    ),
    (
        "Time",
        &[
            "start_ns",
            "start_precision",
            "received_ns",
            "duration_ns",
            "request_rx_ns",
            "upstream_tx_first_ns",
            "upstream_tx_last_ns",
            "upstream_rx_first_ns",
            "upstream_rx_last_ns",
            "first_byte_ns",
            "last_byte_ns",
            "upstream_service_ns",
        ],
    ),
    (
        "Where",
        &[
            "hop",
            "direction",
            "service",
            "pop",
            "server",
            "node",
            "pod",
            "namespace",
            "workload",
            "workload_revision",
            "mesh_cluster",
            "peer_workload",
            "peer_namespace",
            "service_id",
            "service_version",
            "attempt",
            "restarts",
            "visits",
            "to_shield",
            "tenant",
            "source",
            "format",
            "log_type",
        ],
    ),
    (
        "Connection",
        &[
            "route",
            "upstream_cluster",
            "upstream_remote",
            "upstream_local",
            "downstream_remote",
            "downstream_local",
            "downstream_peer",
            "upstream_peer",
            "sni",
            "tls_version",
            "tls_cipher",
            "ja3",
            "ja4",
            "request_bytes",
            "response_bytes",
            "request_header_bytes",
            "response_header_bytes",
        ],
    ),
];

/// Ids that lead to a request.
const LEADING: [&str; 4] = ["correlation_id", "request_id", "edge_request_id", "trace_id"];

/// The row under a hop's own: shown when it is asked for.
pub(super) fn record(span: &SpanAnswer, parent: Option<&SpanAnswer>, nth: usize, columns: usize) -> Markup {
    html! {
        tr.record #(anchor(span, nth)) role="row" tabindex="-1" {
            td colspan=(columns) role="cell" {
                div.inside {
                    @if let (Some(link), Some(parent)) = (&span.link, parent) {
                        p {
                            "Hangs under " (hop_text(&parent.hop, &parent.direction)) " " (cut(&parent.place, 40))
                            ", " (link.confidence) ", by " (link.evidence.join(", ").replace('_', " ")) "."
                        }
                    }
                    (fields(&span.event))
                    @for (at, other) in span.also.iter().enumerate() {
                        details.also {
                            summary { "Another record of the same event " span.dim { (at + 1) " of " (span.also.len()) } }
                            (fields(other))
                        }
                    }
                    p.dim {
                        "Delivered " (times(span.deliveries)) "."
                        @if !span.notes.is_empty() { " Notes: " (Logged(&span.notes.join(", "))) "." }
                        " " a.close href={ "#request-" (nth + 1) } { "Close" }
                    }
                }
            }
        }
    }
}

fn times(deliveries: usize) -> String {
    if deliveries == 1 { "once".to_owned() } else { counted(deliveries, "time") }
}

fn fields(event: &EventAnswer) -> Markup {
    let map = &event.0;
    let known = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let rest: Vec<&str> = map
        .keys()
        .map(String::as_str)
        .filter(|name| !known(name) && !["attributes", "notes"].contains(name))
        .collect();
    let attributes = map.get("attributes").and_then(Value::as_object);
    html! {
        div.groups {
            @for (title, names) in GROUPS.iter().copied().chain([("Other", rest.as_slice())]) {
                @if names.iter().any(|name| map.contains_key(*name)) {
                    section.group {
                        h3 { (title) }
                        dl { @for name in names { @if let Some(field) = map.get(*name) { (row(name, field)) } } }
                    }
                }
            }
            @if let Some(attributes) = attributes { (kept(attributes)) }
        }
    }
}

/// What the schema has no field for.
fn kept(attributes: &Map<String, Value>) -> Markup {
    html! {
        section.group.attributes {
            h3 { "Attributes " span.dim { (attributes.len()) } }
            dl {
                @for (name, field) in attributes {
                    @match field {
                        Value::Array(texts) => { @for text in texts { (row(name, text)) } },
                        field => { (row(name, field)) },
                    }
                }
            }
        }
    }
}

fn row(name: &str, field: &Value) -> Markup {
    let text = match field {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let duration = field.as_u64().filter(|_| name.ends_with("_ns"));
    html! {
        div {
            dt { (Logged(name)) }
            dd {
                @if LEADING.contains(&name) { (id_link(&text)) }
                @else if let Some(ns) = duration { (duration_text(ns)) " " span.dim { (text) " ns" } }
                @else { (value(&text)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use event::HopEvent;

    use super::*;

    #[test]
    fn every_group_names_fields_that_there_are() {
        let ids = correlation::IdKind::ALL.map(|kind| kind.name());
        for name in GROUPS.iter().flat_map(|(_, names)| *names) {
            let is_known = HopEvent::FIELDS.iter().any(|field| field.name == *name) || ids.contains(name);
            assert!(is_known, "{name} is no field");
        }
    }
}
