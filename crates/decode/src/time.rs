//! Timestamps of senders to unix nanoseconds, with what had to be guessed on the way.
//!
//! By hand, because a time stands in every line and the fixed RFC 3339 form costs nanoseconds that way; the rarer
//! forms (HTTP date, CLF, digits) share its calendar arithmetic. Times before 1970 and after 2262 are refused: a
//! 64-bit nanosecond count ends there, and no access log is that old.

use event::{Notes, Precision};

use crate::coerce::Unit;

/// One moment, as a sender wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// Unix nanoseconds, above 0.
    pub ns: i64,
    /// How fine the text was.
    pub precision: Precision,
    /// [`Notes::TIME_UNIT_GUESSED`] and [`Notes::TIME_ZONE_ASSUMED`], where they hold.
    pub notes: Notes,
}

/// Reads any form of time that access logs are known to carry: RFC 3339, with `+0000`, without a zone (taken as UTC,
/// noted), with a trailing `UTC` or `GMT`, with a blank for the `T`; HTTP date; CLF with or without its brackets; an
/// epoch in digits with or without a fraction (unit by magnitude, noted).
pub fn parse_text(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    if let Some(instant) = rfc3339(bytes) {
        return Some(instant);
    }
    let bytes = bytes.trim_ascii();
    match bytes.first()? {
        b'[' => clf(bytes.strip_prefix(b"[")?.strip_suffix(b"]")?),
        b'0'..=b'9' => rfc3339(bytes).or_else(|| epoch_text(bytes)).or_else(|| clf(bytes)),
        b'A'..=b'Z' | b'a'..=b'z' => http_date(bytes),
        _ => None,
    }
}

/// An epoch whose unit its magnitude tells: seconds, milliseconds, microseconds or nanoseconds. `None` below
/// 100,000,000 (1973 in seconds), where a number is no epoch of any unit.
pub fn from_integer(value: i64) -> Option<Instant> {
    let unit = guess_unit(value)?;
    let mut instant = from_epoch(value, unit)?;
    instant.notes.add(Notes::TIME_UNIT_GUESSED);
    Some(instant)
}

/// As [`from_integer`], with a fraction. A 64-bit float holds today's seconds to about a quarter of a microsecond,
/// so finer than microseconds is not claimed.
pub fn from_float(value: f64) -> Option<Instant> {
    if !(value.is_finite() && value >= 0.0 && value < i64::MAX as f64) {
        return None;
    }
    if value.fract() == 0.0 {
        return from_integer(value as i64);
    }
    let unit = guess_unit(value as i64)?;
    let whole = (value.trunc() as i64).checked_mul(unit.ns() as i64)?;
    let fraction = (value.fract() * unit.ns() as f64) as i64;
    let ns = whole.checked_add(fraction / 1_000 * 1_000)?;
    let precision = if unit == Unit::S && (value * 1_000.0).fract().abs() < 1e-6 {
        Precision::Millisecond
    } else {
        Precision::Microsecond
    };
    Some(Instant { ns, precision, notes: Notes::TIME_UNIT_GUESSED })
}

/// An epoch in a unit that the mapping states.
pub fn from_epoch(value: i64, unit: Unit) -> Option<Instant> {
    let ns = value.checked_mul(unit.ns() as i64).filter(|&ns| ns > 0)?;
    Some(Instant { ns, precision: unit.precision(), notes: Notes::NONE })
}

fn guess_unit(value: i64) -> Option<Unit> {
    match value {
        100_000_000..100_000_000_000 => Some(Unit::S),
        100_000_000_000..100_000_000_000_000 => Some(Unit::Ms),
        100_000_000_000_000..100_000_000_000_000_000 => Some(Unit::Us),
        100_000_000_000_000_000.. => Some(Unit::Ns),
        _ => None,
    }
}

/// Digits, at most one point: `1770699936`, `1770699936.125`, `1770699936125`.
fn epoch_text(bytes: &[u8]) -> Option<Instant> {
    let point = bytes.iter().position(|&byte| byte == b'.').unwrap_or(bytes.len());
    let whole = digits(&bytes[..point])?;
    let unit = guess_unit(whole)?;
    let mut instant = from_epoch(whole, unit)?;
    instant.notes.add(Notes::TIME_UNIT_GUESSED);
    if let Some(fraction) = bytes.get(point + 1..).filter(|fraction| !fraction.is_empty()) {
        if unit != Unit::S {
            // Fractions of smaller units are float noise of the sender, but must be digits.
            return fraction.iter().all(u8::is_ascii_digit).then_some(instant);
        }
        let (nanos, precision) = fraction_ns(fraction)?;
        instant.ns = instant.ns.checked_add(nanos)?;
        instant.precision = precision;
    }
    Some(instant)
}

