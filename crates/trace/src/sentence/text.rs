//! Words for a sentence: text from the internet made safe and short, durations, counts, lists of names.

use std::fmt::Write as _;

/// Most characters of one text from the internet (a path, a rule): what is longer is cut and ends in `…`.
const TEXT_MOST: usize = 80;

/// Text of a record, fit for a sentence in a ticket: characters that move, hide or reorder others are shown by their
/// number, line breaks cannot occur, and it is cut to 80 characters.
pub(crate) fn shown(text: &str) -> String {
    shown_within(text, TEXT_MOST)
}

/// The same with a bound of its own.
pub(crate) fn shown_within(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        if is_unsafe(character) {
            // Writing to a String does not fail.
            let _ = write!(out, "\\u{{{:x}}}", character as u32);
        } else {
            out.push(character);
        }
    }
    out
}

/// Controls, separators of lines and paragraphs, bidirectional controls, and characters that show nothing.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Envoy writes a blank of a message as `_`.
pub(crate) fn unfolded(text: &str) -> String {
    shown(&text.replace('_', " "))
}

/// A duration as one says it: `48 ms`, `3 s`, `0.4 ms`; a truncated zero is `under 1 ms`.
pub(crate) fn lasted(ns: u64) -> String {
    let tenths = |value: f64, unit: &str| {
        let text = format!("{value:.1}");
        format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    // Precise enough below 2^53 ns, which is 104 days.
    let ms = ns as f64 / 1e6;
    match ns {
        0 => "under 1 ms".to_owned(),
        1..100_000 => format!("{} µs", ns.div_ceil(1_000)),
        100_000..10_000_000 => tenths(ms, "ms"),
        10_000_000..999_500_000 => format!("{ms:.0} ms"),
        999_500_000..99_950_000_000 => tenths(ms / 1e3, "s"),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

/// `first`, `second`, … for a try.
pub(crate) fn ordinal(number: usize) -> String {
    match number {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        4 => "fourth".to_owned(),
        5 => "fifth".to_owned(),
        _ => format!("{number}th"),
    }
}

/// The name of a gRPC status; empty where it has none.
pub fn grpc_name(status: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(status).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_one_says_them() {
        let texts =
            [0, 900, 400_000, 1_000_000, 1_780_000, 48_213_000, 999_600_000, 3_000_400_000, 61_000_000_000]
                .map(lasted);
        assert_eq!(texts, ["under 1 ms", "1 µs", "0.4 ms", "1 ms", "1.8 ms", "48 ms", "1 s", "3 s", "61 s"]);
    }

    #[test]
    fn text_is_cut_and_cannot_break_the_line() {
        assert_eq!(shown("/a\n\u{1b}[2J\u{202e}b"), "/a\\u{a}\\u{1b}[2J\\u{202e}b");
        assert_eq!(shown(&"p".repeat(200)).chars().count(), TEXT_MOST + 1);
        assert_eq!(shown("über"), "über");
    }

    #[test]
    fn grpc_statuses_have_names() {
        assert_eq!((grpc_name(5), grpc_name(16), grpc_name(17)), ("NOT_FOUND", "UNAUTHENTICATED", ""));
    }
}
