//! UUIDs as numbers: reading, writing, and minting version 7 from a time and random bytes that are passed in.

use crate::id::IdForm;

/// Reads a dashed UUID (36 characters) or 32 hex digits, in either case, into 128 bits.
pub fn parse_uuid_or_hex(text: &str) -> Option<(u128, IdForm)> {
    let bytes = text.as_bytes();
    match bytes.len() {
        32 => hex(bytes).map(|value| (value, IdForm::Hex)),
        36 if [8, 13, 18, 23].iter().all(|&at| bytes[at] == b'-') => {
            let mut value = 0;
            for part in [0..8, 9..13, 14..18, 19..23, 24..36] {
                let part = &bytes[part];
                value = (value << (4 * part.len())) | hex(part)?;
            }
            Some((value, IdForm::Uuid))
        }
        _ => None,
    }
}

/// Up to 32 hex digits as a number; `None` if a byte is not a hex digit.
pub(crate) fn hex(bytes: &[u8]) -> Option<u128> {
    bytes.iter().try_fold(0u128, |value, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

/// The dashed, lower-case text of a UUID.
pub fn uuid_text(value: u128) -> String {
    let hex = format!("{value:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A UUID of version 7 (RFC 9562): 48 bits of unix milliseconds, 74 random bits.
///
/// `random` must come from the platform's secure source; only its low 74 bits are used.
pub fn uuid_v7(unix_ms: u64, random: u128) -> u128 {
    let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
    let random_a = (random >> 62) & 0xfff;
    let random_b = random & 0x3fff_ffff_ffff_ffff;
    time | (0x7 << 76) | (random_a << 64) | (0b10 << 62) | random_b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        let text = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
        let (value, form) = parse_uuid_or_hex(text).unwrap();
        assert_eq!(form, IdForm::Uuid);
        assert_eq!(uuid_text(value), text);
        assert_eq!(parse_uuid_or_hex(&text.replace('-', "")), Some((value, IdForm::Hex)));
    }

    #[test]
    fn minted_ids_carry_version_variant_and_time() {
        let text = uuid_text(uuid_v7(0x0192_f0c4_8a4e, u128::MAX));
        assert_eq!(text, "0192f0c4-8a4e-7fff-bfff-ffffffffffff");
    }

    #[test]
    fn misplaced_dashes_and_bad_digits_are_refused() {
        assert_eq!(parse_uuid_or_hex("0192f0c48-a4e-7cc3-98c4-dc0c0c07398f"), None);
        assert_eq!(parse_uuid_or_hex("g192f0c48a4e7cc398c4dc0c0c07398f"), None);
        assert_eq!(parse_uuid_or_hex("é192f0c4-8a4e-7cc3-98c4-dc0c0c0739"), None);
    }
}