/// `2026-02-10T05:05:36[.frac][zone]`.
fn rfc3339(bytes: &[u8]) -> Option<Instant> {
    let head: &[u8; 19] = bytes.first_chunk()?;
    let shape = head[4] == b'-' && head[7] == b'-' && head[13] == b':' && head[16] == b':';
    if !shape || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = i64::from(two(head[0], head[1])?) * 100 + i64::from(two(head[2], head[3])?);
    let (month, day) = (two(head[5], head[6])?, two(head[8], head[9])?);
    let time = seconds_of_day([head[11], head[12]], [head[14], head[15]], [head[17], head[18]])?;
    let mut rest = &bytes[19..];
    let (mut nanos, mut precision) = (0, Precision::Second);
    if let [b'.' | b',', fraction @ ..] = rest {
        let length = fraction.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
        (nanos, precision) = fraction_ns(&fraction[..length])?;
        rest = &fraction[length..];
    }
    let (offset, notes) = zone(rest)?;
    assemble(days(year, month, day)?, time - offset, nanos, precision, notes)
}

/// `10/Oct/2000:13:55:36 -0700`.
fn clf(bytes: &[u8]) -> Option<Instant> {
    let head: &[u8; 20] = bytes.first_chunk()?;
    if head[2] != b'/' || head[6] != b'/' || head[11] != b':' || head[14] != b':' || head[17] != b':' {
        return None;
    }
    let year = i64::from(two(head[7], head[8])?) * 100 + i64::from(two(head[9], head[10])?);
    let date = days(year, month(&head[3..6])?, two(head[0], head[1])?)?;
    let time = seconds_of_day([head[12], head[13]], [head[15], head[16]], [head[18], head[19]])?;
    let (offset, notes) = zone(&bytes[20..])?;
    assemble(date, time - offset, 0, Precision::Second, notes)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(bytes: &[u8]) -> Option<Instant> {
    let comma = bytes.iter().take(10).position(|&byte| byte == b',')?;
    let rest = bytes[comma + 1..].trim_ascii_start();
    let head: &[u8; 20] = rest.first_chunk()?;
    if head[2] != b' ' || head[6] != b' ' || head[11] != b' ' || head[14] != b':' || head[17] != b':' {
        return None;
    }
    let year = i64::from(two(head[7], head[8])?) * 100 + i64::from(two(head[9], head[10])?);
    let date = days(year, month(&head[3..6])?, two(head[0], head[1])?)?;
    let time = seconds_of_day([head[12], head[13]], [head[15], head[16]], [head[18], head[19]])?;
    let (offset, notes) = zone(&rest[20..])?;
    assemble(date, time - offset, 0, Precision::Second, notes)
}

fn assemble(days: i64, seconds: i64, nanos: i64, precision: Precision, notes: Notes) -> Option<Instant> {
    let ns = (days * 86_400 + seconds).checked_mul(1_000_000_000)?.checked_add(nanos)?;
    (ns > 0).then_some(Instant { ns, precision, notes })
}

/// Seconds east of UTC, and a note where there is no zone.
fn zone(bytes: &[u8]) -> Option<(i64, Notes)> {
    match bytes.trim_ascii_start() {
        b"Z" | b"z" | b"UTC" | b"GMT" | b"+0000" | b"+00:00" => Some((0, Notes::NONE)),
        b"" => Some((0, Notes::TIME_ZONE_ASSUMED)),
        &[sign @ (b'+' | b'-'), h, hh, m, mm] | &[sign @ (b'+' | b'-'), h, hh, b':', m, mm] => {
            let (hours, minutes) = (i64::from(two(h, hh)?), i64::from(two(m, mm)?));
            let east = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some((if sign == b'-' { -east } else { east }, Notes::NONE))
        }
        _ => None,
    }
}

/// Digits after the point, finer than nanoseconds cut.
fn fraction_ns(fraction: &[u8]) -> Option<(i64, Precision)> {
    let kept = &fraction[..fraction.len().min(9)];
    let mut nanos = digits(kept)?;
    for _ in kept.len()..9 {
        nanos *= 10;
    }
    if !fraction[kept.len()..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let precision = match kept.len() {
        1..=3 => Precision::Millisecond,
        4..=6 => Precision::Microsecond,
        _ => Precision::Nanosecond,
    };
    Some((nanos, precision))
}

/// At least one and at most 18 digits.
fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    bytes.iter().try_fold(0i64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(i64::from(digit)) }
    })
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// A leap second is taken as the first of the next minute.
fn seconds_of_day(hour: [u8; 2], minute: [u8; 2], second: [u8; 2]) -> Option<i64> {
    let (hour, minute, second) =
        (two(hour[0], hour[1])?, two(minute[0], minute[1])?, two(second[0], second[1])?);
    let valid = hour < 24 && minute < 60 && second <= 60;
    valid.then(|| i64::from(hour * 3_600 + minute * 60 + second))
}

