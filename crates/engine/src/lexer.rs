//! Splits ClickHouse SQL into tokens, far enough to find a `FORMAT` clause without being fooled by text or comments.
//!
//! It never decides what a statement may do: that is asked of the engine's own parser.

/// What a token is; its bytes are `start..end` of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word or number.
    Word,
    /// `'…'` or a heredoc.
    Text,
    /// `` `…` `` or `"…"`.
    Name,
    /// Any other single byte.
    Mark(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug)]
pub(crate) struct Lexer<'s> {
    sql: &'s [u8],
    at: usize,
}

impl<'s> Lexer<'s> {
    pub(crate) fn new(sql: &'s [u8]) -> Self {
        Self { sql, at: 0 }
    }

    fn rest(&self) -> &'s [u8] {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn skip_past(&mut self, mark: &[u8]) {
        let rest = self.rest();
        let found = rest.windows(mark.len()).position(|window| window == mark);
        self.at = found.map_or(self.sql.len(), |at| self.at + at + mark.len());
    }

    /// Steps over whitespace and comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => self.at += 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => self.skip_past(b"\n"),
                [b'/', b'*', ..] => {
                    self.at += 2;
                    self.skip_past(b"*/");
                }
                _ => return,
            }
        }
    }

    /// Steps over a quoted run; both `\x` and a doubled quote stay inside.
    fn skip_quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(&byte) = self.sql.get(self.at) {
            self.at += 1;
            if byte == b'\\' {
                self.at += 1;
            } else if byte == quote {
                if self.sql.get(self.at) != Some(&quote) {
                    return;
                }
                self.at += 1;
            }
        }
        self.at = self.sql.len();
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let start = self.at;
        let kind = match *self.sql.get(start)? {
            b'\'' => {
                self.skip_quoted(b'\'');
                Kind::Text
            }
            quote @ (b'`' | b'"') => {
                self.skip_quoted(quote);
                Kind::Name
            }
            b'$' => {
                let tag = self.rest()[1..].iter().position(|byte| !is_word(*byte)).map(|length| length + 2);
                match tag.and_then(|length| self.rest().get(..length)).filter(|tag| tag.ends_with(b"$")) {
                    Some(tag) => {
                        let tag = tag.to_vec();
                        self.at += tag.len();
                        self.skip_past(&tag);
                        Kind::Text
                    }
                    None => {
                        self.at += 1;
                        Kind::Mark(b'$')
                    }
                }
            }
            byte if is_word(byte) => {
                while self.sql.get(self.at).is_some_and(|byte| is_word(*byte)) {
                    self.at += 1;
                }
                Kind::Word
            }
            byte => {
                self.at += 1;
                Kind::Mark(byte)
            }
        };
        self.at = self.at.min(self.sql.len());
        Some(Token { kind, start, end: self.at })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sql: &str) -> Vec<&str> {
        Lexer::new(sql.as_bytes()).map(|token| &sql[token.start..token.end]).collect()
    }

    #[test]
    fn text_and_comments_hide_what_is_in_them() {
        assert_eq!(pieces("a -- format x\n'it''s \\' /* */' /* b ; */ c"), ["a", "'it''s \\' /* */'", "c"]);
        assert_eq!(pieces("select $q$ ' ; $q$ # x\n+1"), ["select", "$q$ ' ; $q$", "+", "1"]);
        assert_eq!(pieces("`a``b`.\"c\""), ["`a``b`", ".", "\"c\""]);
    }

    #[test]
    fn unfinished_quotes_and_comments_end_at_the_end() {
        for sql in ["'abc", "'abc\\", "/* abc", "-- abc", "$a$ bc", "$", "`"] {
            assert!(Lexer::new(sql.as_bytes()).all(|token| token.end <= sql.len()), "{sql}");
        }
    }
}
