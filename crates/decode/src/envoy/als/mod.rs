//! Envoy's gRPC access log service (ALS v3): messages of one stream to hop events.
//!
//! Who sends says so once: the identifier (60 to 80 KB, nearly all of it a list of extensions) comes in the first
//! message of a stream and holds for all of it. [`AlsStream`] keeps what names the node and skips the rest unread.
//!
//! Not kept of an entry: wire byte counts, TLS session id, certificate issuer, the local certificate, and all filter
//! metadata but what a policy decided (it carries JWT claims unasked).

mod common;
mod flags;
mod http;
mod metadata;
mod tls;

use event::{Notes, RejectReason, Text};

use crate::envoy::Draft;
use crate::protobuf::{Message, Value, WireError};
use crate::{Delivery, Rules, Sink};

/// One gRPC stream of access logs: what its sender said about itself.
#[derive(Debug, Clone, Default)]
pub struct AlsStream {
    peer: String,
    node: Node,
    log_name: String,
}

/// What names an Envoy, from the identifier.
#[derive(Debug, Clone, Default)]
struct Node {
    id: String,
    cluster: String,
    pod: String,
    namespace: String,
    workload: String,
    revision: String,
    service: String,
    mesh_cluster: String,
}

/// Bytes kept of one name in the identifier; Kubernetes names end at 253.
const MAX_NAME_BYTES: usize = 1024;

impl AlsStream {
    /// A stream whose identifier has not come yet. `peer` is the socket's other end, for messages to people.
    pub fn new(peer: impl Into<String>) -> Self {
        Self { peer: peer.into(), ..Self::default() }
    }

    /// The socket's other end.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The node id of the sender; empty before the first message.
    pub fn node_id(&self) -> &str {
        &self.node.id
    }

    /// The logger's name on the sender, such as `http_envoy_accesslog`; empty before the first message.
    pub fn log_name(&self) -> &str {
        &self.log_name
    }

    /// Decodes one `StreamAccessLogsMessage`. An entry that cannot be read costs only itself; a message that cannot is
    /// one reject for what was left of it.
    pub fn decode(&mut self, message: &[u8], delivery: &Delivery<'_>, rules: &Rules, sink: &mut dyn Sink) {
        if let Err(error) = self.decode_fields(message, delivery, rules, sink) {
            let detail = format!("not a StreamAccessLogsMessage: {error} (from {})", self.peer);
            delivery.refuse(rules, "envoy-als", RejectReason::BadProtobuf, &detail, 0, message, sink);
        }
    }

    fn decode_fields(
        &mut self,
        message: &[u8],
        delivery: &Delivery<'_>,
        rules: &Rules,
        sink: &mut dyn Sink,
    ) -> Result<(), WireError> {
        let mut fields = Message::new(message);
        while let Some((number, value)) = fields.field()? {
            match number {
                1 => self.identify(value.bytes())?,
                2 | 3 => {
                    let mut entries = Message::new(value.bytes());
                    while let Some((1, Value::Bytes(entry))) = entries.field()? {
                        self.entry(number == 2, entry, offset_in(message, entry), (delivery, rules), sink);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        is_http: bool,
        entry: &[u8],
        offset: u64,
        (delivery, rules): (&Delivery<'_>, &Rules),
        sink: &mut dyn Sink,
    ) {
        let format = if is_http { "envoy-als-http" } else { "envoy-als-tcp" };
        let mut draft = Draft::new(format, rules);
        self.node.name(&mut draft);
        let outcome =
            if is_http { http::read(entry, &mut draft) } else { common::read_tcp(entry, &mut draft) };
        match outcome {
            Ok(()) => draft.finish(delivery, offset, sink),
            Err(error) => {
                let detail = format!("not an access log entry: {error}");
                delivery.refuse(rules, format, RejectReason::BadProtobuf, &detail, offset, entry, sink);
            }
        }
    }

    fn identify(&mut self, identifier: &[u8]) -> Result<(), WireError> {
        let mut fields = Message::new(identifier);
        while let Some((number, value)) = fields.field()? {
            match number {
                1 => self.node = Node::read(value.bytes())?,
                2 => self.log_name = owned(value),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Node {
    fn read(node: &[u8]) -> Result<Self, WireError> {
        let mut read = Self::default();
        let mut fields = Message::new(node);
        while let Some((number, value)) = fields.field()? {
            match number {
                1 => read.id = owned(value),
                2 => read.cluster = owned(value),
                3 => read.metadata(value.bytes())?,
                _ => {}
            }
        }
        Ok(read)
    }

    fn metadata(&mut self, fields: &[u8]) -> Result<(), WireError> {
        metadata::each(fields, |key, value| {
            match key {
                b"NAME" => self.pod = owned(value.text()),
                b"NAMESPACE" => self.namespace = owned(value.text()),
                b"WORKLOAD_NAME" => self.workload = owned(value.text()),
                b"CLUSTER_ID" => self.mesh_cluster = owned(value.text()),
                b"LABELS" => {
                    return metadata::each(value.fields(), |label, value| {
                        match label {
                            b"service.istio.io/canonical-name" => self.service = owned(value.text()),
                            b"service.istio.io/canonical-revision" => self.revision = owned(value.text()),
                            _ => {}
                        }
                        Ok(())
                    });
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn name<'a>(&'a self, draft: &mut Draft<'a, '_>) {
        let event = &mut draft.event;
        event.node = Text::from(&self.id);
        event.pod = Text::from(&self.pod);
        event.namespace = Text::from(&self.namespace);
        event.workload = Text::from(&self.workload);
        event.workload_revision = Text::from(&self.revision);
        event.mesh_cluster = Text::from(&self.mesh_cluster);
        // Istio's node cluster is `workload.namespace` where there is no canonical name.
        let service = if self.service.is_empty() {
            self.cluster.split('.').next().unwrap_or("")
        } else {
            &self.service
        };
        event.service = Text::from(service);
    }
}

/// Where `part`, a slice of `whole`, begins in it.
pub(super) fn offset_in(whole: &[u8], part: &[u8]) -> u64 {
    (part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())) as u64
}

fn owned(value: Value<'_>) -> String {
    let bytes = value.bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_NAME_BYTES)]).into_owned()
}

/// A name off the wire. `from_utf8` first: the lossy reading costs several times more, and names are good.
pub(super) fn name(bytes: &[u8]) -> Text<'_> {
    match std::str::from_utf8(bytes) {
        Ok(name) => Text::Borrowed(name),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Text of a field; bytes that are not UTF-8 are replaced and noted.
pub(super) fn text<'a>(value: Value<'a>, notes: &mut Notes) -> Text<'a> {
    match std::str::from_utf8(value.bytes()) {
        Ok(text) => Text::Borrowed(text),
        Err(_) => {
            notes.add(Notes::BAD_UTF8);
            String::from_utf8_lossy(value.bytes())
        }
    }
}
