//! One id as 128 bits, whatever its text looked like, with the kind that says how far it may be trusted.

use xxhash_rust::xxh3::xxh3_128;

use crate::mint::parse_uuid_or_hex;

/// Longest id text that is taken as an id, in bytes. Longer text is hostile or a mistake; it stays an attribute.
pub const MAX_ID_BYTES: usize = 255;

/// What an id names, strongest first: the order is the join order of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum IdKind {
    /// The correlation id that our edge mints for one request.
    Correlation = 1,
    /// Envoy's `x-request-id`, compared with the hex digit masked that Envoy rewrites.
    Request = 2,
    /// Fastly's own per-request id.
    EdgeRequest = 3,
    /// W3C trace id. It groups requests and gathers candidates; it never merges.
    Trace = 4,
}

impl IdKind {
    /// All kinds, strongest first.
    pub const ALL: [Self; 4] = [Self::Correlation, Self::Request, Self::EdgeRequest, Self::Trace];

    /// The name used in columns, JSON and attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correlation => "correlation_id",
            Self::Request => "request_id",
            Self::EdgeRequest => "edge_request_id",
            Self::Trace => "trace_id",
        }
    }
}

/// How the text of an id was written, which tells whether the text can be given back from the 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// 36 characters with dashes; the text follows from the value.
    Uuid,
    /// 32 hex digits; the text follows from the value.
    Hex,
    /// Anything else; the value is a hash and the text must be kept beside it.
    Opaque,
}

/// One id read out of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// The 128 bits that are stored and compared; never 0.
    pub value: u128,
    /// How it was written.
    pub form: IdForm,
    /// Under 64 bits of randomness by its form: it may gather candidates, never bridge.
    pub weak: bool,
    /// Envoy packs its trace decision into one hex digit of a request id (`4` none, `9` sampled, `a`, `b` forced);
    /// this is the digit as it was read. 0 for every other kind and form.
    pub trace_reason: u8,
}

/// Bit position of the hex digit that Envoy rewrites: digit 12 of 32 (character 14 of the 36 of a UUID).
const REASON_SHIFT: u32 = (31 - 12) * 4;

impl Id {
    /// Reads an id of a kind out of text. `None` for text that says "no id" (see [`is_absent`]), for an all-zero id,
    /// and for more than [`MAX_ID_BYTES`].
    ///
    /// A UUID as [`IdKind::Request`] is stored with the digit that Envoy rewrites set to `4`, so the gateway's and
    /// the sidecar's form of one id are the same value.
    pub fn parse(kind: IdKind, text: &str) -> Option<Self> {
        let text = text.trim();
        if is_absent(text) || text.len() > MAX_ID_BYTES {
            return None;
        }
        let Some((value, form)) = parse_uuid_or_hex(text) else {
            let weak = random_bits(text.as_bytes()) < 64;
            return Some(Self { value: opaque(text), form: IdForm::Opaque, weak, trace_reason: 0 });
        };
        if value == 0 {
            return None;
        }
        if kind == IdKind::Request && form == IdForm::Uuid {
            let reason = ((value >> REASON_SHIFT) & 0xf) as u8;
            return Some(Self { value: mask_request(value), form, weak: false, trace_reason: reason });
        }
        Some(Self { value, form, weak: false, trace_reason: 0 })
    }

    /// Every value that text typed by a person may be stored under, without being told its kind: as it stands and,
    /// for a UUID, as a request id. At most two.
    pub fn candidates(text: &str) -> Vec<u128> {
        let mut values: Vec<u128> = [IdKind::Correlation, IdKind::Request]
            .into_iter()
            .filter_map(|kind| Self::parse(kind, text))
            .map(|id| id.value)
            .collect();
        values.dedup();
        values
    }
}

/// The value under which a UUID request id is compared: the digit that Envoy rewrites becomes `4`.
fn mask_request(value: u128) -> u128 {
    (value & !(0xf << REASON_SHIFT)) | (0x4 << REASON_SHIFT)
}

/// A hash stands for text that is not 128 bits itself. Never 0, which means "no id".
fn opaque(text: &str) -> u128 {
    xxh3_128(text.as_bytes()).max(1)
}

/// Whether text in an id's place says that there is none: empty, and the words that Fastly, Envoy and common VCL
/// write for an unset value.
pub fn is_absent(text: &str) -> bool {
    matches!(text, "" | "-" | "(null)" | "null" | "undefined" | "nil" | "None" | "No Request ID")
}

/// Upper bound of the randomness in an id by its form: bits per character of the narrowest alphabet that holds it.
fn random_bits(text: &[u8]) -> usize {
    let per_16 = if text.iter().all(u8::is_ascii_digit) {
        53 // log2(10) * 16
    } else if text.iter().all(u8::is_ascii_hexdigit) {
        64
    } else {
        95 // log2(62) * 16; separators and words only lower it
    };
    text.len() * per_16 / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_and_sidecar_forms_of_a_request_id_are_one() {
        let fresh = Id::parse(IdKind::Request, "42322d1a-c026-4a05-84a7-b6ce5d11d011").unwrap();
        let sampled = Id::parse(IdKind::Request, "42322D1A-c026-9a05-84a7-b6ce5d11d011").unwrap();
        assert_eq!(fresh.value, sampled.value);
        assert_eq!((fresh.trace_reason, sampled.trace_reason), (4, 9));
    }

    #[test]
    fn a_correlation_id_is_compared_whole() {
        let a = Id::parse(IdKind::Correlation, "42322d1a-c026-4a05-84a7-b6ce5d11d011").unwrap();
        let b = Id::parse(IdKind::Correlation, "42322d1a-c026-9a05-84a7-b6ce5d11d011").unwrap();
        assert_ne!(a.value, b.value);
    }

    #[test]
    fn words_for_nothing_are_no_id() {
        for text in ["", " ", "-", "(null)", "null", "No Request ID", "00000000000000000000000000000000"] {
            assert_eq!(Id::parse(IdKind::Correlation, text), None, "{text:?}");
        }
        assert_eq!(Id::parse(IdKind::Correlation, &"x".repeat(256)), None);
    }

    #[test]
    fn short_ids_are_weak() {
        assert!(Id::parse(IdKind::EdgeRequest, "974e67f6").unwrap().weak);
        assert!(Id::parse(IdKind::Correlation, "1234567890123456").unwrap().weak);
        assert!(!Id::parse(IdKind::EdgeRequest, "0123456789abcdef").unwrap().weak);
    }

    #[test]
    fn typed_text_finds_both_readings() {
        assert_eq!(Id::candidates("42322d1a-c026-9a05-84a7-b6ce5d11d011").len(), 2);
        assert_eq!(Id::candidates("scn-ok-plain").len(), 1);
        assert!(Id::candidates("-").is_empty());
    }
}
