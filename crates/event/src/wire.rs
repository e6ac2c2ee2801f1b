//! The byte form of records in the spool: versioned, stable over upgrades, read without copying.
//!
//! ```text
//! record  = version u8 (1) · kind u8 (1 event, 2 reject) · body
//! event   = presence map u128 LE (bit n = field number n of the table in `fields`) · present values in table order
//! reject  = received i64 · tenant · source · format · reason u8 · detail · offset u64 · length u64 · bytes
//! value   = text, bytes: varint length, then the bytes · u16/u32/u64, Option of them: varint
//!           i64: zigzag varint · u128: 16 bytes LE · u8, bool, enums: 1 byte · f64: 8 bytes LE
//!           attributes: varint count, then name and text of each
//! ```
//!
//! A newer service reads every older record: fields are only appended, and an absent one reads as its default. An
//! older service that meets a newer field or version says so ([`WireError::NewerFields`], [`WireError::Version`]);
//! the segment then waits for the newer service instead of being read wrongly.

use std::borrow::Cow;

use crate::fields::{Attributes, HopEvent, Text};
use crate::kinds::{Direction, Hop, Precision};
use crate::notes::Notes;
use crate::reject::{Record, Reject, RejectReason};

/// Version of the byte form that this build writes.
pub const VERSION: u8 = 1;

const KIND_EVENT: u8 = 1;
const KIND_REJECT: u8 = 2;

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

/// Appends one event.
pub fn put_event(event: &HopEvent<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, KIND_EVENT]);
    event.put_fields(out);
}

/// Appends one reject.
pub fn put_reject(reject: &Reject<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, KIND_REJECT]);
    reject.received_ns.put(out);
    reject.tenant.put(out);
    reject.source.put(out);
    reject.format.put(out);
    out.push(reject.reason as u8);
    reject.detail.put(out);
    put_varint(reject.offset, out);
    put_varint(reject.length, out);
    put_bytes(&reject.bytes, out);
}

/// Reads one record that fills `bytes`.
pub fn read(bytes: &[u8]) -> Result<Record<'_>, WireError> {
    let mut reader = Reader { rest: bytes };
    let [version, kind] = reader.array()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    match kind {
        KIND_EVENT => HopEvent::take_fields(&mut reader).map(|event| Record::Event(Box::new(event))),
        KIND_REJECT => Ok(Record::Reject(Reject {
            received_ns: Value::take(&mut reader)?,
            tenant: Value::take(&mut reader)?,
            source: Value::take(&mut reader)?,
            format: Value::take(&mut reader)?,
            reason: RejectReason::from_number(reader.byte()?).ok_or(WireError::NewerFields)?,
            detail: Value::take(&mut reader)?,
            offset: reader.varint()?,
            length: reader.varint()?,
            bytes: Cow::Borrowed(reader.bytes()?),
        })),
        _ => Err(WireError::Value),
    }
}

/// A cursor over the bytes of one record.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
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

    fn byte(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
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

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Value)?;
        self.slice(length)
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> HopEvent<'static> {
        HopEvent {
            tenant: "default".into(),
            received_ns: -5,
            hop: Hop::Gateway,
            notes: Notes::REDACTED,
            correlation_id: u128::MAX,
            span_id: u64::MAX,
            start_ns: i64::MAX,
            duration_ns: Some(0),
            intermediate: true,
            status: 503,
            completed: Some(false),
            sample_rate: 0.1,
            attributes: vec![("k".into(), "v\n\n;".into())],
            ..HopEvent::default()
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        put_event(&full(), &mut bytes);
        assert_eq!(read(&bytes), Ok(Record::Event(Box::new(full()))));
    }

    #[test]
    fn the_byte_form_of_version_1_does_not_move() {
        // A change here breaks spools written by released versions: append fields instead.
        let mut bytes = Vec::new();
        put_event(&HopEvent { tenant: "t".into(), start_ns: 1, status: 200, ..HopEvent::default() }, &mut bytes);
        let map = (1u128 | 1 << 15 | 1 << 35).to_le_bytes();
        let expected = [&[1, 1][..], &map, &[1, b't', 2, 0xc8, 0x01]].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_newer_writer_is_told_apart_from_damage() {
        assert_eq!(read(&[9, 1]), Err(WireError::Version(9)));
        let mut bytes = vec![VERSION, KIND_EVENT];
        bytes.extend_from_slice(&(1u128 << 127).to_le_bytes());
        assert_eq!(read(&bytes), Err(WireError::NewerFields));
    }

    #[test]
    fn field_numbers_are_unique_and_in_order() {
        let numbers: Vec<u8> = HopEvent::FIELDS.iter().map(|field| field.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }

    proptest! {
        #[test]
        fn damage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            if bytes.len() > 2 {
                bytes[0] = VERSION;
                bytes[1] = KIND_EVENT;
                let _ = read(&bytes);
            }
        }

        #[test]
        fn any_cut_is_an_error(cut in 0usize..60) {
            let mut bytes = Vec::new();
            put_event(&full(), &mut bytes);
            prop_assume!(cut < bytes.len());
            prop_assert!(read(&bytes[..cut]).is_err());
        }
    }
}
