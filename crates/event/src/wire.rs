//! The byte form of records in the spool: versioned, stable over upgrades, read without copying.
//!
//! ```text
//! record  = version u8 · kind u8 · body; version 1 has the kinds 1 event and 2 reject, version 2 the kind 3 tally
//! event   = presence map u128 LE (bit n = field number n of the table in `fields`) · present values in table order
//! reject  = received i64 · tenant · source · format · reason u8 · detail · offset u64 · length u64 · bytes
//! tally   = received i64 · tenant · source · varint count, then number u8 and varint of each counter
//! value   = text, bytes: varint length, then the bytes · u16/u32/u64, Option of them: varint
//!           i64: zigzag varint · u128: 16 bytes LE · u8, bool, enums: 1 byte · f64: 8 bytes LE
//!           attributes: varint count, then name and text of each
//! ```
//!
//! A newer service reads every older record: fields are only appended, and an absent one reads as its default. An
//! older service that meets a newer field or version says so ([`WireError::NewerFields`], [`WireError::Version`]);
//! the segment then waits for the newer service instead of being read wrongly.

use std::borrow::Cow;

mod value;

use crate::fields::HopEvent;
use crate::reject::{Record, Reject, RejectReason};
use crate::tally::{Counter, Counts, Tally};

pub(crate) use value::{Reader, Value};
pub use value::{VERSION, WireError};
use value::{put_bytes, put_varint};

/// Version of events and rejects.
const FIRST: u8 = 1;
const KIND_EVENT: u8 = 1;
const KIND_REJECT: u8 = 2;
/// Of [`VERSION`], so that a service that knows no ledger keeps the segment for one that does.
const KIND_TALLY: u8 = 3;

/// Appends one event.
pub fn put_event(event: &HopEvent<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[FIRST, KIND_EVENT]);
    event.put_fields(out);
}

/// Appends one reject.
pub fn put_reject(reject: &Reject<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[FIRST, KIND_REJECT]);
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

/// Appends one entry of the ledger.
pub fn put_tally(tally: &Tally<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, KIND_TALLY]);
    tally.received_ns.put(out);
    tally.tenant.put(out);
    tally.source.put(out);
    put_varint(tally.counts.present().count() as u64, out);
    for (counter, count) in tally.counts.present() {
        out.push(counter as u8);
        put_varint(count, out);
    }
}

fn take_counts(reader: &mut Reader<'_>) -> Result<Counts, WireError> {
    let mut counts = Counts::default();
    for _ in 0..reader.varint()? {
        let counter = Counter::from_number(reader.byte()?).ok_or(WireError::NewerFields)?;
        counts.add(counter, reader.varint()?);
    }
    Ok(counts)
}

/// Reads one record that fills `bytes`.
pub fn read(bytes: &[u8]) -> Result<Record<'_>, WireError> {
    let mut reader = Reader::from(bytes);
    let [version, kind] = reader.array()?;
    match (version, kind) {
        (FIRST, KIND_EVENT) => HopEvent::take_fields(&mut reader).map(|event| Record::Event(Box::new(event))),
        (FIRST, KIND_REJECT) => Ok(Record::Reject(Reject {
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
        (VERSION, KIND_TALLY) => Ok(Record::Tally(Tally {
            received_ns: Value::take(&mut reader)?,
            tenant: Value::take(&mut reader)?,
            source: Value::take(&mut reader)?,
            counts: take_counts(&mut reader)?,
        })),
        (FIRST | VERSION, _) => Err(WireError::Value),
        _ => Err(WireError::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kinds::Hop;
    use crate::notes::Notes;

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
        let Ok(Record::Event(event)) = read(&bytes) else { panic!("an event") };
        assert_eq!(event.into_owned(), full());
    }

    #[test]
    fn the_byte_form_of_version_1_does_not_move() {
        // A change here breaks spools written by released versions: append fields instead.
        let mut bytes = Vec::new();
        put_event(
            &HopEvent { tenant: "t".into(), start_ns: 1, status: 200, ..HopEvent::default() },
            &mut bytes,
        );
        let map = (1u128 | 1 << 15 | 1 << 35).to_le_bytes();
        let expected = [&[1, 1][..], &map, &[1, b't', 2, 0xc8, 0x01]].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_entry_of_the_ledger_comes_back_as_it_was_and_its_form_does_not_move() {
        let mut counts = Counts::default();
        counts.add(Counter::Accepted, 300);
        counts.add(Counter::LostRecords, 1);
        let tally = Tally { received_ns: 1, tenant: "t".into(), source: "s".into(), counts };
        let mut bytes = Vec::new();
        put_tally(&tally, &mut bytes);
        assert_eq!(bytes, [2, 3, 2, 1, b't', 1, b's', 2, 3, 0xac, 0x02, 14, 1]);
        assert_eq!(read(&bytes), Ok(Record::Tally(tally)));
        assert_eq!(read(&[2, 3, 0, 0, 0, 1, 200, 1]), Err(WireError::NewerFields));
        assert_eq!(read(&[2, KIND_EVENT]), Err(WireError::Value));
    }

    #[test]
    fn a_newer_writer_is_told_apart_from_damage() {
        assert_eq!(read(&[9, 1]), Err(WireError::Version(9)));
        let mut bytes = vec![FIRST, KIND_EVENT];
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
                bytes[0] = FIRST;
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
