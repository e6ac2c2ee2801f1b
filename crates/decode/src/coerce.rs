//! What senders write for a number, a flag, a duration, an address or for nothing at all, to a type of the schema.
//!
//! Log formats are text templates: the same field comes as `200`, `"200"`, `-`, `(null)` or `null`. Nothing here
//! guesses a unit; units come from the mapping.

use std::borrow::Cow;
use std::net::IpAddr;

use event::{Notes, Precision};

/// Longest text kept in one field or attribute, in bytes: a whole VCL log line is 16 KiB, so a real URL or header
/// fits; what is longer is cut and noted.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Attributes kept of one record; a record with more keys than this is not written by a log template.
pub const MAX_ATTRIBUTES: usize = 256;

/// One value of a record as its grammar gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// `null`, or nothing where a value should be.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer that only fits unsigned.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text; may hold a number or flag in words.
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// Whether the value says that there is none: null, and the words of [`is_absent`].
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => is_absent(text),
            _ => false,
        }
    }

    /// A whole number, from a number or from decimal text; `None` for a negative or a fractional one.
    pub fn to_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Uint(value) => Some(*value),
            Self::Float(value) => whole(*value),
            Self::Text(text) => {
                let text = text.trim();
                if text.starts_with('+') {
                    return None;
                }
                text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
            }
            Self::Null | Self::Bool(_) => None,
        }
    }

    /// A flag: `true`, `1`, and the same as text in any case.
    pub fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Int(0) => Some(false),
            Self::Int(1) => Some(true),
            Self::Text(text) => match text.trim() {
                "1" => Some(true),
                "0" => Some(false),
                word if word.eq_ignore_ascii_case("true") => Some(true),
                word if word.eq_ignore_ascii_case("false") => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A number of any kind, from a number or from decimal text; never NaN or infinite.
    pub fn to_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Uint(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null | Self::Bool(_) => None,
        }
        .filter(|value: &f64| value.is_finite())
    }

    /// The value as text; null is empty.
    pub fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(value) => value.to_string().into(),
            Self::Uint(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Text(text) => text,
        }
    }
}

impl<'a> From<&'a str> for Scalar<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// A float that is a whole number in the range of `u64`.
fn whole(value: f64) -> Option<u64> {
    (value >= 0.0 && value < u64::MAX as f64 && value.fract() == 0.0).then_some(value as u64)
}

/// Whether text stands for "no value": empty, `-`, and the words that Fastly, Envoy and common templates write for
/// an unset variable. (`?` and 999.9 mean it only in geo fields; their mapping says so.)
pub fn is_absent(text: &str) -> bool {
    text.len() <= 13 && correlation::is_absent(text)
}

/// Unit of a duration or an epoch, as the mapping states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Unit {
    /// Nanoseconds in one.
    pub const fn ns(self) -> u64 {
        match self {
            Self::Ns => 1,
            Self::Us => 1_000,
            Self::Ms => 1_000_000,
            Self::S => 1_000_000_000,
        }
    }

    /// The precision of a timestamp counted in this unit.
    pub const fn precision(self) -> Precision {
        match self {
            Self::Ns => Precision::Nanosecond,
            Self::Us => Precision::Microsecond,
            Self::Ms => Precision::Millisecond,
            Self::S => Precision::Second,
        }
    }

    /// The unit of the word used in mapping files: `ns`, `us`, `ms`, `s`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ns" => Some(Self::Ns),
            "us" => Some(Self::Us),
            "ms" => Some(Self::Ms),
            "s" => Some(Self::S),
            _ => None,
        }
    }
}

/// Why a value is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Below zero; Envoy writes one for a reused connection.
    #[error("the duration is negative")]
    Negative,
    /// Not a number, or past 584 years.
    #[error("not a number that can be a duration")]
    Unreadable,
}

impl DurationError {
    /// The note that tells of it.
    pub const fn note(self) -> Notes {
        match self {
            Self::Negative => Notes::NEGATIVE_DURATION,
            Self::Unreadable => Notes::UNREADABLE_FIELD,
        }
    }
}

/// A duration in nanoseconds; `Ok(None)` where the record says that it has none.
pub fn duration_ns(value: &Scalar<'_>, unit: Unit) -> Result<Option<u64>, DurationError> {
    let integer = |value: u64| value.checked_mul(unit.ns()).map(Some).ok_or(DurationError::Unreadable);
    match value {
        Scalar::Null => Ok(None),
        Scalar::Int(value) => integer(u64::try_from(*value).map_err(|_| DurationError::Negative)?),
        Scalar::Uint(value) => integer(*value),
        Scalar::Float(value) => float_ns(*value, unit),
        Scalar::Text(text) if is_absent(text) => Ok(None),
        Scalar::Text(text) => {
            let text = text.trim();
            match text.parse::<u64>() {
                Ok(value) => integer(value),
                Err(_) => float_ns(text.parse().map_err(|_| DurationError::Unreadable)?, unit),
            }
        }
        Scalar::Bool(_) => Err(DurationError::Unreadable),
    }
}

fn float_ns(value: f64, unit: Unit) -> Result<Option<u64>, DurationError> {
    let ns = (value * unit.ns() as f64).round();
    if ns < 0.0 {
        Err(DurationError::Negative)
    } else if ns < u64::MAX as f64 {
        Ok(Some(ns as u64))
    } else {
        Err(DurationError::Unreadable) // also NaN and infinities
    }
}

