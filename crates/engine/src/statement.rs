//! What the HTTP interface must know of a statement before it can be run: which call it needs and in which format.
//!
//! Three calls exist and each loses data when used for the wrong statement: inline binary data in an `INSERT` is cut at
//! the first blank line unless it goes through the insert stream, and a long `SELECT` is held whole in memory unless it
//! goes through the row stream.

use crate::lexer::{Kind, Lexer, Token};

/// How a statement is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `INSERT` with data: the SQL without `FORMAT`, the data's format, and where the data starts in the text.
    Insert(InsertParts),
    /// A query whose rows can be streamed, with the format its text asks for.
    Rows { format: Option<String>, whole: bool },
    /// Anything else; `format` where its text asks for one.
    Other { format: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InsertParts {
    /// The statement up to, and without, `FORMAT` or `VALUES`.
    pub(crate) sql: Vec<u8>,
    /// Where per-statement settings go in `sql`, and whether a `SETTINGS` word stands before that place.
    pub(crate) settings_at: (usize, bool),
    /// The data's format; `None` where the text names none.
    pub(crate) format: Option<String>,
    /// Offset of the first data byte in the text.
    pub(crate) data_at: usize,
}

/// Reads a statement's shape. Never fails: what it cannot read is `Other`, and the engine will say what is wrong.
pub(crate) fn shape(text: &[u8]) -> Shape {
    let mut lexer = Lexer::new(text);
    let first = lexer.next().map(|token| word(text, token)).unwrap_or_default();
    match first.as_str() {
        "INSERT" => insert(text, lexer).map_or(Shape::Other { format: None }, Shape::Insert),
        "SELECT" | "WITH" | "(" | "FROM" => {
            let (format, whole) = output(text);
            Shape::Rows { format, whole }
        }
        _ => Shape::Other { format: output(text).0 },
    }
}

/// The token's bytes in upper case; empty for text and quoted names, so that they equal no keyword.
fn word(text: &[u8], token: Token) -> String {
    match token.kind {
        Kind::Text | Kind::Name => String::new(),
        Kind::Word | Kind::Mark(_) => {
            String::from_utf8_lossy(&text[token.start..token.end]).to_ascii_uppercase()
        }
    }
}

fn insert(text: &[u8], lexer: Lexer<'_>) -> Option<InsertParts> {
    let mut tokens = lexer.peekable();
    for keyword in ["INTO", "TABLE", "FUNCTION"] {
        tokens.next_if(|token| word(text, *token) == keyword);
    }
    // The table's name, whose parts may be any word, `format` included.
    loop {
        tokens.next()?;
        if tokens.next_if(|token| token.kind == Kind::Mark(b'.')).is_none() {
            break;
        }
    }
    let mut depth = 0_u32;
    let mut opened = false;
    let mut settings_at = None;
    while let Some(token) = tokens.next() {
        let spelled = word(text, token);
        match (spelled.as_str(), depth) {
            ("(", _) => {
                depth += 1;
                opened = true;
                continue;
            }
            (")", _) => depth = depth.saturating_sub(1),
            ("SELECT", _) if depth == 0 || opened => return None,
            ("WITH" | "FROM" | "WATCH" | ";", 0) => return None,
            ("SETTINGS", 0) => settings_at = Some(token.end),
            ("VALUES", 0) => return Some(parts(text, token.start, settings_at, "Values", token.end)),
            ("FORMAT", 0) => {
                let name = tokens.next().filter(|token| token.kind == Kind::Word)?;
                let format = String::from_utf8_lossy(&text[name.start..name.end]).into_owned();
                return Some(parts(text, token.start, settings_at, &format, line_end(text, name.end)));
            }
            _ => {}
        }
        opened = false;
    }
    let end = text.len();
    Some(InsertParts { format: None, ..parts(text, end, settings_at, "", end) })
}

fn parts(text: &[u8], sql_end: usize, settings: Option<usize>, format: &str, data_at: usize) -> InsertParts {
    let sql = text[..sql_end].to_vec();
    let settings_at = settings.map_or((sql.len(), false), |at| (at, true));
    InsertParts { sql, settings_at, format: Some(format.to_owned()), data_at }
}

/// Data starts after blanks and at most one line end, so that data may itself begin with a newline.
fn line_end(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\x0c')) {
        at += 1;
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') { at + 1 } else { at }
}

impl InsertParts {
    /// The SQL with these settings in its `SETTINGS` clause. The statement's own come after and win.
    pub(crate) fn with_settings(&self, settings: &[(String, String)]) -> Vec<u8> {
        if settings.is_empty() {
            return self.sql.clone();
        }
        let list: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        let list = list.join(", ");
        let (at, has_clause) = self.settings_at;
        let (before, after) = self.sql.split_at(at);
        let clause = if has_clause { format!(" {list},") } else { format!(" SETTINGS {list} ") };
        [before, clause.as_bytes(), after].concat()
    }
}

/// A string literal.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A quoted name.
pub(crate) fn quoted_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// The format a query's text ends with, and whether its answer must be made in one piece.
///
/// `WITH TOTALS`, extremes and JSON arrays put something before or after the rows that only a whole answer has right.
fn output(text: &[u8]) -> (Option<String>, bool) {
    let (mut depth, mut format, mut whole) = (0_u32, None, false);
    let (mut last, mut before_last) = (String::new(), String::new());
    let mut in_settings = false;
    for token in Lexer::new(text) {
        let spelled = word(text, token);
        match spelled.as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "TOTALS" | "EXTREMES" | "OUTPUT_FORMAT_JSON_ARRAY_OF_ROWS" => whole = true,
            _ => {}
        }
        if depth == 0 && spelled == "SETTINGS" {
            in_settings = true;
        } else if depth == 0 && last == "FORMAT" && token.kind == Kind::Word && !before_last.is_empty() {
            format = Some(String::from_utf8_lossy(&text[token.start..token.end]).into_owned());
        } else if spelled != ";" && !in_settings {
            format = None;
        }
        before_last = std::mem::replace(&mut last, spelled);
        if token.kind == Kind::Text || token.kind == Kind::Name {
            "?".clone_into(&mut last);
        }
    }
    (format, whole)
}

