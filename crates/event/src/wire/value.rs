//! Values of the byte form: how each type of the table of fields is written and read.

use std::borrow::Cow;

use crate::kinds::{Direction, Hop, Precision};
use crate::notes::Notes;

/// As in `fields`, which depends on this file.
type Text<'a> = Cow<'a, str>;
type Attributes<'a> = Vec<(Text<'a>, Text<'a>)>;

/// Newest version of the byte form that this build writes and reads: that of tallies.
pub const VERSION: u8 = 2;

/// Why bytes could not be read as a record. All but `Version` and `NewerFields` mean damage that a checksum missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a version that this build does not know.
    #[error("record has encoding version {0}, this build reads up to {VERSION}: upgrade this instance")]
    Version(u8),
    /// Carries a field that this build does not know.
    #[error("record carries fields that this build does not know: upgrade this instance")]
    NewerFields,
    /// Ends before its last value.
    #[error("record ends in the middle of a value")]
    Short,
    /// A number, word or text that cannot stand there.
    #[error("record holds an impossible value")]
    Value,
}

/// A cursor over the bytes of one record.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> From<&'a [u8]> for Reader<'a> {
    fn from(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Value)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Value)?;
        self.slice(length)
    }
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A type that a field of the table may have.
pub(crate) trait Value<'a>: Sized {
    fn is_present(&self) -> bool;
    fn put(&self, out: &mut Vec<u8>);
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError>;
}

impl<'a> Value<'a> for Text<'a> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        std::str::from_utf8(reader.bytes()?).map(Cow::Borrowed).map_err(|_| WireError::Value)
    }
}

impl<'a> Value<'a> for Attributes<'a> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for (name, text) in self {
            name.put(out);
            text.put(out);
        }
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        // No capacity by the claimed count: it may be damage.
        let count = reader.varint()?;
        let mut attributes = Self::new();
        for _ in 0..count {
            attributes.push((Value::take(reader)?, Value::take(reader)?));
        }
        Ok(attributes)
    }
}

macro_rules! varint_values {
    ($($type:ty),*) => { $(
        impl<'a> Value<'a> for $type {
            fn is_present(&self) -> bool {
                *self != 0
            }
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(u64::from(*self), out);
            }
            fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
                Self::try_from(reader.varint()?).map_err(|_| WireError::Value)
            }
        }
    )* };
}
varint_values!(u8, u16, u32, u64);

impl<'a> Value<'a> for i64 {
    fn is_present(&self) -> bool {
        *self != 0
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(((self << 1) ^ (self >> 63)) as u64, out);
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let zigzag = reader.varint()?;
        Ok((zigzag >> 1) as Self ^ -((zigzag & 1) as Self))
    }
}

impl<'a> Value<'a> for u128 {
    fn is_present(&self) -> bool {
        *self != 0
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl<'a> Value<'a> for f64 {
    fn is_present(&self) -> bool {
        *self != 0.0
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl<'a> Value<'a> for bool {
    fn is_present(&self) -> bool {
        *self
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value),
        }
    }
}

impl<'a, T: Value<'a>> Value<'a> for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
    fn put(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        T::take(reader).map(Some)
    }
}

impl<'a> Value<'a> for Notes {
    fn is_present(&self) -> bool {
        *self != Self::NONE
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        u32::take(reader).map(Self)
    }
}

macro_rules! word_values {
    ($($type:ty),*) => { $(
        impl<'a> Value<'a> for $type {
            fn is_present(&self) -> bool {
                *self != Self::default()
            }
            fn put(&self, out: &mut Vec<u8>) {
                out.push(*self as u8);
            }
            fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
                Self::from_number(reader.byte()?).ok_or(WireError::NewerFields)
            }
        }
    )* };
}
word_values!(Hop, Direction, Precision);
