//! UUIDs as numbers: reading, writing, and minting version 7 from a time and random bytes that are passed in.

use crate::id::IdForm;

/// Reads a dashed UUID (36 characters) or 32 hex digits, in either case, into 128 bits.
pub fn parse_uuid_or_hex(text: &str) -> Option<(u128, IdForm)> {
    let bytes = text.as_bytes();
    if let Ok(digits) = bytes.try_into() {
        return hex32(digits).map(|value| (value, IdForm::Hex));
    }
    let text: &[u8; 36] = bytes.try_into().ok()?;
    if [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    hex32(&digits).map(|value| (value, IdForm::Uuid))
}

/// 32 hex digits of either case.
pub(crate) fn hex32(digits: &[u8; 32]) -> Option<u128> {
    let (high, low) = digits.split_at(16);
    Some(u128::from(hex16(high.try_into().ok()?)?) << 64 | u128::from(hex16(low.try_into().ok()?)?))
}

/// 16 hex digits of either case.
pub(crate) fn hex16(digits: &[u8; 16]) -> Option<u64> {
    let (high, low) = digits.split_at(8);
    Some(u64::from(hex8(high.try_into().ok()?)?) << 32 | u64::from(hex8(low.try_into().ok()?)?))
}

/// Eight hex digits in one word, without a loop or a table: every record has three or four ids of 16 or 32 digits.
#[inline]
fn hex8(digits: [u8; 8]) -> Option<u32> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let word = u64::from_be_bytes(digits);
    // The high bit of each byte: whether it is at least `least`. Bytes below 0x80 borrow nothing from each other.
    let reaches = |word: u64, least: u8| ((word | HIGH) - ONES * u64::from(least)) & HIGH;
    let lower = word | (ONES * 0x20);
    let decimal = reaches(word, b'0') & !reaches(word, b'9' + 1);
    let letter = reaches(lower, b'a') & !reaches(lower, b'f' + 1);
    if word & HIGH != 0 || decimal | letter != HIGH {
        return None;
    }
    // A letter's low bits count from 1 for `a`.
    let nibbles = (word & (ONES * 0xf)) + (letter >> 7) * 9;
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((pairs | pairs >> 16) as u32)
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
    fn every_byte_is_a_digit_or_refused_in_every_place() {
        for byte in 0..=u8::MAX {
            let digit = char::from(byte).to_digit(16);
            for at in 0..32 {
                let mut text = *b"00112233445566778899aabbccddeeff";
                text[at] = byte;
                let expected = digit.map(|digit| {
                    let shift = 4 * (31 - at);
                    0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128 & !(0xf << shift)
                        | u128::from(digit) << shift
                });
                assert_eq!(hex32(&text), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn misplaced_dashes_and_bad_digits_are_refused() {
        assert_eq!(parse_uuid_or_hex("0192f0c48-a4e-7cc3-98c4-dc0c0c07398f"), None);
        assert_eq!(parse_uuid_or_hex("g192f0c48a4e7cc398c4dc0c0c07398f"), None);
        assert_eq!(parse_uuid_or_hex("é192f0c4-8a4e-7cc3-98c4-dc0c0c0739"), None);
    }
}
