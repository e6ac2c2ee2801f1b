//! What HTTP and TCP entries share (`AccessLogCommon`), and TCP entries.

use std::borrow::Cow;

use event::{Notes, Precision, Text};

use crate::coerce::{self, Scalar};
use crate::envoy::Draft;
use crate::envoy::als::{self, flags, metadata, text, tls};
use crate::envoy::target::{self, Target};
use crate::protobuf::{Message, Value, WireError, pair};

/// Names of `AccessLogType`, as Envoy writes them in its other formats.
const LOG_TYPES: [&str; 14] = [
    "", // NotSet: the listener's own log
    "TcpUpstreamConnected",
    "TcpPeriodic",
    "TcpConnectionEnd",
    "DownstreamStart",
    "DownstreamPeriodic",
    "DownstreamEnd",
    "UpstreamPoolReady",
    "UpstreamPeriodic",
    "UpstreamEnd",
    "DownstreamTunnelSuccessfullyEstablished",
    "UdpTunnelUpstreamConnected",
    "UdpPeriodic",
    "UdpSessionEnd",
];

/// Reads a `TCPAccessLogEntry`.
pub(super) fn read_tcp<'a>(entry: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    draft.event.protocol = Cow::Borrowed("TCP");
    let mut fields = Message::new(entry);
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => read(value.bytes(), draft)?,
            2 => {
                let mut bytes = Message::new(value.bytes());
                draft.event.request_bytes = Some(0);
                draft.event.response_bytes = Some(0);
                while let Some((number, value)) = bytes.field()? {
                    match number {
                        1 => draft.event.request_bytes = Some(value.integer()),
                        2 => draft.event.response_bytes = Some(value.integer()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads an `AccessLogCommon`.
pub(super) fn read<'a>(common: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let mut fields = Message::new(common);
    while let Some((number, value)) = fields.field()? {
        let event = &mut draft.event;
        match number {
            1 => {
                let rate = f64::from_bits(value.integer());
                if rate > 0.0 && rate <= 1.0 {
                    event.sample_rate = 1.0 / rate;
                }
            }
            2 => {
                let (address, host) = address(value)?;
                event.client_address = coerce::address(host);
                if event.downstream_remote.is_empty() {
                    event.downstream_remote = address;
                }
            }
            3 => event.downstream_local = address(value)?.0,
            4 => tls::read(value.bytes(), event)?,
            5 => {
                let (seconds, nanos) = seconds_nanos(value)?;
                let ns = seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos));
                match ns.filter(|&ns| ns > 0) {
                    // Envoy's clock counts microseconds here, in a field of nanoseconds.
                    Some(ns) if ns % 1_000 == 0 => {
                        draft.put_start_ns(ns, Precision::Microsecond, Notes::NONE);
                    }
                    Some(ns) => draft.put_start_ns(ns, Precision::Nanosecond, Notes::NONE),
                    None => event.notes.add(Notes::UNREADABLE_FIELD),
                }
            }
            6 => event.request_rx_ns = duration(value, &mut event.notes)?,
            7 => event.upstream_tx_first_ns = duration(value, &mut event.notes)?,
            8 => event.upstream_tx_last_ns = duration(value, &mut event.notes)?,
            9 => event.upstream_rx_first_ns = duration(value, &mut event.notes)?,
            10 => event.upstream_rx_last_ns = duration(value, &mut event.notes)?,
            11 => event.first_byte_ns = duration(value, &mut event.notes)?,
            12 => event.last_byte_ns = duration(value, &mut event.notes)?,
            13 => event.upstream_remote = address(value)?.0,
            14 => event.upstream_local = address(value)?.0,
            15 => event.upstream_cluster = text(value, &mut event.notes),
            16 => event.response_flags = flags::read(value.bytes())?,
            17 => metadata::read(value.bytes(), draft)?,
            18 => event.transport_failure = text(value, &mut event.notes),
            19 => event.route = text(value, &mut event.notes),
            20 => event.downstream_remote = address(value)?.0,
            21 => metadata::read_filter_state(value.bytes(), draft)?,
            22 => custom_tag(value, draft)?,
            23 => event.duration_ns = duration(value, &mut event.notes)?,
            24 => event.attempt = u16::try_from(value.integer()).unwrap_or(u16::MAX),
            25 => {
                let details = text(value, &mut event.notes);
                draft.event.termination_details = draft.redact(details);
            }
            26 => {
                let id = text(value, &mut event.notes);
                draft.put(Target::StreamId, "stream_id", Scalar::Text(id));
            }
            27 => draft.marked_intermediate = value.integer() != 0,
            28 => {
                let reason = text(value, &mut event.notes);
                draft.attribute("downstream_transport_failure_reason", reason);
            }
            33 => {
                let known = LOG_TYPES.get(usize::try_from(value.integer()).unwrap_or(usize::MAX));
                event.log_type = Cow::Borrowed(known.copied().unwrap_or(""));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A tag is an attribute, unless its name says that it is an id.
fn custom_tag<'a>(value: Value<'a>, draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let (key, value) = pair(value.bytes())?;
    let key = als::name(key);
    let value = text(value, &mut draft.event.notes);
    // The shortest of these names is `cookie`.
    let target = match if key.len() < 6 { Target::Attribute } else { target::label(&key) } {
        target @ (Target::Correlation | Target::RequestId | Target::Traceparent | Target::Secret) => target,
        _ => {
            draft.named_attribute(key.clone(), &key, value);
            return Ok(());
        }
    };
    draft.put(target, &key, Scalar::Text(value));
    Ok(())
}

/// An `Address` as `address:port`, and its host part.
fn address(value: Value<'_>) -> Result<(Text<'_>, &str), WireError> {
    let mut fields = Message::new(value.bytes());
    let Some((number, inner)) = fields.field()? else { return Ok((Cow::Borrowed(""), "")) };
    let (mut host, mut port) = ("", 0);
    let mut parts = Message::new(inner.bytes());
    while let Some((part, value)) = parts.field()? {
        match (number, part) {
            (1, 2) | (2 | 3, 1) => host = std::str::from_utf8(value.bytes()).unwrap_or(""),
            (1, 3) => port = value.integer(),
            _ => {}
        }
    }
    if number != 1 {
        return Ok((Cow::Borrowed(host), ""));
    }
    let mut text = String::with_capacity(host.len() + 8);
    if host.contains(':') {
        text.push('[');
        text.push_str(host);
        text.push(']');
    } else {
        text.push_str(host);
    }
    text.push(':');
    push_port(&mut text, port);
    Ok((Cow::Owned(text), host))
}

/// Digits of a port; by hand, as an entry has four addresses and formatting machinery costs more than the rest of one.
fn push_port(text: &mut String, port: u64) {
    let mut digits = [0u8; 5];
    let mut left = port.min(99_999);
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

fn seconds_nanos(value: Value<'_>) -> Result<(i64, i64), WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Message::new(value.bytes());
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => seconds = value.integer() as i64,
            2 => nanos = i64::from(value.integer() as i32),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

fn duration(value: Value<'_>, notes: &mut Notes) -> Result<Option<u64>, WireError> {
    let (seconds, nanos) = seconds_nanos(value)?;
    let ns = seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos));
    match ns {
        Some(ns) if ns >= 0 => Ok(Some(ns as u64)),
        Some(_) => {
            notes.add(Notes::NEGATIVE_DURATION);
            Ok(None)
        }
        None => {
            notes.add(Notes::UNREADABLE_FIELD);
            Ok(None)
        }
    }
}