/// An address, with or without port and brackets, as IPv6 or v4-mapped; 0 if the text holds none.
pub fn address(text: &str) -> u128 {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return mapped(address);
    }
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => text.split_once(':').map_or(text, |(host, _)| host),
    };
    // A zone (`fe80::1%eth0`) names an interface of the sender, not a part of the address.
    let host = host.split_once('%').map_or(host, |(host, _)| host);
    host.parse::<IpAddr>().map_or(0, mapped)
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Envoy's response flags as a set: sorted, comma-separated, each once; `-` is the empty set. Borrowed where the
/// text is so already.
pub fn flags(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if is_absent(text) {
        return Cow::Borrowed("");
    }
    if !text.contains([',', ' ']) {
        return Cow::Borrowed(text);
    }
    let mut flags: Vec<&str> =
        text.split(',').map(str::trim).filter(|flag| !flag.is_empty() && *flag != "-").collect();
    if flags.is_sorted_by(|a, b| a < b)
        && flags.iter().map(|flag| flag.len() + 1).sum::<usize>() == text.len() + 1
    {
        return Cow::Borrowed(text);
    }
    flags.sort_unstable();
    flags.dedup();
    Cow::Owned(flags.join(","))
}

/// Cuts text to [`MAX_TEXT_BYTES`] at a character boundary; the flag says whether anything was cut.
pub fn bounded(text: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if text.len() <= MAX_TEXT_BYTES {
        return (text, false);
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let cut = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    };
    (cut, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_flags_come_in_words() {
        assert_eq!(Scalar::from("200").to_u64(), Some(200));
        assert_eq!(Scalar::from("200.0").to_u64(), Some(200));
        assert_eq!(Scalar::Float(12.0).to_u64(), Some(12));
        for text in ["-1", "+5", "1.5", "abc", "", "NaN", "99999999999999999999"] {
            assert_eq!(Scalar::from(text).to_u64(), None, "{text}");
        }
        for (text, flag) in [("true", true), ("TRUE", true), ("1", true), ("0", false), ("False", false)] {
            assert_eq!(Scalar::from(text).to_bool(), Some(flag), "{text}");
        }
        assert_eq!(Scalar::Int(1).to_bool(), Some(true));
        assert_eq!(Scalar::Int(2).to_bool(), None);
        assert_eq!(Scalar::from("inf").to_f64(), None);
    }

    #[test]
    fn durations_take_their_unit_from_the_caller() {
        assert_eq!(duration_ns(&Scalar::from("0.579"), Unit::S), Ok(Some(579_000_000)));
        assert_eq!(duration_ns(&Scalar::Float(0.579), Unit::S), Ok(Some(579_000_000)));
        assert_eq!(duration_ns(&Scalar::Int(19), Unit::Ms), Ok(Some(19_000_000)));
        assert_eq!(duration_ns(&Scalar::from("1234"), Unit::Us), Ok(Some(1_234_000)));
        assert_eq!(duration_ns(&Scalar::from("(null)"), Unit::Us), Ok(None));
        assert_eq!(duration_ns(&Scalar::Null, Unit::Us), Ok(None));
        assert_eq!(duration_ns(&Scalar::Int(-1), Unit::Us), Err(DurationError::Negative));
        assert_eq!(duration_ns(&Scalar::from("-0.2"), Unit::S), Err(DurationError::Negative));
        for value in
            [Scalar::from("soon"), Scalar::Uint(u64::MAX), Scalar::Float(f64::NAN), Scalar::Float(1e300)]
        {
            assert_eq!(duration_ns(&value, Unit::S), Err(DurationError::Unreadable), "{value:?}");
        }
    }

    #[test]
    fn addresses_lose_their_port() {
        let v4 = 0xffff_cb00_710a;
        for text in
            ["203.0.113.10", "203.0.113.10:443", " 203.0.113.10 ", "[203.0.113.10]:1", "::ffff:203.0.113.10"]
        {
            assert_eq!(address(text), v4, "{text}");
        }
        for text in ["2001:db8::1", "[2001:db8::1]:443", "[2001:db8::1]", "[2001:db8::1%eth0]:443"] {
            assert_eq!(address(text), 0x2001_0db8_0000_0000_0000_0000_0000_0001, "{text}");
        }
        for text in ["", "-", "host.example:80", "/run/app.sock", "[", "[]:1", ":80"] {
            assert_eq!(address(text), 0, "{text}");
        }
    }

    #[test]
    fn flags_are_a_set() {
        for (text, set) in [
            ("-", ""),
            ("", ""),
            ("UF", "UF"),
            ("UF,URX", "UF,URX"),
            ("URX,UF", "UF,URX"),
            ("UF, UF,-", "UF"),
        ] {
            assert_eq!(flags(text), set, "{text:?}");
        }
        assert!(matches!(flags("UF,URX"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "é".repeat(MAX_TEXT_BYTES);
        let (cut, was_cut) = bounded(Cow::Borrowed(&long));
        assert!(was_cut && cut.len() <= MAX_TEXT_BYTES && cut.chars().all(|c| c == 'é'));
        assert_eq!(bounded("short".into()), ("short".into(), false));
    }
}
