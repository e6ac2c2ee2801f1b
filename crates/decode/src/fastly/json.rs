//! A strict, borrowing scanner of JSON tokens, made for flat log lines.
//!
//! Our own because the product's speed is decided here: a key is compared with the key that stood at this place in
//! the line before (one `memcmp`, no hashing), numbers stay text until their target's type is known, and a fault
//! carries its byte offset and whether the text merely ended. It accepts exactly what `serde_json` accepts (a
//! property test holds that), but for its bound on nesting.

use std::borrow::Cow;

use crate::coerce::Scalar;

/// Deepest nesting in one record; log templates nest three deep, and deeper costs work without meaning.
pub(crate) const MAX_DEPTH: usize = 32;

/// Where and why text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte in the scanned text.
    pub(crate) at: usize,
    pub(crate) kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// What was expected and not found.
    Expected(&'static str),
    /// The text ended between tokens or inside a bare word; more lines could complete it.
    End,
    /// The text ended inside a string; nothing after a line break can complete it.
    EndInString,
    /// Deeper than [`MAX_DEPTH`].
    Depth,
}

/// A position in text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub(crate) fn fault<T>(&self, kind: FaultKind) -> Result<T, Fault> {
        let kind = if self.at >= self.text.len() && kind != FaultKind::Depth { FaultKind::End } else { kind };
        Err(Fault { at: self.at, kind })
    }

    /// The next byte that is not white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    /// Consumes the byte that was peeked.
    #[inline]
    pub(crate) fn bump(&mut self) {
        self.at += 1;
    }

    /// Consumes `byte` after white space, or says what was expected.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.fault(FaultKind::Expected(what))
    }

    /// Returns to a place that was scanned before.
    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Consumes exactly `wanted`. In words of eight bytes, the last one overlapping: at the usual 5 to 20 bytes a call
    /// of `memcmp` costs more than the comparison.
    #[inline]
    pub(crate) fn accept(&mut self, wanted: &[u8]) -> bool {
        let length = wanted.len();
        let Some(here) = self.bytes().get(self.at..self.at + length) else { return false };
        let word =
            |bytes: &[u8], at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let same = if length < 8 {
            here.iter().zip(wanted).all(|(a, b)| a == b)
        } else if length <= 16 {
            word(here, 0) == word(wanted, 0) && word(here, length - 8) == word(wanted, length - 8)
        } else {
            here == wanted
        };
        self.at += if same { length } else { 0 };
        same
    }

    /// Reads one value that is no object and no array. A number is text as it stands; where `is_count` asks for it, a
    /// whole number of up to 18 digits is a number instead.
    #[inline]
    pub(crate) fn scalar(&mut self, is_count: bool) -> Result<Scalar<'a>, Fault> {
        Ok(match self.bytes().get(self.at) {
            Some(b'"') => Scalar::Text(self.string()?),
            Some(b't') => self.word("true").map(|()| Scalar::Bool(true))?,
            Some(b'f') => self.word("false").map(|()| Scalar::Bool(false))?,
            Some(b'n') => self.word("null").map(|()| Scalar::Null)?,
            _ if is_count => match self.count() {
                Some(count) => Scalar::Int(count),
                None => Scalar::Text(self.number()?.into()),
            },
            _ => Scalar::Text(self.number()?.into()),
        })
    }

    /// A whole number without sign, of which the text can be made again; otherwise nothing is read.
    #[inline]
    fn count(&mut self) -> Option<i64> {
        let rest = &self.bytes()[self.at..];
        let mut value = 0;
        let mut length = 0;
        while let Some(digit) =
            rest.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        {
            if length == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            length += 1;
        }
        let plain = !matches!(rest.get(length), Some(b'.' | b'e' | b'E'));
        if length == 0 || !plain || (length > 1 && rest[0] == b'0') {
            return None;
        }
        self.at += length;
        Some(value)
    }

    /// Consumes a whole string token if it is exactly `key`, which must need no escapes.
    #[inline]
    pub(crate) fn accept_key(&mut self, key: &str) -> bool {
        let rest = &self.bytes()[self.at..];
        let end = key.len() + 1;
        let same =
            rest.len() > end && rest[0] == b'"' && rest[end] == b'"' && &rest[1..end] == key.as_bytes();
        if same {
            self.at += end + 1;
        }
        same
    }

    /// Reads a string; the scanner stands at its opening quote. Borrowed unless it has escapes.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at + 1;
        let end = self.plain_end(start);
        match self.bytes().get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Cow::Borrowed(&self.text[start..end]))
            }
            _ => self.escaped(start, end).map(Cow::Owned),
        }
    }

    /// First byte from `at` on that is a quote, a backslash or a control character; the length if there is none.
    #[inline]
    fn plain_end(&self, mut at: usize) -> usize {
        const ONES: u64 = u64::MAX / 255;
        const HIGH: u64 = ONES * 0x80;
        let bytes = self.bytes();
        // Eight at a time: the subtraction borrows into a byte's high bit where the byte was below the constant.
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let quote = word ^ (ONES * u64::from(b'"'));
            let backslash = word ^ (ONES * u64::from(b'\\'));
            let hit = ((quote.wrapping_sub(ONES) & !quote)
                | (backslash.wrapping_sub(ONES) & !backslash)
                | (word.wrapping_sub(ONES * 0x20) & !word))
                & HIGH;
            if hit != 0 {
                return at + hit.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        while bytes.get(at).is_some_and(|&byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
            at += 1;
        }
        at
    }

    #[cold]
    fn escaped(&mut self, start: usize, mut stop: usize) -> Result<String, Fault> {
        let mut out = String::new();
        let mut from = start;
        loop {
            out.push_str(&self.text[from..stop]);
            self.at = stop;
            match self.bytes().get(stop) {
                Some(b'"') => {
                    self.at = stop + 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    from = self.escape(stop + 1, &mut out)?;
                    stop = self.plain_end(from);
                }
                Some(_) => return self.fault(FaultKind::Expected("no control character in a string")),
                None => return Err(Fault { at: stop, kind: FaultKind::EndInString }),
            }
        }
    }

    /// One escape, `at` behind its backslash; returns where the text goes on.
    fn escape(&mut self, at: usize, out: &mut String) -> Result<usize, Fault> {
        self.at = at;
        let plain = match self.bytes().get(at) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex4(at + 1)?;
                let (value, next) = match first {
                    0xd800..0xdc00 if self.text[at + 5..].starts_with("\\u") => {
                        let second = self.hex4(at + 7)?;
                        if !(0xdc00..0xe000).contains(&second) {
                            return self.fault(FaultKind::Expected("a whole surrogate pair"));
                        }
                        (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), at + 11)
                    }
                    _ => (first, at + 5),
                };
                match char::from_u32(value) {
                    Some(char) => out.push(char),
                    None => return self.fault(FaultKind::Expected("a whole surrogate pair")),
                }
                return Ok(next);
            }
            Some(_) => return self.fault(FaultKind::Expected("a known escape")),
            None => return Err(Fault { at, kind: FaultKind::EndInString }),
        };
        out.push(plain);
        Ok(at + 1)
    }

    fn hex4(&self, at: usize) -> Result<u32, Fault> {
        let Some(digits) = self.bytes().get(at..at + 4) else {
            return Err(Fault { at: self.text.len(), kind: FaultKind::EndInString });
        };
        digits.iter().try_fold(0, |value, &byte| {
            let digit = (byte as char).to_digit(16);
            digit
                .map(|digit| value << 4 | digit)
                .ok_or(Fault { at, kind: FaultKind::Expected("four hex digits") })
        })
    }

    /// Reads a number as its text.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        if self.bytes().get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes().get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fault(FaultKind::Expected("a value")),
        }
        if self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.bytes().get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes().get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while self.bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        let from = self.at;
        self.digits();
        if self.at == from { self.fault(FaultKind::Expected("a digit")) } else { Ok(()) }
    }

    /// Consumes a bare word such as `true`.
    pub(crate) fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        let rest = &self.bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        if word.as_bytes().starts_with(rest) {
            self.at = self.text.len();
        }
        self.fault(FaultKind::Expected("a value"))
    }

    /// Skips one value of any kind, however it is nested, up to the bound.
    pub(crate) fn skip_value(&mut self) -> Result<(), Fault> {
        let mut open = [0u8; MAX_DEPTH];
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.bump();
                    if self.peek() == Some(bracket + 2) {
                        self.bump(); // `{}` and `[]`: the closing bracket's code is two higher
                    } else {
                        if depth == MAX_DEPTH {
                            return self.fault(FaultKind::Depth);
                        }
                        open[depth] = bracket;
                        depth += 1;
                        if bracket == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => drop(self.number()?),
            }
            loop {
                let Some(&bracket) = open[..depth].last() else { return Ok(()) };
                match self.peek() {
                    Some(b',') => {
                        self.bump();
                        if bracket == b'{' {
                            self.skip_key()?;
                        }
                        break;
                    }
                    Some(byte) if byte == bracket + 2 => {
                        self.bump();
                        depth -= 1;
                    }
                    _ => return self.fault(FaultKind::Expected("`,` or a closing bracket")),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            return self.fault(FaultKind::Expected("a key"));
        }
        self.string()?;
        self.expect(b':', "`:`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip_value().is_ok() && scanner.peek().is_none()
    }

    #[test]
    fn strings_are_borrowed_unless_escaped() {
        assert!(matches!(Scanner::new("\"plain é\"").string(), Ok(Cow::Borrowed("plain é"))));
        assert_eq!(Scanner::new(r#""a\n\u00e9\ud83d\ude00\/""#).string().unwrap(), "a\né😀/");
    }

    #[test]
    fn an_end_says_whether_a_line_break_could_mend_it() {
        let kind = |text| Scanner::new(text).skip_value().unwrap_err().kind;
        assert_eq!(kind("{\"a\":"), FaultKind::End);
        assert_eq!(kind("{\"a\":tr"), FaultKind::End);
        assert_eq!(kind("{\"a\":\"x"), FaultKind::EndInString);
        assert_eq!(kind("{\"a\":\"x\\"), FaultKind::EndInString);
        assert_eq!(kind(&"[".repeat(40)), FaultKind::Depth);
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in r#"[\[\]{}:, "\\a1u0e.tfn\-]{0,24}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(accepts(&text), theirs, "{}", text);
        }

        #[test]
        fn reads_the_strings_that_serde_json_writes(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Scanner::new(&json).string().unwrap(), text);
        }
    }
}
