//! Hop events as a table: one line an event, for `search` and `tail`.

use std::io::{self, Write};

use super::duration_text;
use super::safe::{cut, fit, safe};
use super::screen::{Paint, Screen, status_paint};
use crate::api::answer::EventAnswer;

/// Columns of the table with their widths; the path takes what is left.
const COLUMNS: [(&str, usize); 7] =
    [("TIME", 24), ("HOP", 18), ("PLACE", 16), ("STATUS", 6), ("FLAGS", 8), ("DURATION", 8), ("REQUEST", 0)];

/// Writes events line by line, so that `tail` can go on without knowing what comes.
#[derive(Debug)]
pub(crate) struct Table {
    screen: Screen,
    has_header: bool,
}

impl Table {
    /// A table that has not written its header yet.
    pub(crate) fn new(screen: Screen) -> Self {
        Self { screen, has_header: false }
    }

    /// Writes one event, and the header before the first.
    pub(crate) fn row(&mut self, out: &mut dyn Write, event: &EventAnswer) -> io::Result<()> {
        if !self.has_header {
            self.has_header = true;
            let header: Vec<String> =
                COLUMNS.iter().map(|&(name, width)| fit(name, width.max(name.len()))).collect();
            writeln!(
                out,
                "{}",
                self.screen
                    .paint(Paint::Bold, cut(header.join(" ").trim_end(), self.screen.columns).as_ref())
            )?;
        }
        let status = event.number("status");
        let cells = [
            (short_time(event.text("start_ns")).to_owned(), Paint::Dim),
            (hop_text(event.text("hop"), event.text("direction")), Paint::Plain),
            (first(event, &["pop", "pod", "node", "server"]).to_owned(), Paint::Plain),
            (status_text(status.unwrap_or(0)), status_paint(status.unwrap_or(0))),
            (event.text("response_flags").to_owned(), Paint::Bad),
            (event.number("duration_ns").map(duration_text).unwrap_or_default(), Paint::Plain),
            (request_text(event), Paint::Plain),
        ];
        let mut left = self.screen.columns;
        let mut line = String::new();
        for ((text, paint), (_, width)) in cells.into_iter().zip(COLUMNS) {
            let width = if width == 0 { left } else { width.min(left) };
            let shown =
                if left == width { cut(&safe(&text), width).into_owned() } else { fit(&safe(&text), width) };
            line.push_str(&self.screen.paint(paint, &shown));
            left = left.saturating_sub(width + 1);
            if left == 0 {
                break;
            }
            line.push(' ');
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// `sidecar inbound`, or the hop alone where its direction says nothing.
pub(crate) fn hop_text(hop: &str, direction: &str) -> String {
    match direction {
        "" | "unknown" => hop.to_owned(),
        direction => format!("{hop} {direction}"),
    }
}

/// A dash stands for a response that was never sent.
pub(crate) fn status_text(status: u64) -> String {
    if status == 0 { "-".to_owned() } else { status.to_string() }
}

/// Milliseconds are enough for the eye; `--json` has the rest.
fn short_time(time: &str) -> &str {
    time.get(..23).unwrap_or(time)
}

fn first<'e>(event: &'e EventAnswer, names: &[&str]) -> &'e str {
    names.iter().map(|name| event.text(name)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// `GET shop.example/cart`, and the verdict where there is one.
fn request_text(event: &EventAnswer) -> String {
    let target = format!("{}{}", event.text("host"), event.text("path"));
    let verdict =
        verdict_text(event.text("verdict"), event.text("verdict_reason"), event.text("verdict_rule"));
    let words = [event.text("method"), target.as_str(), verdict.as_str()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `deny (geo, rule eu-only)`.
pub(crate) fn verdict_text(verdict: &str, reason: &str, rule: &str) -> String {
    let rule = if rule.is_empty() { String::new() } else { format!("rule {rule}") };
    let why: Vec<&str> = [reason, rule.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
    match (verdict, why.is_empty()) {
        ("", true) => String::new(),
        (verdict, true) => verdict.to_owned(),
        ("", false) => format!("({})", why.join(", ")),
        (verdict, false) => format!("{verdict} ({})", why.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: serde_json::Value) -> EventAnswer {
        serde_json::from_value(fields).unwrap()
    }

    fn shown(columns: usize, coloured: bool, events: &[EventAnswer]) -> String {
        let mut table = Table::new(Screen { columns, coloured });
        let mut out = Vec::new();
        for event in events {
            table.row(&mut out, event).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Vec<EventAnswer> {
        vec![
            event(serde_json::json!({
                "start_ns": "2026-11-21T12:00:00.123456789Z", "hop": "edge", "direction": "unknown", "pop": "FRA",
                "status": 403, "duration_ns": 1_250_000, "method": "GET", "host": "shop.example",
                "path": "/cart", "verdict": "deny", "verdict_reason": "geo", "verdict_rule": "eu-only",
            })),
            event(serde_json::json!({
                "start_ns": "2026-11-21T12:00:00.223456789Z", "hop": "sidecar", "direction": "inbound",
                "pod": "cart-6c9f7d-a-very-long-pod-name", "response_flags": "UC,URX", "path": "/\u{1b}[31mred\u{202e}",
                "method": "GET", "host": "cart.default.svc.cluster.local",
            })),
        ]
    }

    #[test]
    fn a_line_for_every_event() {
        insta::assert_snapshot!(shown(120, false, &sample()));
    }

    #[test]
    fn narrow_screens_cut_and_never_wrap() {
        for columns in [40, 60, 81] {
            for line in shown(columns, false, &sample()).lines() {
                assert!(super::super::safe::width(line) <= columns, "{line:?} is wider than {columns}");
            }
        }
    }

    #[test]
    fn escape_sequences_come_only_from_us() {
        let text = shown(200, true, &sample());
        assert!(text.contains("\\x1b[31mred\\u{202e}"), "{text:?}");
    }
}
