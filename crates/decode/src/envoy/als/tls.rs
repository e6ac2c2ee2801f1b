//! `TLSProperties` of the downstream connection.

use std::borrow::Cow;

use event::{HopEvent, Text};

use crate::envoy::als::text;
use crate::protobuf::{Message, Value, WireError};

const VERSIONS: [&str; 5] = ["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// IANA numbers of what Envoy negotiates, by the names that its text formats write.
const CIPHERS: [(u64, &str); 17] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"),
    (0xc014, "ECDHE-RSA-AES256-SHA"),
    (0x009c, "AES128-GCM-SHA256"),
    (0x009d, "AES256-GCM-SHA384"),
    (0x002f, "AES128-SHA"),
    (0x0035, "AES256-SHA"),
];

/// Reads a `TLSProperties` into its fields of the event.
pub(super) fn read<'a>(tls: &'a [u8], event: &mut HopEvent<'a>) -> Result<(), WireError> {
    let mut fields = Message::new(tls);
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => {
                let known = usize::try_from(value.integer()).ok().and_then(|number| VERSIONS.get(number));
                event.tls_version = Cow::Borrowed(known.copied().unwrap_or(""));
            }
            2 => {
                if let Some((1, number)) = Message::new(value.bytes()).field()? {
                    event.tls_cipher = cipher(number.integer());
                }
            }
            3 => event.sni = text(value, &mut event.notes),
            5 => {
                if let Some(uri) = first_uri(value)? {
                    event.downstream_peer = text(uri, &mut event.notes);
                }
            }
            7 => event.ja3 = text(value, &mut event.notes),
            _ => {}
        }
    }
    Ok(())
}

fn cipher(number: u64) -> Text<'static> {
    match CIPHERS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("0x{number:04x}")),
    }
}

/// The first URI among the subject alternative names: the SPIFFE id.
fn first_uri(certificate: Value<'_>) -> Result<Option<Value<'_>>, WireError> {
    let mut fields = Message::new(certificate.bytes());
    while let Some((number, name)) = fields.field()? {
        if number == 1
            && let Some((1, uri)) = Message::new(name.bytes()).field()?
        {
            return Ok(Some(uri));
        }
    }
    Ok(None)
}
