//! Writing text as senders do: JSON members and times.

use std::fmt::{Display, Write as _};

/// One flat JSON object on one line, members in the order they are added.
pub(crate) struct Line {
    text: String,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { text: String::with_capacity(1024) }
    }

    /// A string; empty is a string too.
    pub(crate) fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        quote(value, &mut self.text);
        self
    }

    /// A string, or null for an empty one.
    pub(crate) fn string_or_null(&mut self, key: &str, value: &str) -> &mut Self {
        if value.is_empty() { self.raw(key, "null") } else { self.string(key, value) }
    }

    /// A number, boolean or null.
    pub(crate) fn raw(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.key(key);
        let _never_fails = write!(self.text, "{value}");
        self
    }

    /// A number or null.
    pub(crate) fn number(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self.raw(key, "null"),
        }
    }

    pub(crate) fn end(&mut self) -> String {
        self.text.push('}');
        std::mem::take(&mut self.text)
    }

    fn key(&mut self, key: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        quote(key, &mut self.text);
        self.text.push(':');
    }
}

fn quote(value: &str, out: &mut String) {
    out.push('"');
    // Nearly every value is plain; character by character took a fifth of a debug build's time.
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push_str(value);
        out.push('"');
        return;
    }
    for char in value.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char < ' ' => {
                let _never_fails = write!(out, "\\u{:04x}", char as u32);
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

/// `2026-11-21T19:41:04.276Z`; without the fraction for `digits` 0.
pub(crate) fn utc(unix_ns: i64, digits: usize, zone: &str) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, counted in years that begin with March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if digits > 0 {
        let fraction = format!("{:09}", unix_ns.rem_euclid(1_000_000_000));
        let _never_fails = write!(text, ".{}", &fraction[..digits.min(9)]);
    }
    text.push_str(zone);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_envoy_and_fastly_do() {
        assert_eq!(utc(1_795_290_064_276_894_000, 3, "Z"), "2026-11-21T19:41:04.276Z");
        assert_eq!(utc(951_782_400_000_000_000, 0, "+0000"), "2000-02-29T00:00:00+0000");
        assert_eq!(utc(-1, 9, "Z"), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn lines_are_json() {
        let line = Line::new().string("a", "x\"\\\u{1}é").string_or_null("b", "").number("c", Some(7)).end();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value, serde_json::json!({"a": "x\"\\\u{1}é", "b": null, "c": 7}));
    }
}
