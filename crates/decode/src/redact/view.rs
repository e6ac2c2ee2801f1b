//! Text as its reader will see it: JSON escapes and percent-encoding undone, every byte knowing where it came from.
//!
//! `\u0065yJ` and `%65yJ` must not carry a token past the redactor. The view is only searched, never kept: what is
//! found is cut out of the original bytes. Both encodings may be nested (`\\u0065`, `%2565`).

use std::ops::Range;

/// The decoded bytes and their places.
pub(super) struct View {
    bytes: Vec<u8>,
    /// Where each byte starts in the original; one more at the end.
    at: Vec<u32>,
    /// 0 for a byte that stood as it is, else how it was escaped: backslashes before it, or [`PERCENT`].
    depth: Vec<u8>,
}

const PERCENT: u8 = u8::MAX;

/// Stands for a character beyond ASCII: in no name, in no secret.
const OTHER: u8 = 0xff;

impl View {
    /// At most as long as `raw`, which must be shorter than 4 GiB (records are bounded far below).
    pub(super) fn new(raw: &[u8]) -> Self {
        let mut view = Self::with_capacity(raw.len());
        let mut at = 0;
        while at < raw.len() {
            at += view.unescape(raw, at);
        }
        view.at.push(raw.len() as u32);
        if view.bytes.contains(&b'%') { view.without_percent() } else { view }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How a byte was escaped; a delimiter that is escaped belongs to a value and does not end it.
    pub(super) fn depth(&self, at: usize) -> u8 {
        self.depth[at]
    }

    /// The byte, if it stood unescaped.
    pub(super) fn plain(&self, at: usize) -> Option<u8> {
        (*self.depth.get(at)? == 0).then(|| self.bytes[at])
    }

    /// Where a range of the view stands in the original.
    pub(super) fn origin(&self, range: &Range<usize>) -> Range<usize> {
        self.at[range.start] as usize..self.at[range.end] as usize
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            at: Vec::with_capacity(capacity + 1),
            depth: Vec::with_capacity(capacity),
        }
    }

    fn push(&mut self, byte: u8, at: u32, depth: u8) {
        self.bytes.push(byte);
        self.at.push(at);
        self.depth.push(depth);
    }

    /// Takes one character, escaped or not; gives how many bytes it had.
    fn unescape(&mut self, raw: &[u8], at: usize) -> usize {
        if raw[at] != b'\\' {
            self.push(raw[at], at as u32, 0);
            return 1;
        }
        let slashes = raw[at..].iter().take_while(|&&byte| byte == b'\\').count();
        let depth = slashes.min(usize::from(PERCENT - 1)) as u8;
        let rest = &raw[at + slashes..];
        let (byte, used) = match rest {
            [b'u', digits @ ..] if digits.len() >= 4 => (hex(&digits[..4]), 5),
            [b'x', digits @ ..] if digits.len() >= 2 => (hex(&digits[..2]), 3),
            [byte @ (b'"' | b'\'' | b'/'), ..] => (Some(u32::from(*byte)), 1),
            [b'n' | b'r' | b't' | b'b' | b'f' | b'v', ..] if slashes % 2 == 1 => (Some(u32::from(b' ')), 1),
            _ => (None, 0),
        };
        match byte {
            Some(code) => {
                let byte = if code < 0x80 { code as u8 } else { OTHER };
                self.push(byte, at as u32, depth);
                slashes + used
            }
            None => {
                self.push(b'\\', at as u32, 0);
                slashes
            }
        }
    }

    fn without_percent(self) -> Self {
        let mut view = Self::with_capacity(self.bytes.len());
        let mut at = 0;
        while at < self.bytes.len() {
            let (byte, used) = percent(&self.bytes[at..]).unwrap_or((self.bytes[at], 1));
            view.push(byte, self.at[at], if used > 1 { PERCENT } else { self.depth[at] });
            at += used;
        }
        view.at.extend(self.at.last());
        view
    }
}

/// `%65`, `%2565`, `%252565`: the byte and how long it was written.
fn percent(text: &[u8]) -> Option<(u8, usize)> {
    let mut digits = text.strip_prefix(b"%")?;
    while digits.len() >= 4 && digits.starts_with(b"25") && hex(&digits[2..4]).is_some() {
        digits = &digits[2..];
    }
    let byte = hex(digits.get(..2)?)? as u8;
    Some((byte, text.len() - digits.len() + 2))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_known() {
        let cases = [
            (r"\u0065yJ", "eyJ"),
            (r"\\u0065yJ", "eyJ"),
            (r"\x65yJ", "eyJ"),
            ("%65yJ", "eyJ"),
            ("%2565yJ", "eyJ"),
            (r"\u00256565", "e65"),
            (r"a\/b", "a/b"),
            (r"a\nb", "a b"),
            (r"a\\nb", r"a\nb"),
            ("100%", "100%"),
            ("%2", "%2"),
            (r"\u12", r"\u12"),
            ("%25", "%"),
            (r"\", r"\"),
        ];
        for (raw, seen) in cases {
            let view = View::new(raw.as_bytes());
            assert_eq!(String::from_utf8_lossy(view.bytes()), seen, "{raw}");
            assert_eq!(view.origin(&(0..view.bytes().len())), 0..raw.len());
        }
    }

    #[test]
    fn places_lead_back() {
        let raw = br#"ab\u0063%64"e"#;
        let view = View::new(raw);
        assert_eq!(view.bytes(), b"abcd\"e");
        assert_eq!(&raw[view.origin(&(2..4))], br"\u0063%64");
        assert_eq!((view.plain(4), view.plain(3), view.plain(99)), (Some(b'"'), None, None));
    }
}
