//! Values after a secret name, in text without a grammar to rely on: `name=value`, `"name":"value"`, `Name: value`,
//! `{"key":"name","value":"value"}`, and protobuf's name and value one after the other.
//!
//! Where a value ends is guessed on the safe side: a delimiter that is escaped, or that stands where its grammar
//! would not have it, belongs to the value. So broken text loses more than the secret, never less.

use std::ops::Range;

use super::Redactor;
use super::names::Names;
use super::view::View;

/// How far back from its separator a name is read. Names are shorter; the bound keeps the search linear.
const MAX_NAME: usize = 128;

/// What kind of text is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Parameters of a URL or a bare query; `from` is where the query starts.
    Url { from: usize },
    /// Anything.
    None,
}

/// Where the query of a URL starts: after the first `?` or `#`; at 0 for text that is a query itself.
pub(super) fn query_start(url: &[u8]) -> usize {
    let mark = memchr::memchr2(b'?', b'#', url).unwrap_or(url.len());
    let before = &url[..mark];
    let is_query = !before.starts_with(b"/")
        && memchr::memchr2(b'=', b'&', before).is_some()
        && memchr::memmem::find(before, b"://").is_none();
    if is_query { 0 } else { mark }
}

/// Appends where secret values stand in the view; in no order.
pub(super) fn find(view: &View, names: &Names, grammar: Grammar, out: &mut Vec<Range<usize>>) {
    let bytes = view.bytes();
    let mut listed = Listed::default();
    let mut at = 0;
    while at < bytes.len() {
        let separator = bytes[at];
        let separates = separator == b'=' || (separator == b':' && grammar == Grammar::None);
        if !separates {
            at += 1;
            continue;
        }
        let name = name_before(view, at, grammar);
        let text = &bytes[name.range.clone()];
        let secret = if name.parameter { names.secret_parameter(text) } else { names.secret(text) };
        let role = if secret || grammar != Grammar::None { Role::None } else { Role::of(text) };
        if !secret && role == Role::None {
            at += 1;
            continue;
        }
        let value = value_after(view, at, name.quoted, grammar);
        if secret {
            if !is_trivial(&bytes[value.clone()]) {
                out.push(value.clone());
            }
            at = value.end.max(at + 1);
        } else {
            listed.see(role, names, bytes, value, out);
            at += 1;
        }
    }
}

/// Whether the quick look at a URL without escapes finds a parameter with a secret name.
pub(super) fn has_secret_parameter(url: &[u8], names: &Names) -> bool {
    memchr::memchr_iter(b'=', url).any(|at| {
        let start = name_start(url, at);
        names.secret_parameter(&url[start..at])
    })
}

fn name_start(bytes: &[u8], end: usize) -> usize {
    let least = end.saturating_sub(MAX_NAME);
    let delimiter =
        |byte: &u8| matches!(byte, b'?' | b'&' | b'#' | b';' | b'/' | b'=' | b' ' | b'\t' | b'\n' | b'"');
    bytes[least..end].iter().rposition(delimiter).map_or(least, |at| least + at + 1)
}

struct Name {
    range: Range<usize>,
    quoted: bool,
    /// Stands where a parameter of a URL stands.
    parameter: bool,
}

fn name_before(view: &View, separator: usize, grammar: Grammar) -> Name {
    let bytes = view.bytes();
    if grammar != Grammar::None {
        return Name { range: name_start(bytes, separator)..separator, quoted: false, parameter: true };
    }
    let blanks = bytes[..separator].iter().rev().take(8).take_while(|&&byte| byte == b' ').count();
    let end = separator - blanks;
    if let Some(&quote @ (b'"' | b'\'')) = bytes[..end].last() {
        let least = end.saturating_sub(MAX_NAME);
        let start =
            bytes[least..end - 1].iter().rposition(|&byte| byte == quote).map_or(least, |at| least + at + 1);
        return Name { range: start..end - 1, quoted: true, parameter: false };
    }
    let least = end.saturating_sub(MAX_NAME);
    let belongs =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'$');
    let start = bytes[least..end].iter().rposition(|byte| !belongs(byte)).map_or(least, |at| least + at + 1);
    let parameter = bytes[separator] == b'=' && start > 0 && matches!(bytes[start - 1], b'?' | b'&' | b'#');
    Name { range: start..end, quoted: false, parameter }
}

/// Where the value after a separator stands, without its quotes.
fn value_after(view: &View, separator: usize, quoted_name: bool, grammar: Grammar) -> Range<usize> {
    let bytes = view.bytes();
    let length = bytes.len();
    let mut start = separator + 1;
    if let Grammar::Url { from } = grammar {
        let end = (start..length).find(|&at| ends_parameter(view, at, separator >= from)).unwrap_or(length);
        return start..end;
    }
    while start < length && matches!(bytes[start], b' ' | b'\t' | b'>') {
        start += 1;
    }
    match bytes.get(start) {
        Some(&quote @ (b'"' | b'\'')) => {
            let end = closing_quote(view, start, quote, bytes[separator]).unwrap_or(length);
            start + 1..end
        }
        Some(b'{' | b'[') if bytes[separator] == b':' && quoted_name => start..closing_bracket(view, start),
        _ if bytes[separator] == b'=' => {
            let ends = |at: &usize| {
                matches!(view.plain(*at), Some(b'&' | b'"' | b' ' | b'\t' | b'\n' | b'\r' | b'<' | b'>'))
            };
            start..(start..length).find(ends).unwrap_or(length)
        }
        _ if quoted_name => start..(start..length).find(|&at| ends_bare(view, at)).unwrap_or(length),
        // A header: all of the line, quotes and commas included.
        _ => {
            let ends = |at: &usize| matches!(view.plain(*at), Some(b'\n' | b'\r'));
            start..(start..length).find(ends).unwrap_or(length)
        }
    }
}