fn month(name: &[u8]) -> Option<u32> {
    const NAMES: [&[u8]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
    Some(at as u32 + 1)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; `None` for a day that does not exist.
fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    // Years begin in March here, so the leap day is the last day of its year.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = i64::from((153 * shifted + 2) / 5 + day - 1);
    let era_days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(era_days + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FEB_10: i64 = 1_770_699_936;

    fn read(text: &str) -> (i64, Precision, Notes) {
        let instant = parse_text(text).unwrap_or_else(|| panic!("{text:?} was not read"));
        (instant.ns, instant.precision, instant.notes)
    }

    #[test]
    fn forms_of_one_second() {
        for text in [
            "2026-02-10T05:05:36Z",
            "2026-02-10T05:05:36+0000",
            "2026-02-10T05:05:36+00:00",
            "2026-02-10T06:35:36+01:30",
            "2026-02-10T04:05:36-0100",
            "2026-02-10T05:05:36UTC",
            "2026-02-10 05:05:36 GMT",
            "Tue, 10 Feb 2026 05:05:36 GMT",
            "10/Feb/2026:05:05:36 +0000",
            "[10/Feb/2026:00:05:36 -0500]",
            " 2026-02-10T05:05:36Z ",
        ] {
            assert_eq!(read(text), (FEB_10 * 1_000_000_000, Precision::Second, Notes::NONE), "{text}");
        }
    }

    #[test]
    fn fractions_tell_the_precision() {
        let at = FEB_10 * 1_000_000_000;
        assert_eq!(read("2026-02-10T05:05:36.125Z"), (at + 125_000_000, Precision::Millisecond, Notes::NONE));
        assert_eq!(read("2026-02-10T05:05:36.000125Z"), (at + 125_000, Precision::Microsecond, Notes::NONE));
        assert_eq!(read("2026-02-10T05:05:36.0000001259Z"), (at + 125, Precision::Nanosecond, Notes::NONE));
    }

    #[test]
    fn guesses_are_noted() {
        let at = FEB_10 * 1_000_000_000;
        assert_eq!(read("2026-02-10T05:05:36"), (at, Precision::Second, Notes::TIME_ZONE_ASSUMED));
        assert_eq!(read("1770699936"), (at, Precision::Second, Notes::TIME_UNIT_GUESSED));
        assert_eq!(
            read("1770699936.5"),
            (at + 500_000_000, Precision::Millisecond, Notes::TIME_UNIT_GUESSED)
        );
        assert_eq!(read("1770699936000"), (at, Precision::Millisecond, Notes::TIME_UNIT_GUESSED));
        assert_eq!(from_integer(1_770_699_936_000_000).unwrap().precision, Precision::Microsecond);
        assert_eq!(from_integer(at).unwrap().precision, Precision::Nanosecond);
        let float = from_float(1_770_699_936.25).unwrap();
        assert_eq!((float.ns, float.precision), (at + 250_000_000, Precision::Millisecond));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "12",
            "2026-02-30T05:05:36Z",
            "2026-13-10T05:05:36Z",
            "2026-02-10T25:05:36Z",
            "9999-02-10T05:05:36Z",
            "2026-02-10T05:05:36.Z",
            "2026-02-10T05:05:36+xx00",
            "10/Fob/2026:05:05:36 +0000",
            "1770699936.x",
            "99999999999999999999",
            "Tuesday",
            "é026-02-10T05:05:36Z",
        ] {
            assert_eq!(parse_text(text), None, "{text:?}");
        }
        assert_eq!(from_float(f64::NAN), None);
        assert_eq!(from_integer(-5), None);
    }

    proptest! {
        #[test]
        fn any_second_reads_back(seconds in 1i64..9_000_000_000) {
            let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(parse_text(&text).unwrap().ns, seconds * 1_000_000_000);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}|[0-9:.TZ+/ -]{0,32}") {
            let _ = parse_text(&text);
        }
    }
}