/// Whether the text could send its answer to a file, or names a table by a parameter.
pub(crate) fn leaves_the_answer(text: &[u8]) -> bool {
    let mut last = String::new();
    Lexer::new(text).any(|token| {
        let spelled = word(text, token);
        let found = (last == "INTO" && spelled == "OUTFILE") || (last == ":" && spelled == "IDENTIFIER");
        last = spelled;
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert_of(text: &str) -> (String, Option<String>, String) {
        match shape(text.as_bytes()) {
            Shape::Insert(parts) => {
                (String::from_utf8(parts.sql).unwrap(), parts.format, text[parts.data_at..].to_owned())
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_format_of_an_insert_is_taken_out() {
        for (text, sql, format, data) in [
            ("INSERT INTO t(a,b) FORMAT RowBinary", "INSERT INTO t(a,b) ", Some("RowBinary"), ""),
            ("insert into t format CSV\n\n1;2", "insert into t ", Some("CSV"), "\n1;2"),
            (
                "insert into format.`format` (format) FORMAT Native \r\nx",
                "insert into format.`format` (format) ",
                Some("Native"),
                "x",
            ),
            ("INSERT t VALUES (1), (';')", "INSERT t ", Some("Values"), " (1), (';')"),
            (
                "insert into t settings a = 'format x' format TSV\nx",
                "insert into t settings a = 'format x' ",
                Some("TSV"),
                "x",
            ),
            (
                "insert into function null('format X') (a) format TSV x",
                "insert into function null('format X') (a) ",
                Some("TSV"),
                "x",
            ),
            ("insert into t (a)", "insert into t (a)", None, ""),
        ] {
            assert_eq!(
                insert_of(text),
                (sql.to_owned(), format.map(str::to_owned), data.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_insert_from_a_query_is_not_an_insert_with_data() {
        for text in [
            "insert into t select 1",
            "insert into t (a) (select 1)",
            "insert into t with 1 as x select x",
            "insert into t from infile 'x' format CSV",
            "insert into t; drop table t",
        ] {
            assert_eq!(shape(text.as_bytes()), Shape::Other { format: None }, "{text}");
        }
    }

    #[test]
    fn the_format_of_a_query_is_its_last_clause() {
        for (text, format, whole) in [
            ("select 1 format JSON", Some("JSON"), false),
            ("select 1 format JSON; -- x", Some("JSON"), false),
            ("select 1 format TSV settings max_threads = 1", Some("TSV"), false),
            ("select 1 as format", None, false),
            ("select format from t", None, false),
            ("select 'format JSON'", None, false),
            ("select * from (select 1 format Null)", None, false),
            ("with 1 as x select x group by x with totals", None, true),
        ] {
            let expected = Shape::Rows { format: format.map(str::to_owned), whole };
            assert_eq!(shape(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn settings_join_the_statement_s_own() {
        let settings = [("insert_deduplication_token".to_owned(), "a'b\\".to_owned())];
        let with = |text: &str| match shape(text.as_bytes()) {
            Shape::Insert(parts) => String::from_utf8(parts.with_settings(&settings)).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            with("insert into t (a) format TSV"),
            "insert into t (a)  SETTINGS insert_deduplication_token = 'a\\'b\\\\' "
        );
        assert_eq!(
            with("insert into t settings x=1 format TSV"),
            "insert into t settings insert_deduplication_token = 'a\\'b\\\\', x=1 "
        );
    }

    #[test]
    fn answers_that_leave_and_tables_by_parameter_are_seen() {
        assert!(leaves_the_answer(b"select 1 into /* x */ outfile 'a'"));
        assert!(leaves_the_answer(b"select * from {t : Identifier}"));
        assert!(!leaves_the_answer(b"select 'into outfile', {t:String}"));
    }
}