fn ends_parameter(view: &View, at: usize, in_query: bool) -> bool {
    match view.plain(at) {
        Some(b'&' | b'#' | b' ' | b'\t' | b'\n') => true,
        Some(b'/' | b'?') => !in_query,
        Some(b';') => starts_parameter(view, at + 1),
        _ => false,
    }
}

/// After a `;`: is this the next parameter (`name=value`) or still the value?
fn starts_parameter(view: &View, at: usize) -> bool {
    let bytes = &view.bytes()[at..];
    let name = bytes
        .iter()
        .take(MAX_NAME)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let name = name.count();
    name > 0
        && bytes.get(name) == Some(&b'=')
        && !matches!(bytes.get(name + 1), None | Some(b'=' | b'&' | b';'))
}

/// The quote that ends a string: escaped no deeper than the one that opened it, and followed by what may follow a
/// string. A quote in the middle of a badly written value is part of it.
fn closing_quote(view: &View, open: usize, quote: u8, separator: u8) -> Option<usize> {
    let bytes = view.bytes();
    let mut at = open + 1;
    while let Some(step) = memchr::memchr(quote, &bytes[at..]) {
        at += step;
        if view.depth(at) <= view.depth(open) {
            let after = &bytes[at + 1..];
            let blanks = after.iter().take(8).take_while(|byte| byte.is_ascii_whitespace()).count();
            let follows = match after.get(blanks) {
                None | Some(b',' | b'}' | b']') => true,
                Some(_) => {
                    (separator == b'=' && (blanks > 0 || matches!(after[0], b';' | b'>' | b')' | b'&')))
                        || after[0] == b'\n'
                }
            };
            if follows {
                return Some(at);
            }
        }
        at += 1;
    }
    None
}

/// The end of an array or object: brackets counted outside of strings.
fn closing_bracket(view: &View, open: usize) -> usize {
    let bytes = view.bytes();
    let (mut open_brackets, mut at) = (0usize, open);
    let mut string: Option<u8> = None;
    while at < bytes.len() {
        match (bytes[at], string) {
            (b'"', None) => string = Some(view.depth(at)),
            (b'"', Some(depth)) if view.depth(at) <= depth => string = None,
            (b'{' | b'[', None) => open_brackets += 1,
            (b'}' | b']', None) => {
                open_brackets -= 1;
                if open_brackets == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The end of a value without quotes after a quoted name: `"a":1,`, or whatever a broken template wrote.
fn ends_bare(view: &View, at: usize) -> bool {
    let after = |wanted: &[u8]| {
        let rest = &view.bytes()[at + 1..];
        let next = rest.iter().take(8).find(|byte| !byte.is_ascii_whitespace());
        next.is_none_or(|byte| wanted.contains(byte))
    };
    match view.plain(at) {
        Some(b'\n' | b'\r') => true,
        Some(b',') => after(b"\"'"),
        Some(b'}' | b']') => after(b",}]{"),
        _ => false,
    }
}

/// Values that hold nothing: they stay, because that a token was absent is worth knowing.
pub(super) fn is_trivial(value: &[u8]) -> bool {
    matches!(value, b"" | b"-" | b"null" | b"(null)" | b"undefined" | b"None" | b"true" | b"false")
        || value == Redactor::MARK.as_bytes()
}

/// What a member says in a list of named values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Value,
    None,
}

impl Role {
    fn of(name: &[u8]) -> Self {
        match name {
            b"key" | b"Key" | b"name" | b"Name" | b"header" | b"k" => Self::Key,
            b"value" | b"Value" | b"val" | b"v" => Self::Value,
            _ => Self::None,
        }
    }
}

/// Pairs the members of `{"key": …, "value": …}`, in either order.
#[derive(Default)]
struct Listed {
    key: Option<bool>,
    value: Option<Range<usize>>,
}

impl Listed {
    fn see(
        &mut self,
        role: Role,
        names: &Names,
        bytes: &[u8],
        value: Range<usize>,
        out: &mut Vec<Range<usize>>,
    ) {
        let secret = match role {
            Role::Key => {
                let secret = names.secret(&bytes[value]);
                let Some(value) = self.value.take() else {
                    self.key = Some(secret);
                    return;
                };
                secret.then_some(value)
            }
            _ => match self.key.take() {
                Some(secret) => secret.then_some(value),
                None => {
                    self.value = Some(value);
                    return;
                }
            },
        };
        out.extend(secret.filter(|range| !is_trivial(&bytes[range.clone()])));
    }
}

/// Appends protobuf map entries (`key` as field 1, the value as field 2) whose key is a secret name. On raw bytes.
pub(super) fn find_in_protobuf(bytes: &[u8], names: &Names, out: &mut Vec<Range<usize>>) {
    const VALUE_TAG: u8 = 0x12;
    for at in memchr::memchr_iter(VALUE_TAG, bytes) {
        let name =
            bytes[..at].iter().rev().take(MAX_NAME).take_while(|byte| matches!(byte, b'!'..=b'~')).count();
        if name == 0 || !names.secret(&bytes[at - name..at]) {
            continue;
        }
        let mut length = 0usize;
        let mut start = at + 1;
        for (shift, &byte) in bytes[start..].iter().take(5).enumerate() {
            start += 1;
            length |= usize::from(byte & 0x7f) << (7 * shift);
            if byte < 0x80 {
                break;
            }
        }
        out.push(start..start.saturating_add(length).min(bytes.len()));
    }
}
