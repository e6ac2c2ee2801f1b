//! `HTTPAccessLogEntry`: request, response, and the headers that the mesh was told to log.

use std::borrow::Cow;

use event::Notes;

use crate::coerce::Scalar;
use crate::envoy::Draft;
use crate::envoy::als::{self, common, text};
use crate::envoy::target::{self, Target};
use crate::protobuf::{Message, Value, WireError, pair};

const PROTOCOLS: [&str; 5] = ["", "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"];
const METHODS: [&str; 10] =
    ["", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Which header block a pair stands in.
#[derive(Clone, Copy)]
enum Block {
    Request,
    Response,
    Trailers,
}

/// Reads an `HTTPAccessLogEntry`.
pub(super) fn read<'a>(entry: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    draft.event.request_bytes = Some(0);
    draft.event.response_bytes = Some(0);
    let mut fields = Message::new(entry);
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => common::read(value.bytes(), draft)?,
            2 => draft.event.protocol = word(&PROTOCOLS, value),
            3 => request(value.bytes(), draft)?,
            4 => response(value.bytes(), draft)?,
            _ => {}
        }
    }
    Ok(())
}

fn word(words: &[&'static str], value: Value<'_>) -> Cow<'static, str> {
    let known = usize::try_from(value.integer()).ok().and_then(|number| words.get(number));
    Cow::Borrowed(known.copied().unwrap_or(""))
}

fn request<'a>(request: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let mut fields = Message::new(request);
    let mut seen = Value::Bytes(&[]);
    while let Some((number, value)) = fields.field()? {
        let notes = &mut draft.event.notes;
        match number {
            1 => draft.event.method = word(&METHODS, value),
            2 => draft.event.scheme = text(value, notes),
            3 => draft.event.host = text(value, notes),
            5 => seen = value,
            6 => put(draft, Target::Free(|e| &mut e.user_agent), value),
            7 => put(draft, Target::Url(|e| &mut e.referer), value),
            8 => put(draft, Target::Free(|e| &mut e.forwarded_for), value),
            9 => put(draft, Target::RequestId, value),
            10 => put(draft, Target::OriginalPath, value),
            11 => _ = draft.event.request_header_bytes.get_or_insert(value.integer()),
            12 => draft.event.request_bytes = Some(value.integer()),
            13 => header(Block::Request, value, draft)?,
            // What came over the wire, where Envoy says it, not what its filters made of it.
            15 => draft.event.request_header_bytes = Some(value.integer()),
            _ => {}
        }
    }
    put(draft, Target::SentPath, seen);
    Ok(())
}

fn response<'a>(response: &'a [u8], draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let mut fields = Message::new(response);
    while let Some((number, value)) = fields.field()? {
        match number {
            1 => {
                let mut code = Message::new(value.bytes());
                if let Some((1, code)) = code.field()? {
                    draft.event.status = u16::try_from(code.integer()).unwrap_or(0);
                }
            }
            2 => _ = draft.event.response_header_bytes.get_or_insert(value.integer()),
            3 => draft.event.response_bytes = Some(value.integer()),
            4 => header(Block::Response, value, draft)?,
            5 => header(Block::Trailers, value, draft)?,
            6 => put(draft, Target::Details, value),
            8 => draft.event.response_header_bytes = Some(value.integer()),
            _ => {}
        }
    }
    Ok(())
}

fn put<'a>(draft: &mut Draft<'a, '_>, target: Target, value: Value<'a>) {
    let value = text(value, &mut draft.event.notes);
    draft.put(target, "", Scalar::Text(value));
}

fn header<'a>(block: Block, value: Value<'a>, draft: &mut Draft<'a, '_>) -> Result<(), WireError> {
    let (name, value) = pair(value.bytes())?;
    let name = als::name(name);
    let value = text(value, &mut draft.event.notes);
    let (target, prefix) = match block {
        Block::Request => (target::of_request_header(&name), "http.request.header."),
        Block::Response => (target::of_response_header(&name), "http.response.header."),
        Block::Trailers => (target::of_response_header(&name), "http.response.trailer."),
    };
    match target {
        Target::Attribute => draft.named_attribute(Cow::Owned([prefix, &*name].concat()), &name, value),
        Target::Secret => draft.event.notes.add(Notes::REDACTED),
        _ => draft.put(target, &name, Scalar::Text(value)),
    }
    Ok(())
}
