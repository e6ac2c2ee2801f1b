//! `google.protobuf.Struct` where Envoy uses it: node metadata, filter metadata, Istio's peers in filter state.
//!
//! Istio 1.24 and later put a peer's metadata as a Struct into an Any (`upstream_peer`, `downstream_peer`); the wasm
//! filters before them wrote a flatbuffer into bytes (`wasm.upstream_peer`), which is not decoded, or a Struct, which is.

use std::borrow::Cow;

use event::Notes;

use crate::envoy::Draft;
use crate::envoy::als::text;
use crate::envoy::draft::Peer;
use crate::envoy::verdict;
use crate::protobuf::{Message, Value, WireError, pair};

/// One `google.protobuf.Value`: its field number and what stands there.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    kind: u32,
    value: Value<'a>,
}

impl<'a> Entry<'a> {
    /// Text of a string value, else nothing.
    pub(super) fn text(self) -> Value<'a> {
        if self.kind == 3 { self.value } else { Value::Bytes(&[]) }
    }

    /// The fields of a nested Struct, else nothing.
    pub(super) fn fields(self) -> &'a [u8] {
        if self.kind == 5 { self.value.bytes() } else { &[] }
    }
}

/// Calls `visit` for each key of a Struct.
pub(super) fn each<'a>(
    fields: &'a [u8],
    mut visit: impl FnMut(&'a [u8], Entry<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut message = Message::new(fields);
    while let Some((number, field)) = message.field()? {
        if number != 1 {
            continue;
        }
        let (key, value) = pair(field.bytes())?;
        if let Some((kind, value)) = Message::new(value.bytes()).field()? {
            visit(key, Entry { kind, value })?;
        }
    }
    Ok(())
}

/// Reads a `Metadata`: what RBAC and external authorization decided; all else is dropped, claims of tokens with a note.
pub(super) fn read<'a>(metadata: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let mut fields = Message::new(metadata);
    while let Some((number, value)) = fields.field()? {
        if number != 1 {
            continue;
        }
        let (filter, value) = pair(value.bytes())?;
        match filter {
            b"envoy.filters.http.rbac" | b"envoy.filters.network.rbac" => {
                each(value.bytes(), |key, entry| {
                    let value = text(entry.text(), &mut draft.event.notes);
                    if let Ok(key) = std::str::from_utf8(key) {
                        verdict::rbac_fact(&mut draft.event, key, value);
                    }
                    Ok(())
                })?;
            }
            b"envoy.filters.http.ext_authz" => each(value.bytes(), |key, entry| {
                let event = &mut draft.event;
                let value = text(entry.text(), &mut event.notes);
                match key {
                    b"decision" | b"verdict" => event.verdict = value,
                    b"reason" => event.verdict_reason = value,
                    b"rule" | b"policy" => event.verdict_rule = value,
                    b"policy_version" => event.policy_version = value,
                    _ => {}
                }
                Ok(())
            })?,
            b"envoy.filters.http.jwt_authn" => draft.event.notes.add(Notes::REDACTED),
            _ => {}
        }
    }
    Ok(())
}

/// Reads one entry of `filter_state_objects`: a name and an `Any`.
pub(super) fn read_filter_state<'a>(entry: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let (name, any) = pair(entry)?;
    let (type_url, value) = pair(any.bytes())?;
    let mut peer = Peer::default();
    match type_url.rsplit(|&byte| byte == b'/').next().unwrap_or(type_url) {
        b"google.protobuf.Struct" => read_peer(value.bytes(), &mut peer, &mut draft.event.notes)?,
        b"google.protobuf.BytesValue" => {
            let inner = Message::new(value.bytes()).field()?.map_or(&[][..], |(_, inner)| inner.bytes());
            // A flatbuffer is no Struct; then the peer stays unknown.
            let mut notes = Notes::NONE;
            if read_peer(inner, &mut peer, &mut notes).is_err() || notes != Notes::NONE {
                return Ok(());
            }
        }
        b"google.protobuf.StringValue" => {
            if let Some((1, inner)) = Message::new(value.bytes()).field()? {
                peer.workload = text(inner, &mut draft.event.notes);
            }
        }
        _ => return Ok(()),
    }
    match name {
        b"upstream_peer" | b"wasm.upstream_peer" => draft.upstream_peer = peer,
        b"downstream_peer" | b"wasm.downstream_peer" => draft.downstream_peer = peer,
        _ if peer.workload.is_empty() => {}
        _ => {
            let name = format!("filter_state.{}", String::from_utf8_lossy(name));
            draft.named_attribute(Cow::Owned(name.clone()), &name, peer.workload);
        }
    }
    Ok(())
}

fn read_peer<'a>(fields: &'a [u8], peer: &mut Peer<'a>, notes: &mut Notes) -> Result<(), WireError> {
    each(fields, |key, entry| {
        if let Ok(key) = std::str::from_utf8(key) {
            peer.put(key, text(entry.text(), notes));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Redactor, Rules};

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn object(members: &[(&str, &str)]) -> Vec<u8> {
        let member = |&(key, text): &(&str, &str)| {
            field(1, &[field(1, key.as_bytes()), field(2, &field(3, text.as_bytes()))].concat())
        };
        members.iter().flat_map(member).collect()
    }

    fn peer_of(name: &str, type_url: &str, value: &[u8]) -> (String, String) {
        let any = [field(1, type_url.as_bytes()), field(2, value)].concat();
        let entry = [field(1, name.as_bytes()), field(2, &any)].concat();
        let rules =
            Rules { redactor: Redactor::default(), fastly: Default::default(), envoy: Default::default() };
        let mut draft = Draft::new("test", &rules);
        read_filter_state(&entry, &mut draft).unwrap();
        (draft.upstream_peer.workload.to_string(), draft.upstream_peer.namespace.to_string())
    }

    #[test]
    fn a_peer_is_read_in_each_form_that_istio_gave_it() {
        let expected = ("app-b".to_owned(), "shop".to_owned());
        let new = object(&[("workload", "app-b"), ("namespace", "shop"), ("cluster", "Kubernetes")]);
        assert_eq!(peer_of("upstream_peer", "type.googleapis.com/google.protobuf.Struct", &new), expected);
        let old = object(&[("WORKLOAD_NAME", "app-b"), ("NAMESPACE", "shop")]);
        let wrapped = field(1, &old);
        assert_eq!(
            peer_of("wasm.upstream_peer", "type.googleapis.com/google.protobuf.BytesValue", &wrapped),
            expected
        );
        let flatbuffer = field(1, &[0x1c, 0, 0, 0, 0x16, 0, 0x24, 0xff]);
        let unknown =
            peer_of("wasm.upstream_peer", "type.googleapis.com/google.protobuf.BytesValue", &flatbuffer);
        assert_eq!(unknown, (String::new(), String::new()));
    }
}
