//! Text from logs as markup, and links to requests. Nothing of a log reaches a page but through here.

use maud::{Markup, Render, html};

use crate::render::stand_in;

/// A longer value is folded: its beginning, and the rest on demand.
const FOLDED_OVER: usize = 240;
/// What shows of a folded value.
const BEGINNING: usize = 120;

/// Text from a log: escaped by the template, and every character that moves, hides or reorders others shown by its
/// number. Its own direction ends with it.
pub(super) struct Logged<'t>(pub(super) &'t str);

impl Render for Logged<'_> {
    fn render_to(&self, out: &mut String) {
        out.push_str("<bdi>");
        visible(self.0, out);
        out.push_str("</bdi>");
    }
}

/// Runs of ordinary characters as they are, the others marked.
fn visible(text: &str, out: &mut String) {
    let mut run = 0;
    for (at, character) in text.char_indices() {
        if let Some(shown) = stand_in(character) {
            text[run..at].render_to(out);
            html! { span.ctl { (shown.as_ref()) } }.render_to(out);
            run = at + character.len_utf8();
        }
    }
    text[run..].render_to(out);
}

/// Text for a cell: cut where it is long. The record has the whole.
pub(super) fn cut(text: &str, most: usize) -> Markup {
    match text.char_indices().nth(most) {
        None => html! { (Logged(text)) },
        Some((end, _)) => {
            html! { (Logged(&text[..end])) span.dim title="cut; the record has all of it" { "…" } }
        }
    }
}

/// A value whole: folded where it is long.
pub(super) fn value(text: &str) -> Markup {
    let length = text.chars().count();
    if length <= FOLDED_OVER {
        return html! { (Logged(text)) };
    }
    let end = text.char_indices().nth(BEGINNING).map_or(text.len(), |(at, _)| at);
    html! {
        details.long {
            summary { (Logged(&text[..end])) "… " span.dim { "all " (crate::render::grouped(length as u64)) " characters" } }
            div.whole { (Logged(text)) }
        }
    }
}

/// A link to what an id leads to; the id alone where a URL cannot hold it.
pub(super) fn id_link(id: &str) -> Markup {
    match path_of(id) {
        Some(path) => html! { a.id href=(path) { (Logged(id)) } },
        None => html! { span.id { (Logged(id)) } },
    }
}

/// The page of an id. A browser takes `.` and `..` out of every path, however they are written.
pub(super) fn path_of(id: &str) -> Option<String> {
    (!matches!(id, "" | "." | "..")).then(|| format!("/r/{}", encoded(id)))
}

/// Percent-encoded but for what stands for itself in every part of a URL.
pub(super) fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(byte as char),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// `2026-11-21 19:41:04.378`, in UTC, with the whole of it for machines.
pub(super) fn time(rfc3339: &str) -> Markup {
    let (date, rest) = rfc3339.split_once('T').unwrap_or((rfc3339, ""));
    let clock = rest.get(..12).unwrap_or(rest.trim_end_matches('Z'));
    html! { time datetime=(rfc3339) title=(rfc3339) { span.date { (date) " " } (clock) } }
}

/// `2026-11-21 19:41`, for what is known to ten minutes only.
pub(super) fn minute(rfc3339: &str) -> Markup {
    html! { time datetime=(rfc3339) { (rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ")) } }
}

/// `1 record`, `2 records`.
pub(super) fn counted(number: usize, what: &str) -> String {
    crate::render::counted(number as u64, what)
}

/// A status with its class, so that it is told by its text and marked by its colour.
pub(super) fn status(status: u64) -> Markup {
    let class = match status {
        500.. => "bad",
        400..500 => "warn",
        200..400 => "good",
        _ => "none",
    };
    let said = if status == 0 { "no answer" } else { "" };
    html! {
        span.status.(class) title=[(!said.is_empty()).then_some(said)] { (crate::render::status_text(status)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_and_what_moves_text_is_shown_and_does_nothing() {
        let shown = html! { (Logged("<b onx=\"'&\u{202e}\u{1b}[2J\0\n")) }.into_string();
        assert_eq!(
            shown,
            "<bdi>&lt;b onx=&quot;'&amp;<span class=\"ctl\">\\u{202e}</span><span class=\"ctl\">\\x1b</span>[2J\
             <span class=\"ctl\">\\x00</span><span class=\"ctl\">\\n</span></bdi>"
        );
    }

    #[test]
    fn long_values_are_folded_and_whole() {
        let shown = value(&"x".repeat(5_000)).into_string();
        assert!(shown.contains("all 5,000 characters") && shown.contains(&"x".repeat(5_000)));
        assert!(!value("short").into_string().contains("details"));
    }

    #[test]
    fn links_go_to_our_own_paths() {
        assert_eq!(path_of("a b/../?#<\"é").as_deref(), Some("/r/a%20b%2F..%2F%3F%23%3C%22%C3%A9"));
        assert_eq!(path_of(".."), None);
        assert!(
            id_link("javascript:alert(1)").into_string().contains("href=\"/r/javascript%3Aalert%281%29\"")
        );
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in any::<String>()) {
            let shown = html! { (Logged(&text)) }.into_string();
            let inner = shown.strip_prefix("<bdi>").unwrap().strip_suffix("</bdi>").unwrap();
            let bare = inner.replace("<span class=\"ctl\">", "").replace("</span>", "");
            prop_assert!(!bare.contains(['<', '>', '"']), "{}", bare);
            prop_assert!(bare.chars().all(|character| stand_in(character).is_none()), "{:?}", bare);
        }
    }
}
