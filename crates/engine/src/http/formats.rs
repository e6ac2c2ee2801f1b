//! What is known of output formats: their content type, and how a streamed answer is put together.
//!
//! The engine makes each chunk of a stream a whole document, so a format's prefix comes again with every chunk. Formats
//! whose documents cannot be joined by cutting a prefix (`JSON`, `Pretty`, `Parquet`, …) are made in one piece instead.

use bytes::Bytes;

/// What stands in front of the rows of every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Nothing: chunks are joined as they are.
    None,
    /// So many lines. Where `quotes`, a line end inside double quotes does not count; where `escapes`, neither does a
    /// quote after a backslash.
    Lines { count: u8, quotes: bool, escapes: bool },
    /// A count, then so many length-prefixed strings per column: `RowBinaryWithNames…`.
    Binary(u8),
}

/// How a format is streamed; `None` where the answer must be made whole.
pub(crate) fn streamed(format: &str) -> Option<Prefix> {
    let name = format.to_ascii_lowercase();
    let lines = |name: &str| {
        let count = match name {
            _ if name.ends_with("withnamesandtypes") => 2,
            _ if name.ends_with("withnames") => 1,
            _ => return None,
        };
        let escapes = name.starts_with("json");
        Some(Prefix::Lines { count, quotes: escapes || name.starts_with("csv"), escapes })
    };
    match name.as_str() {
        "tabseparated"
        | "tsv"
        | "tabseparatedraw"
        | "tsvraw"
        | "raw"
        | "csv"
        | "tskv"
        | "jsoneachrow"
        | "jsonl"
        | "jsonlines"
        | "ndjson"
        | "jsonstringseachrow"
        | "jsoncompacteachrow"
        | "jsoncompactstringseachrow"
        | "rowbinary"
        | "native"
        | "lineasstring"
        | "rawblob"
        | "msgpack"
        | "null" => Some(Prefix::None),
        "rowbinarywithnames" => Some(Prefix::Binary(1)),
        "rowbinarywithnamesandtypes" => Some(Prefix::Binary(2)),
        _ if ["tabseparated", "tsv", "csv", "jsoncompact"].iter().any(|family| name.starts_with(family)) => {
            lines(&name)
        }
        _ => None,
    }
}

/// The `Content-Type` ClickHouse gives a format.
pub(crate) fn content_type(format: &str) -> &'static str {
    let name = format.to_ascii_lowercase();
    if name.starts_with("csv") {
        "text/csv; charset=UTF-8"
    } else if ["json", "jsoncompact", "jsonstrings", "jsoncolumns"].contains(&name.as_str()) {
        "application/json; charset=UTF-8"
    } else if name.starts_with("json") || name == "ndjson" {
        "application/x-ndjson; charset=UTF-8"
    } else if name.starts_with("tabseparated") || name.starts_with("tsv") || name == "tskv" {
        "text/tab-separated-values; charset=UTF-8"
    } else if ["native", "rowbinary", "parquet", "arrow", "orc", "avro", "msgpack", "rawblob"]
        .iter()
        .any(|binary| name.starts_with(binary))
    {
        "application/octet-stream"
    } else {
        "text/plain; charset=UTF-8"
    }
}

impl Prefix {
    /// The chunk without its prefix; `None` where the prefix is not whole, which no sound chunk is.
    pub(crate) fn cut(self, mut chunk: Bytes) -> Option<Bytes> {
        let length = match self {
            Self::None => 0,
            Self::Lines { count, quotes, escapes } => line_prefix(&chunk, count, quotes, escapes)?,
            Self::Binary(per_column) => binary_prefix(&chunk, per_column)?,
        };
        Some(chunk.split_off(length))
    }
}

fn line_prefix(chunk: &[u8], mut count: u8, quotes: bool, escapes: bool) -> Option<usize> {
    let (mut in_quotes, mut escaped) = (false, false);
    for (at, byte) in chunk.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if escapes => escaped = true,
            b'"' if quotes => in_quotes = !in_quotes,
            b'\n' if !in_quotes => {
                count -= 1;
                if count == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn binary_prefix(chunk: &[u8], per_column: u8) -> Option<usize> {
    let mut at = 0;
    let columns = varint(chunk, &mut at)?;
    for _ in 0..columns.checked_mul(u64::from(per_column))? {
        let length = usize::try_from(varint(chunk, &mut at)?).ok()?;
        at = at.checked_add(length).filter(|end| *end <= chunk.len())?;
    }
    Some(at)
}

fn varint(chunk: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *chunk.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_cut() {
        let cut = |format: &str, chunk: &'static [u8]| {
            streamed(format).unwrap().cut(Bytes::from_static(chunk)).unwrap()
        };
        assert_eq!(
            cut("RowBinaryWithNamesAndTypes", b"\x02\x01a\x01s\x06UInt32\x06String\x01\0\0\0\x01x"),
            b"\x01\0\0\0\x01x".as_slice()
        );
        assert_eq!(cut("CSVWithNames", b"\"a\nb\",\"c\"\n1,2\n"), b"1,2\n".as_slice());
        assert_eq!(cut("TSVWithNamesAndTypes", b"a\nUInt8\n1\n"), b"1\n".as_slice());
        assert_eq!(cut("JSONCompactEachRowWithNames", b"[\"a\\\"\"]\n[1]\n"), b"[1]\n".as_slice());
        assert_eq!(cut("TSVWithNames", b"a\"b\tc\\\n1\n"), b"1\n".as_slice());
        assert_eq!(cut("CSVWithNames", b"\"a\\\"\n1\n"), b"1\n".as_slice());
        assert_eq!(cut("Native", b"abc"), b"abc".as_slice());
        assert!(
            Prefix::Binary(2).cut(Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")).is_none()
        );
    }

    #[test]
    fn formats_that_cannot_be_joined_are_not_streamed() {
        for format in [
            "JSON",
            "JSONCompact",
            "Pretty",
            "PrettyCompact",
            "Parquet",
            "Values",
            "XML",
            "Markdown",
            "Arrow",
            "CSVNope",
        ] {
            assert_eq!(streamed(format), None, "{format}");
        }
    }
}
