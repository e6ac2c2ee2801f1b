//! The one bounded repair of lines that templates break in known ways: escapes that JSON does not have (`\xNN`, `\v`),
//! numbers that were unset (`"bytes":,`), and unset or non-finite values written bare (`(null)`, `NAN`, `inf`).

use std::borrow::Cow;

/// Longest text that is repaired, in bytes; templates cannot write longer lines (64 KiB at most).
pub(crate) const MAX_REPAIR_BYTES: usize = 128 * 1024;

/// Bare words that stand for a value that is not there.
const NULLS: &[&str] = &["(null)", "-inf", "inf", "NAN", "NaN", "nan", "-nan", "-NAN"];

/// The repaired text, borrowed if there was nothing to repair. It grows by a factor of 3 at most.
pub(crate) fn repair(text: &str) -> Cow<'_, str> {
    if text.len() > MAX_REPAIR_BYTES {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut kept, mut at) = (0, 0);
    let mut in_string = false;
    let mut after_colon = false;
    while at < bytes.len() {
        let (length, new) = match bytes[at] {
            b'\\' if in_string => match bytes.get(at + 1) {
                Some(b'v') => (2, "\\u000b"),
                Some(b'x') if is_hex(bytes, at + 2) => (2, "\\u00"),
                _ => {
                    at += 2;
                    continue;
                }
            },
            b'"' => {
                in_string = !in_string;
                after_colon = false;
                at += 1;
                continue;
            }
            _ if in_string => {
                at += 1;
                continue;
            }
            b',' | b'}' if after_colon => (0, "null"),
            b':' => {
                after_colon = true;
                at += 1;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            _ => match NULLS.iter().find(|word| after_colon && bytes[at..].starts_with(word.as_bytes())) {
                Some(word) => (word.len(), "null"),
                None => {
                    after_colon = false;
                    at += 1;
                    continue;
                }
            },
        };
        after_colon = false;
        out.push_str(&text[kept..at]);
        out.push_str(new);
        at += length;
        kept = at;
    }
    if kept == 0 && out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

fn is_hex(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_breaks_are_mended_and_nothing_else_is_touched() {
        for (broken, mended) in [
            (r#"{"a":"x","req_bytes":,"status":200}"#, r#"{"a":"x","req_bytes":null,"status":200}"#),
            (r#"{"a": }"#, r#"{"a": null}"#),
            (r#"{"rtt":(null),"ua":"(null)"}"#, r#"{"rtt":null,"ua":"(null)"}"#),
            (r#"{"url":"/a\xe9\v"}"#, r#"{"url":"/a\u00e9\u000b"}"#),
            (r#"{"url":"/a\\xe9"}"#, r#"{"url":"/a\\xe9"}"#),
            (r#"{"p":NAN,"q":-inf,"r":inf}"#, r#"{"p":null,"q":null,"r":null}"#),
            (r#"{"a":":,"}"#, r#"{"a":":,"}"#),
            (r#"{"a":"\xzz"}"#, r#"{"a":"\xzz"}"#),
        ] {
            assert_eq!(repair(broken), mended);
        }
    }
}
