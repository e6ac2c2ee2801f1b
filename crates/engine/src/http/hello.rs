//! The first question of clickhouse-go over HTTP, which Grafana's ClickHouse plugin asks of every server.
//!
//! It names a protocol version and expects the one-row answer in that version's Native form, which the engine cannot
//! write: that form has a block header and a byte per column more. The answer says that this server's own revision is 0,
//! and the client then reads every later answer in the plain form. Taken from the client's published source; the client
//! itself is not part of the tests.

use bytes::Bytes;

use crate::lexer::Lexer;

/// The first protocol version whose Native form has the extra byte per column.
const WITH_CUSTOM_SERIALIZATION: u64 = 54_454;
const QUESTION: &str = "SELECT displayName ( ) , version ( ) , revision ( ) , timezone ( )";

/// The answer, where this is the question.
pub(crate) fn answer(sql: &[u8], protocol_version: u64, version: &str) -> Option<Bytes> {
    if protocol_version < WITH_CUSTOM_SERIALIZATION || sql.len() > 2 * QUESTION.len() {
        return None;
    }
    let words: Vec<_> =
        Lexer::new(sql).map(|token| String::from_utf8_lossy(&sql[token.start..token.end])).collect();
    if !words.join(" ").trim_end_matches([' ', ';']).eq_ignore_ascii_case(QUESTION) {
        return None;
    }
    // Block header: field 1 no overflow, field 2 bucket -1, end. Then 4 columns of 1 row.
    let mut out = vec![1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 4, 1];
    let name = |out: &mut Vec<u8>, text: &str| {
        let text = &text.as_bytes()[..text.len().min(127)];
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    };
    for (column, value) in [
        ("displayName()", Some(super::answer::DISPLAY_NAME)),
        ("version()", Some(version)),
        ("revision()", None),
        ("timezone()", Some("UTC")),
    ] {
        name(&mut out, column);
        name(&mut out, if value.is_some() { "String" } else { "UInt32" });
        // No custom serialization.
        out.push(0);
        match value {
            Some(text) => name(&mut out, text),
            None => out.extend_from_slice(&0_u32.to_le_bytes()),
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_is_answered() {
        let question = b"SELECT displayName(), version(), revision(), timezone()";
        let bytes = answer(question, 54_460, "26.7.2.1").unwrap();
        assert!(bytes.starts_with(
            b"\x01\0\x02\xff\xff\xff\xff\0\x04\x01\x0ddisplayName()\x06String\0\x0bthroughline\x09version()"
        ));
        assert!(bytes.ends_with(b"\x0arevision()\x06UInt32\0\0\0\0\0\x0atimezone()\x06String\0\x03UTC"));
        assert_eq!(answer(question, 0, "26.7.2.1"), None);
        assert_eq!(answer(b"SELECT 1", 54_460, "26.7.2.1"), None);
    }
}
