//! TraceQL text to tokens.

use store::query::tempo::Operator;

use super::Refused;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// One of `{ } ( ) ,`.
    Mark(char),
    And,
    Or,
    Pipe,
    Comparison(Operator),
    Text(String),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    /// A name, with its scope and without quotes: `resource.service.name`, `.a b`, `status`, `nil`.
    Name(String),
}

/// Where a token begins, and the token.
pub(super) type Placed = (usize, Token);

/// Every token of a query.
pub(super) fn tokens(query: &str) -> Result<Vec<Placed>, Refused> {
    let mut lexer = Lexer { query, at: 0 };
    let mut found = Vec::new();
    while let Some(token) = lexer.token()? {
        found.push(token);
    }
    Ok(found)
}

/// A time span such as `100ms`, `1.5s`, `1h30m` or `2d`, in nanoseconds.
pub(in crate::api::tempo) fn duration_ns(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit_ns = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            "d" => 86_400e9,
            "w" => 7.0 * 86_400e9,
            "y" => 365.0 * 86_400e9,
            _ => return None,
        };
        rest = &rest[letters..];
        sum += number * unit_ns;
    }
    // Beyond three centuries no duration is meant.
    (!text.is_empty() && sum <= 1e19).then_some(sum as i64)
}

struct Lexer<'q> {
    query: &'q str,
    at: usize,
}

/// What a name may consist of: everything that is no space and no sign of the grammar.
fn is_of_name(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(
            c,
            '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',' | '"' | '`'
        )
}

impl<'q> Lexer<'q> {
    fn rest(&self) -> &'q str {
        self.query.get(self.at..).unwrap_or_default()
    }

    fn refused(&self, what: impl Into<String>) -> Refused {
        Refused { at: self.at, what: what.into() }
    }

    fn token(&mut self) -> Result<Option<Placed>, Refused> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let at = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let token = match first {
            '{' | '}' | '(' | ')' | ',' => {
                self.at += 1;
                Token::Mark(first)
            }
            '"' => Token::Text(self.quoted()?),
            '`' => Token::Text(self.raw()?),
            '0'..='9' => self.number()?,
            '-' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            _ if is_of_name(first) => Token::Name(self.name()?),
            _ => self.sign()?,
        };
        Ok(Some((at, token)))
    }

    fn sign(&mut self) -> Result<Token, Refused> {
        let rest = self.rest();
        let signs = rest.find(|c: char| !matches!(c, '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^'));
        let run = &rest[..signs.unwrap_or(rest.len())];
        let (length, token) = match run {
            "&&" => (2, Token::And),
            "||" => (2, Token::Or),
            "|" => (1, Token::Pipe),
            "=" => (1, Token::Comparison(Operator::Equal)),
            "!=" => (2, Token::Comparison(Operator::NotEqual)),
            "<" => (1, Token::Comparison(Operator::Less)),
            "<=" => (2, Token::Comparison(Operator::LessOrEqual)),
            ">" => (1, Token::Comparison(Operator::Greater)),
            ">=" => (2, Token::Comparison(Operator::GreaterOrEqual)),
            "=~" => (2, Token::Comparison(Operator::Matches)),
            "!~" => (2, Token::Comparison(Operator::DoesNotMatch)),
            _ => return Err(self.refused(format!("`{run}` is not understood"))),
        };
        self.at += length;
        Ok(token)
    }

    /// A text in double quotes, with its escapes.
    fn quoted(&mut self) -> Result<String, Refused> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some(same @ ('"' | '\'' | '\\' | '`')) => text.push(same),
                    // Grafana's form writes values as they are; a backslash in a regular expression is itself.
                    Some(other) => text.extend(['\\', other]),
                    None => break,
                },
                _ => text.push(c),
            }
        }
        Err(self.refused("a text has no closing quote"))
    }

    /// A text in backquotes, as it stands.
    fn raw(&mut self) -> Result<String, Refused> {
        let inner = &self.rest()[1..];
        let end = inner.find('`').ok_or_else(|| self.refused("a text has no closing backquote"))?;
        self.at += end + 2;
        Ok(inner[..end].to_owned())
    }

    /// A whole number, a number, or a time span.
    fn number(&mut self) -> Result<Token, Refused> {
        let rest = self.rest();
        let negative = rest.starts_with('-');
        let digits = &rest[usize::from(negative)..];
        let end = digits.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(digits.len());
        let word = &digits[..end];
        let token = if let Ok(number) = rest[..usize::from(negative) + end].parse::<i64>() {
            Some(Token::Int(number))
        } else if word.contains(|c: char| c.is_alphabetic()) {
            duration_ns(word).map(|ns| Token::Duration(if negative { -ns } else { ns }))
        } else {
            let number: Option<f64> = word.parse().ok();
            number.map(|number| Token::Float(if negative { -number } else { number }))
        };
        let token = token.ok_or_else(|| self.refused(format!("`{word}` is no number and no time span")))?;
        self.at += usize::from(negative) + end;
        Ok(token)
    }

    /// A name; in an attribute's name parts may be quoted.
    fn name(&mut self) -> Result<String, Refused> {
        let mut name = String::new();
        loop {
            let rest = self.rest();
            let run = &rest[..rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len())];
            name += run;
            self.at += run.len();
            let is_attribute = name.contains('.');
            if !(is_attribute && self.rest().starts_with('"')) {
                return Ok(name);
            }
            name += &self.quoted()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_of_every_unit() {
        assert_eq!(duration_ns("100ms"), Some(100_000_000));
        assert_eq!(duration_ns("1.5s"), Some(1_500_000_000));
        assert_eq!(duration_ns("1h30m"), Some(5_400_000_000_000));
        assert_eq!(duration_ns("2µs"), Some(2_000));
        for no_span in ["", "5", "ms", "5 s", "5parsecs", "1.2.3s", "99999999999y"] {
            assert_eq!(duration_ns(no_span), None, "{no_span}");
        }
    }
}
