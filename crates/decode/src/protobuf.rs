//! A cursor over protobuf's wire form: borrowed, bounded, and with no opinion about UTF-8.
//!
//! Envoy's ALS and OTLP messages are read straight from the wire into the hop event instead of through generated
//! structs, for three reasons: a record that is damaged inside costs only itself, where a generated decoder gives up
//! the whole batch; text that is not UTF-8 (any client can cause it in OTLP) is replaced and noted; and nothing is
//! allocated for fields that nobody reads, such as the 60 KB of extensions in an Envoy node.

/// Why bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A value reaches past the end.
    #[error("a value reaches past the end of the message")]
    Short,
    /// More than ten bytes of varint.
    #[error("a varint is longer than 64 bits")]
    Varint,
    /// Field number 0, or a group, which proto3 does not have.
    #[error("a tag that proto3 does not have")]
    Tag,
}

/// One value as the wire gives it; what it means is the reader's to say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// Integers, flags, enums.
    Varint(u64),
    /// `fixed64`, `double`.
    Fixed64(u64),
    /// `fixed32`, `float`.
    Fixed32(u32),
    /// Text, bytes, messages.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of text, bytes or a message; empty for a value of another wire type.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// An integer; 0 for a value of another wire type.
    pub(crate) fn integer(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => u64::from(value),
            Self::Bytes(_) => 0,
        }
    }
}

/// The fields of one message, in the order of the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field; `None` at the end. After an error the rest of the message cannot be read.
    #[inline(always)] // a message is a loop of nothing else
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag)?;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.chunk()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Short)?;
                let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short)?;
                self.rest = rest;
                Value::Bytes(head)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.chunk()?)),
            _ => return Err(WireError::Tag),
        };
        Ok(Some((number, value)))
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        let mut value = 0u64;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Short } else { WireError::Varint })
    }
}

/// A map entry or any message of one text key and one value: fields 1 and 2.
pub(crate) fn pair(bytes: &[u8]) -> Result<(&[u8], Value<'_>), WireError> {
    let (mut key, mut value): (&[u8], _) = (&[], Value::Bytes(&[]));
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.field()? {
        match number {
            1 => key = field.bytes(),
            2 => value = field,
            _ => {}
        }
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_in_order_and_unknown_ones_too() {
        let mut message = Message::new(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 0, 0, 0]);
        assert_eq!(message.field(), Ok(Some((1, Value::Varint(150)))));
        assert_eq!(message.field(), Ok(Some((2, Value::Bytes(b"hi")))));
        assert_eq!(message.field(), Ok(Some((3, Value::Fixed32(1)))));
        assert_eq!(message.field(), Ok(None));
    }

    #[test]
    fn a_claimed_length_is_never_believed() {
        let mut message = Message::new(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert_eq!(message.field(), Err(WireError::Short));
        assert_eq!(Message::new(&[0x0b]).field(), Err(WireError::Tag));
        assert_eq!(Message::new(&[0x08; 1]).field(), Err(WireError::Short));
        assert_eq!(Message::new(&[0xff; 12]).field(), Err(WireError::Varint));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = Message::new(&bytes);
            while let Ok(Some(_)) = message.field() {}
        }
    }
}
