//! Reads one JSON object of a log line member by member, borrowed, without building a tree.
//!
//! Log objects are flat: keys and short scalars. A cursor that hands out each member beats a typed parser here, as
//! custom formats have any keys in any order. Strings with escapes and nested values, both rare, are left to serde_json.

use std::borrow::Cow;

use memchr::memchr2;

use crate::coerce::Scalar;

/// Why text is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectError {
    /// Ends before the object does: cut by a sender or a runtime's line limit.
    Cut,
    /// Not JSON at this byte of the line.
    Bad(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Deepest nesting of a member. Dynamic metadata nests a few levels; serde_json refuses 128.
pub(crate) const MAX_DEPTH: usize = 100;

/// A member's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Member<'a> {
    Scalar(Scalar<'a>),
    /// An object or array, checked to be JSON, as its text.
    Nested(&'a str),
}

/// A cursor over the members of one object.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    text: &'a str,
    at: usize,
    started: bool,
}

impl<'a> Object<'a> {
    /// Begins at the `{` that opens `text` (after blanks).
    pub(crate) fn open(text: &'a str) -> Result<Self, ObjectError> {
        let mut object = Self { text, at: 0, started: false };
        object.blank();
        object.expect(b'{')?;
        Ok(object)
    }

    /// Bytes read so far; after the last member, where the object ended.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next member, `None` after the last.
    #[inline]
    pub(crate) fn member(&mut self) -> Result<Option<(Cow<'a, str>, Member<'a>)>, ObjectError> {
        self.blank();
        match self.peek()? {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if self.started => {
                self.at += 1;
                self.blank();
            }
            _ if self.started => return Err(ObjectError::Bad(self.at)),
            _ => {}
        }
        self.started = true;
        let key = self.string()?;
        self.blank();
        self.expect(b':')?;
        self.blank();
        let value = self.value()?;
        Ok(Some((key, value)))
    }

    /// The next member's value, if its key is `expected`, written plainly, as the line before had it in this place: one
    /// comparison in place of a search for the key's end. Otherwise nothing is read.
    #[inline]
    pub(crate) fn expected(&mut self, expected: &str) -> Option<Result<Member<'a>, ObjectError>> {
        let bytes = self.text.as_bytes();
        let comma = usize::from(self.started);
        let start = self.at + comma + 1;
        let key = bytes.get(self.at..start + expected.len() + 2)?;
        let (head, rest) = key.split_at(comma + 1);
        let fits = head == if self.started { &b",\""[..] } else { &b"\""[..] }
            && rest.starts_with(expected.as_bytes())
            && rest.ends_with(b"\":");
        if !fits {
            return None;
        }
        self.started = true;
        self.at = start + expected.len() + 2;
        self.blank();
        Some(self.value())
    }

    #[inline]
    fn peek(&self) -> Result<u8, ObjectError> {
        self.text.as_bytes().get(self.at).copied().ok_or(ObjectError::Cut)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), ObjectError> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(ObjectError::Bad(self.at))
        }
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, ObjectError> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let found = special(&bytes[start..]).ok_or(ObjectError::Cut)?;
        if bytes[start + found] == b'"' {
            self.at = start + found + 1;
            return Ok(Cow::Borrowed(&self.text[start..start + found]));
        }
        let mut end = start + found;
        loop {
            let found = memchr2(b'"', b'\\', bytes.get(end..).unwrap_or(&[])).ok_or(ObjectError::Cut)?;
            end += found;
            if bytes[end] == b'"' {
                break;
            }
            end += 2;
        }
        self.at = end + 1;
        serde_json::from_str(&self.text[start - 1..self.at])
            .map(Cow::Owned)
            .map_err(|_| ObjectError::Bad(start))
    }

    fn value(&mut self) -> Result<Member<'a>, ObjectError> {
        let scalar = match self.peek()? {
            b'"' => Scalar::Text(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b'n' => self.word("null", Scalar::Null)?,
            b't' => self.word("true", Scalar::Bool(true))?,
            b'f' => self.word("false", Scalar::Bool(false))?,
            b'{' | b'[' => return self.nested().map(Member::Nested),
            _ => return Err(ObjectError::Bad(self.at)),
        };
        Ok(Member::Scalar(scalar))
    }

    fn word(&mut self, word: &str, scalar: Scalar<'a>) -> Result<Scalar<'a>, ObjectError> {
        let rest = &self.text.as_bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(scalar)
        } else if word.as_bytes().starts_with(rest) {
            Err(ObjectError::Cut)
        } else {
            Err(ObjectError::Bad(self.at))
        }
    }

    #[inline]
    fn number(&mut self) -> Result<Scalar<'a>, ObjectError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + usize::from(bytes[start] == b'-');
        let first = end;
        let mut value = 0i64;
        while let Some(digit @ b'0'..=b'9') = bytes.get(end).copied() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            end += 1;
        }
        let digits = end - first;
        let is_plain = !matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
        if is_plain && (1..=18).contains(&digits) && (digits == 1 || bytes[first] != b'0') {
            self.at = end;
            return Ok(Scalar::Int(if first > start { -value } else { value }));
        }
        while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(end) {
            end += 1;
        }
        self.at = end;
        if end == bytes.len() {
            return Err(ObjectError::Cut);
        }
        let text = &self.text[start..end];
        if let Ok(value) = serde_json::from_str(text) {
            return Ok(Scalar::Uint(value));
        }
        serde_json::from_str(text).map(Scalar::Float).map_err(|_| ObjectError::Bad(start))
    }

    /// Finds where a nested value ends by counting brackets outside of strings, then has serde_json check it.
    fn nested(&mut self) -> Result<&'a str, ObjectError> {
        let bytes = self.text.as_bytes();
        let (start, mut depth, mut at) = (self.at, 0usize, self.at);
        loop {
            match bytes.get(at).ok_or(ObjectError::Cut)? {
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(ObjectError::TooDeep);
                    }
                }
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'"' => {
                    self.at = at;
                    self.skip_string()?;
                    at = self.at;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        self.at = at + 1;
        let text = &self.text[start..self.at];
        match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Ok(text),
            Err(_) => Err(ObjectError::Bad(start)),
        }
    }

    fn skip_string(&mut self) -> Result<(), ObjectError> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            end += memchr2(b'"', b'\\', bytes.get(end..).unwrap_or(&[])).ok_or(ObjectError::Cut)?;
            if bytes[end] == b'"' {
                self.at = end + 1;
                return Ok(());
            }
            end += 2;
        }
    }
}

