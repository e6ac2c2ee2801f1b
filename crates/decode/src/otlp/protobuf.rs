//! `ExportLogsServiceRequest` from the wire, record by record.

use event::{Notes, RejectReason, Text};

use crate::coerce::Scalar;
use crate::otlp::record::{Memory, Pairs, Record, normalize};
use crate::protobuf::{Message, Value, WireError};
use crate::{Delivery, Rules, Sink};

/// Decodes an `ExportLogsServiceRequest`; returns how many log records were in it. A damaged record costs only itself;
/// damage above the records is one reject and counts as one.
pub fn decode_protobuf(body: &[u8], delivery: &Delivery<'_>, rules: &Rules, sink: &mut dyn Sink) -> u64 {
    let mut memory = Memory::default();
    let mut count = 0;
    let mut request = Message::new(body);
    let outcome = loop {
        match request.field() {
            Ok(Some((1, logs))) => {
                let outcome =
                    resource_logs(logs.bytes(), body, &mut count, &mut memory, (delivery, rules), sink);
                if outcome.is_err() {
                    break outcome;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if let Err(error) = outcome {
        let detail = format!("not an ExportLogsServiceRequest: {error}");
        delivery.refuse(rules, "otlp", RejectReason::BadProtobuf, &detail, 0, body, sink);
        count += 1;
    }
    count
}

fn resource_logs(
    logs: &[u8],
    body: &[u8],
    count: &mut u64,
    memory: &mut Memory,
    (delivery, rules): (&Delivery<'_>, &Rules),
    sink: &mut dyn Sink,
) -> Result<(), WireError> {
    // The resource may stand behind its logs on the wire.
    let mut resource = Pairs::new();
    let mut fields = Message::new(logs);
    while let Some((number, value)) = fields.field()? {
        if number == 1 {
            let mut notes = Notes::NONE;
            let mut attributes = Message::new(value.bytes());
            while let Some((number, value)) = attributes.field()? {
                if number == 1 {
                    put_pair(value, &mut resource, &mut notes)?;
                }
            }
        }
    }
    let mut fields = Message::new(logs);
    while let Some((number, scope)) = fields.field()? {
        if number != 2 {
            continue;
        }
        let mut scope = Message::new(scope.bytes());
        while let Some((number, value)) = scope.field()? {
            if let (2, Value::Bytes(raw)) = (number, value) {
                *count += 1;
                let place = raw.as_ptr().addr().saturating_sub(body.as_ptr().addr()) as u64;
                match read(raw) {
                    Ok(mut record) => {
                        normalize(&mut record, &resource, memory, (place, raw), (delivery, rules), sink);
                    }
                    Err(error) => {
                        let detail = format!("not a LogRecord: {error}");
                        delivery.refuse(rules, "otlp", RejectReason::BadProtobuf, &detail, place, raw, sink);
                    }
                }
            }
        }
    }
    Ok(())
}

fn read(raw: &[u8]) -> Result<Record<'_>, WireError> {
    let mut record = Record::default();
    let mut fields = Message::new(raw);
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => record.time_ns = value.integer(),
            5 => {
                if let Some((1, inner)) = Message::new(value.bytes()).field()? {
                    record.body = Some(text(inner, &mut record.notes));
                }
            }
            6 => put_pair(value, &mut record.attributes, &mut record.notes)?,
            9 => record.trace_id = value.bytes().try_into().map_or(0, u128::from_be_bytes),
            10 => record.span_id = value.bytes().try_into().map_or(0, u64::from_be_bytes),
            11 => record.observed_ns = value.integer(),
            _ => {}
        }
    }
    Ok(record)
}

/// A `KeyValue`. Values that are neither text nor number nor flag (lists, maps, bytes) are not kept.
fn put_pair<'a>(pair: Value<'a>, pairs: &mut Pairs<'a>, notes: &mut Notes) -> Result<(), WireError> {
    let (key, any) = crate::protobuf::pair(pair.bytes())?;
    let scalar = match Message::new(any.bytes()).field()? {
        Some((1, inner)) => Scalar::Text(text(inner, notes)),
        Some((2, flag)) => Scalar::Bool(flag.integer() != 0),
        Some((3, number)) => Scalar::Int(number.integer() as i64),
        Some((4, number)) => Scalar::Float(f64::from_bits(number.integer())),
        Some(_) => {
            notes.add(Notes::UNREADABLE_FIELD);
            Scalar::Null
        }
        None => Scalar::Null,
    };
    pairs.push((text(Value::Bytes(key), notes), scalar));
    Ok(())
}

fn text<'a>(value: Value<'a>, notes: &mut Notes) -> Text<'a> {
    match std::str::from_utf8(value.bytes()) {
        Ok(text) => Text::Borrowed(text),
        Err(_) => {
            notes.add(Notes::BAD_UTF8);
            String::from_utf8_lossy(value.bytes())
        }
    }
}
