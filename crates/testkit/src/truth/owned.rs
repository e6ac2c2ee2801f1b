//! A hop event that borrows nothing, to be kept after its delivery.

use std::borrow::Cow;

use event::HopEvent;

/// A new field of the schema does not compile until it is named here.
macro_rules! own {
    ($event:ident; text: $($text:ident)*; plain: $($plain:ident)*;) => {
        HopEvent {
            $($text: Cow::Owned($event.$text.to_string()),)*
            $($plain: $event.$plain,)*
            attributes: $event
                .attributes
                .iter()
                .map(|(name, value)| (Cow::Owned(name.to_string()), Cow::Owned(value.to_string())))
                .collect(),
        }
    };
}

pub(super) fn owned(event: &HopEvent<'_>) -> HopEvent<'static> {
    own! {
        event;
        text:
        tenant source format log_type method scheme host path query upstream_path protocol
        response_flags details termination_details transport_failure route user_agent referer
        content_type forwarded_for downstream_remote downstream_local upstream_remote upstream_local
        upstream_cluster sni tls_version tls_cipher ja3 ja4 downstream_peer upstream_peer country pop
        server service_id service_version cache_state cache_result node pod namespace workload
        workload_revision mesh_cluster service peer_workload peer_namespace verdict verdict_rule
        verdict_reason policy_version subject issuer key_id;
        plain:
        received_ns event_key hop direction notes correlation_id request_id edge_request_id trace_id
        span_id parent_span_id request_id_reason start_ns start_precision duration_ns request_rx_ns
        upstream_tx_first_ns upstream_tx_last_ns upstream_rx_first_ns upstream_rx_last_ns first_byte_ns
        last_byte_ns upstream_service_ns intermediate status grpc_status request_bytes response_bytes
        request_header_bytes response_header_bytes client_address asn restarts visits to_shield
        completed attempt sample_rate;
    }
}
