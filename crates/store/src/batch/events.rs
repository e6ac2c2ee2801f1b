//! The columns of `events`, one per field of the hop event: written into a batch and read out of an answer.

use event::HopEvent;

use crate::locator::Locator;
use crate::native::{Block, Cell, Layout, Malformed, Reader};

/// The type and layout of a field, by an accessor that is never called.
const fn of<T: Cell>(_: fn(HopEvent<'static>) -> T) -> (&'static str, Layout) {
    (T::TYPE, T::LAYOUT)
}

macro_rules! columns {
    ($($name:ident $(as $wire:literal)?),* $(,)?) => {
        /// Name, type on the wire and layout of every field's column, in the order of the schema.
        pub(crate) const FIELDS: &[(&str, &str, Layout)] = &[$({
            let (type_name, layout) = of(|event| event.$name);
            $(let type_name = { let _ = type_name; $wire };)?
            (stringify!($name), type_name, layout)
        }),*];

        /// Appends one event.
        pub(crate) fn put(block: &mut Block, event: &HopEvent<'_>, locator: Locator) {
            let mut columns = block.columns.iter_mut();
            let mut put = |cell: &dyn Fn(&mut crate::native::Column)| {
                if let Some(column) = columns.next() {
                    cell(column);
                }
            };
            put(&|column| locator.bucket_s.put(column));
            put(&|column| locator.key.put(column));
            $(put(&|column| event.$name.put(column));)*
            block.rows += 1;
        }

        /// Reads the value of the field at `index` of [`FIELDS`] into `event`.
        pub(crate) fn take(
            index: usize,
            event: &mut HopEvent<'static>,
            reader: &mut Reader<'_>,
        ) -> Result<(), Malformed> {
            #[allow(non_camel_case_types)]
            #[repr(usize)]
            enum At { $($name),* }
            match index {
                $(at if at == At::$name as usize => event.$name = Cell::take(reader)?,)*
                _ => return Err(Malformed),
            }
            Ok(())
        }
    };
}

columns! {
    tenant, source, format, received_ns, event_key, hop, direction, notes, correlation_id, request_id,
    edge_request_id, trace_id, span_id, parent_span_id, request_id_reason, start_ns, start_precision,
    duration_ns, request_rx_ns, upstream_tx_first_ns, upstream_tx_last_ns, upstream_rx_first_ns,
    upstream_rx_last_ns, first_byte_ns, last_byte_ns, upstream_service_ns, log_type, intermediate, method,
    scheme, host, path, query, upstream_path, protocol, status, grpc_status, response_flags, details,
    termination_details, transport_failure, route, user_agent, referer, content_type, request_bytes,
    response_bytes, request_header_bytes, response_header_bytes, client_address as "IPv6", forwarded_for,
    downstream_remote, downstream_local, upstream_remote, upstream_local, upstream_cluster, sni,
    tls_version, tls_cipher, ja3, ja4, downstream_peer, upstream_peer, country, asn, pop, server,
    service_id, service_version, cache_state, cache_result, restarts, visits, to_shield, completed, node,
    pod, namespace, workload, workload_revision, mesh_cluster, service, peer_workload, peer_namespace,
    attempt, verdict, verdict_rule, verdict_reason, policy_version, subject, issuer, key_id, sample_rate,
    attributes,
}

/// An empty block of the table.
pub(crate) fn block() -> Block {
    let key = [("bucket", "DateTime('UTC')", u32::LAYOUT), ("locator", u64::TYPE, u64::LAYOUT)];
    Block::new(key.into_iter().chain(FIELDS.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_schema_has_its_column() {
        let columns: Vec<&str> = FIELDS.iter().map(|field| field.0).collect();
        let fields: Vec<&str> = HopEvent::FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(columns, fields);
    }
}