/// Where the first quote or backslash stands. Values of log lines are short: eight bytes at a time here, and only
/// beyond 32 the vector search, whose call costs more than it saves before.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    for (at, chunk) in bytes.as_chunks::<8>().0.iter().take(4).enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let hits = zero_bytes(word ^ (ONES * 0x22)) | zero_bytes(word ^ (ONES * 0x5c));
        if hits != 0 {
            return Some(at * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    let done = (bytes.len() / 8).min(4) * 8;
    memchr2(b'"', b'\\', &bytes[done..]).map(|found| done + found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Result<Vec<(String, Member<'_>)>, ObjectError> {
        let mut object = Object::open(text)?;
        let mut all = Vec::new();
        while let Some((key, member)) = object.member()? {
            all.push((key.into_owned(), member));
        }
        Ok(all)
    }

    #[test]
    fn scalars_are_borrowed_and_typed() {
        let all = members(r#"{"a":"x","b":12,"c":-7,"d":null,"e":1.5,"f":{"g":[1,"]"]},"h":true}"#).unwrap();
        assert_eq!(all[0].1, Member::Scalar("x".into()));
        assert_eq!(all[1].1, Member::Scalar(Scalar::Int(12)));
        assert_eq!(all[2].1, Member::Scalar(Scalar::Int(-7)));
        assert_eq!(all[4].1, Member::Scalar(Scalar::Float(1.5)));
        assert_eq!(all[5].1, Member::Nested(r#"{"g":[1,"]"]}"#));
        let text = r#"{"plain":"text"}"#;
        let mut object = Object::open(text).unwrap();
        let Ok(Some((Cow::Borrowed("plain"), Member::Scalar(Scalar::Text(Cow::Borrowed("text")))))) =
            object.member()
        else {
            panic!("key and value must be borrowed");
        };
    }

    #[test]
    fn escapes_are_read_and_kept_where_envoy_wrote_them_for_bad_bytes() {
        let all = members(r#"{"ua":"bad\u00ff\u00fe \"q\" \\"}"#).unwrap();
        assert_eq!(all[0].1, Member::Scalar("bad\u{ff}\u{fe} \"q\" \\".into()));
    }

    #[test]
    fn damage_is_told_from_a_cut() {
        for cut in [r#"{"a""#, r#"{"a":"#, r#"{"a":"x"#, r#"{"a":nul"#, r#"{"a":{"b":1"#, r#"{"a":1,"#, "{"] {
            assert_eq!(members(cut), Err(ObjectError::Cut), "{cut}");
        }
        for bad in [r#"{"a" 1}"#, r#"{"a":x}"#, r#"{"a":1 "b":2}"#, r#"{"a":01}"#, r#"{,}"#, r#"{"a":"\q"}"#]
        {
            assert!(matches!(members(bad), Err(ObjectError::Bad(_))), "{bad}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(members(&deep), Err(ObjectError::TooDeep));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(keys in proptest::collection::btree_map("\\PC{0,12}", "\\PC{0,30}", 0..8)) {
            let text = serde_json::to_string(&keys).unwrap();
            let all = members(&text).unwrap();
            prop_assert_eq!(all.len(), keys.len());
            for (key, member) in all {
                prop_assert_eq!(member, Member::Scalar(Scalar::Text(keys[&key].as_str().into())));
            }
        }

        #[test]
        fn any_text_is_survived(text in "\\{[\\PC\\\\\"]{0,60}") {
            let _ = members(&text);
        }
    }
}
