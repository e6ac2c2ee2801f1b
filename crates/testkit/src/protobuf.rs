//! Writing protobuf: the few forms that log messages need. Messages are written inside out, each into its own bytes.

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A varint field; 0 is left out, as proto3 does.
    pub(crate) fn number(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.tag(field, 0);
            put_varint(value, &mut self.bytes);
        }
        self
    }

    /// A fixed 64-bit field; 0 is left out.
    pub(crate) fn fixed64(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.tag(field, 1);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// A string or bytes field; empty is left out.
    pub(crate) fn text(self, field: u32, value: impl AsRef<[u8]>) -> Self {
        if value.as_ref().is_empty() { self } else { self.delimited(field, value.as_ref()) }
    }

    /// A message field, present even if empty.
    pub(crate) fn message(self, field: u32, value: &Message) -> Self {
        self.delimited(field, &value.bytes)
    }

    /// A message field that may be absent.
    pub(crate) fn maybe(self, field: u32, value: Option<Message>) -> Self {
        match value {
            Some(value) => self.message(field, &value),
            None => self,
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn delimited(mut self, field: u32, value: &[u8]) -> Self {
        self.tag(field, 2);
        put_varint(value.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(value);
        self
    }

    fn tag(&mut self, field: u32, wire: u64) {
        put_varint(u64::from(field) << 3 | wire, &mut self.bytes);
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
