//! Text from logs made safe for a terminal (and for the page, by the same rule), and cut by what it takes on the screen.
//!
//! A user agent may hold an escape sequence that rewrites the screen, or a bidirectional override that shows a path
//! backwards. Such characters are shown by their number instead, and are never written raw.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text with every character that moves, hides or reorders others shown as `\x1b` or `\u{202e}`.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match stand_in(character) {
            Some(visible) => shown.push_str(&visible),
            None => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// What is shown instead of a character that moves, hides or reorders others; `None` for all that show themselves.
pub(crate) fn stand_in(character: char) -> Option<Cow<'static, str>> {
    match character {
        '\n' => Some(Cow::Borrowed("\\n")),
        '\r' => Some(Cow::Borrowed("\\r")),
        '\t' => Some(Cow::Borrowed("\\t")),
        character if !is_unsafe(character) => None,
        character if (character as u32) < 0x100 => Some(format!("\\x{:02x}", character as u32).into()),
        character => Some(format!("\\u{{{:x}}}", character as u32).into()),
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidirectional controls, and characters that show nothing.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that safe text takes on the screen.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Safe text cut to at most `columns`, the last one an ellipsis if anything was cut.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut taken = 0;
    let mut kept = String::new();
    for character in text.chars() {
        let next = character.width().unwrap_or(0);
        if taken + next + 1 > columns {
            break;
        }
        taken += next;
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    Cow::Owned(kept)
}

/// Safe text cut or filled up to exactly `columns`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns).into_owned();
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_and_overrides_are_shown() {
        assert_eq!(safe("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(safe("\u{9b}31m"), "\\x9b31m");
        assert_eq!(safe("gpj\u{202e}.exe"), "gpj\\u{202e}.exe");
        assert_eq!(safe("a\nb\tc\r\0"), "a\\nb\\tc\\r\\x00");
        assert!(matches!(safe("/über/日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_through(text in any::<String>()) {
            prop_assert!(!safe(&text).chars().any(is_unsafe));
        }

        #[test]
        fn fitted_text_takes_its_columns(text in any::<String>(), columns in 0usize..40) {
            prop_assert!(width(&fit(&safe(&text), columns)) <= columns.max(width(&safe(&text))));
            prop_assert!(width(&cut(&safe(&text), columns)) <= columns);
        }
    }
}
