//! What the CLI prints: a waterfall for one request, a table for many events, JSON for programs.
//!
//! Log content comes from the internet: nothing of it reaches the terminal but through [`mod@safe`].

mod explain;
mod request;
mod safe;
mod screen;
mod table;
mod waterfall;

pub(crate) use explain::explain;
pub(crate) use request::{gap_reason, part_name, trace};
pub(crate) use safe::{safe, stand_in};
pub(crate) use screen::{Colour, Screen};
pub(crate) use table::{Table, hop_text, status_text, verdict_text};

use std::io::{self, Write};

use serde::Serialize;

/// Writes a value as one line of JSON.
///
/// JSON strings escape control characters below U+0020 by themselves; the others (C1 controls, bidirectional
/// overrides) stay as they are: this output is for programs.
pub(crate) fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// `1 record`, `1,624 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in three significant digits: `87us`, `12.3ms`, `1.50s`.
pub(crate) fn duration_text(ns: u64) -> String {
    let scaled = |value: f64, unit: &str| {
        let digits = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        format!("{value:.digits$}{unit}")
    };
    // Divisions of less than 2^53 lose nothing that three digits would show.
    let value = ns as f64;
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => scaled(value / 1e3, "us"),
        1_000_000..1_000_000_000 => scaled(value / 1e6, "ms"),
        _ => scaled(value / 1e9, "s"),
    }
}

/// A signed duration, for an offset: `+12.3ms`, `-4.00ms`, `0`.
pub(crate) fn offset_text(ns: i64) -> String {
    let sign = match ns {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", duration_text(ns.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let texts = [0, 999, 1_500, 87_000, 12_345_678, 999_400_000, 1_500_000_000, 61_000_000_000]
            .map(duration_text);
        assert_eq!(texts, ["0", "999ns", "1.50us", "87.0us", "12.3ms", "999ms", "1.50s", "61.0s"]);
        assert_eq!(offset_text(-4_000_000), "-4.00ms");
        assert_eq!(offset_text(i64::MIN), "-9223372037s");
    }
}
