//! The W3C `traceparent` header, read by the strict grammar of the recommendation.

use crate::mint::{hex16, hex32};

/// A valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// Never 0.
    pub trace_id: u128,
    /// The span that the sender calls parent; never 0.
    pub parent_id: u64,
    /// Trace flags; bit 0 is "sampled".
    pub flags: u8,
}

/// Why text is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TraceparentError {
    /// Not four dash-separated lower-case hex fields of 2, 32, 16 and 2 digits.
    #[error("not of the form 00-<32 hex>-<16 hex>-<2 hex>, in lower case")]
    Form,
    /// Version `ff` is forbidden.
    #[error("version ff is forbidden")]
    Version,
    /// The trace id is all zeros.
    #[error("the trace id is all zeros")]
    ZeroTraceId,
    /// The parent id is all zeros.
    #[error("the parent id is all zeros")]
    ZeroParentId,
}

impl Traceparent {
    /// Reads one header value. Of an unknown version the first four fields are taken, as the recommendation asks.
    pub fn parse(text: &str) -> Result<Self, TraceparentError> {
        let bytes = text.trim().as_bytes();
        let head: &[u8; 55] = bytes.first_chunk().ok_or(TraceparentError::Form)?;
        // Hex digits are checked below in either case; of all bytes that pass there only capitals are not lower case.
        let capital = head.iter().fold(0, |found, byte| found | u8::from(byte.is_ascii_uppercase()));
        if capital != 0 || [2, 35, 52].iter().any(|&at| head[at] != b'-') {
            return Err(TraceparentError::Form);
        }
        let pair = |at: usize| Some(hex_digit(head[at])? << 4 | hex_digit(head[at + 1])?);
        let read = || {
            let trace_id = hex32(head[3..35].try_into().ok()?)?;
            let parent_id = hex16(head[36..52].try_into().ok()?)?;
            Some((pair(0)?, trace_id, parent_id, pair(53)?))
        };
        let (version, trace_id, parent_id, flags) = read().ok_or(TraceparentError::Form)?;
        match version {
            0xff => return Err(TraceparentError::Version),
            0 if bytes.len() != 55 => return Err(TraceparentError::Form),
            _ if bytes.len() > 55 && bytes[55] != b'-' => return Err(TraceparentError::Form),
            _ => {}
        }
        if trace_id == 0 {
            return Err(TraceparentError::ZeroTraceId);
        }
        if parent_id == 0 {
            return Err(TraceparentError::ZeroParentId);
        }
        Ok(Self { trace_id, parent_id, flags })
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recommendations_example_is_read() {
        let parsed = Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(parsed.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parsed.parent_id, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(parsed.flags, 1);
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        use TraceparentError::*;
        let cases = [
            ("", Form),
            ("-", Form),
            ("00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", Form),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Version),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", ZeroTraceId),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ZeroParentId),
        ];
        for (text, error) in cases {
            assert_eq!(Traceparent::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_future_version_may_carry_more() {
        assert!(Traceparent::parse("0a-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_ok());
        assert!(Traceparent::parse("0a-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more").is_err());
    }
}
