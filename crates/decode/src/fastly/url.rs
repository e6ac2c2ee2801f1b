//! URLs and request lines, split over the fields of the schema.

use std::borrow::Cow;

use super::map::Draft;
use super::normalize;
use crate::coerce::Scalar;
use event::Notes;

impl<'e> Draft<'_, 'e> {
    /// Path and query; of a full URL also scheme and host. User and password in a URL are dropped.
    pub(super) fn url(&mut self, name: &'e str, value: Scalar<'e>) {
        if !self.event.path.is_empty() {
            return self.attribute(name, value);
        }
        self.known += 1;
        let text = self.bounded(value.to_text());
        let scheme_end =
            if text.starts_with('/') { None } else { text.find("://").filter(|&at| is_scheme(&text[..at])) };
        if let Some(at) = scheme_end {
            let (scheme, rest) = split_at(text, at);
            let rest = split_at(rest, 3).1;
            let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, tail) = split_at(rest, authority_end);
            let host = match authority.rfind('@') {
                Some(at) => {
                    self.note(Notes::REDACTED);
                    split_at(authority, at + 1).1
                }
                None => authority,
            };
            if self.event.scheme.is_empty() {
                self.event.scheme = normalize::lower(scheme);
            }
            if self.event.host.is_empty() {
                self.event.host = host;
            }
            let tail = if tail.starts_with('/') { tail } else { Cow::Owned(format!("/{tail}")) };
            return self.path_and_query(tail);
        }
        self.path_and_query(text);
    }

    fn path_and_query(&mut self, text: Cow<'e, str>) {
        let (path, query) = match memchr::memchr(b'?', text.as_bytes()) {
            Some(at) => {
                let (path, query) = split_at(text, at);
                (path, split_at(query, 1).1)
            }
            None => (text, Cow::Borrowed("")),
        };
        let path = self.redactor.text(path);
        self.event.path = self.cleaned(path);
        if !query.is_empty() {
            let query = self.redactor.url(query);
            self.event.query = self.cleaned(query);
        }
    }

    /// `GET /path HTTP/1.1`; a bare method where that is all (Splunk's `request` is one).
    pub(super) fn request_line(&mut self, name: &'e str, value: Scalar<'e>) {
        let Scalar::Text(text) = value else { return self.attribute(name, value) };
        let Some((method, rest)) = split_cow(text.clone(), " ").filter(|(_, rest)| !rest.is_empty()) else {
            if self.event.method.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                self.event.method = self.bounded(text);
                self.known += 1;
                return;
            }
            return self.attribute(name, Scalar::Text(text));
        };
        let (target, protocol) = match rest.rfind(' ') {
            Some(at) if rest[at + 1..].starts_with("HTTP/") => {
                let (target, protocol) = split_at(rest, at);
                (target, split_at(protocol, 1).1)
            }
            _ => (rest, Cow::Borrowed("")),
        };
        if self.event.method.is_empty() {
            self.event.method = method;
        }
        if self.event.protocol.is_empty() {
            self.event.protocol = protocol;
        }
        self.url(name, Scalar::Text(target));
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 8 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Splits at an index, borrowing where the text was borrowed.
fn split_at(text: Cow<'_, str>, at: usize) -> (Cow<'_, str>, Cow<'_, str>) {
    match text {
        Cow::Borrowed(text) => {
            let (head, tail) = text.split_at(at);
            (head.into(), tail.into())
        }
        Cow::Owned(mut text) => {
            let tail = text.split_off(at);
            (text.into(), tail.into())
        }
    }
}

/// Splits around the first `separator`.
fn split_cow<'a>(text: Cow<'a, str>, separator: &str) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let at = text.find(separator)?;
    let (head, tail) = split_at(text, at);
    Some((head, split_at(tail, separator.len()).1))
}
