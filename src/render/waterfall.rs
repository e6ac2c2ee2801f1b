//! The waterfall of one request: a line a hop, indented by depth, with a bar for when and how long. A hop whose place is
//! only likely is marked `~`, one whose place is ambiguous `?`.
//!
//! ```text
//! HOP                 PLACE   REQUEST     STATUS FLAGS START    TIMELINE              DURATION VERDICT
//! edge                FRA     GET /cart   503          0        ▕████████████████████▏ 12.3ms  allow
//!     gateway inbound gw-1    GET /cart   503    UF    +2.10ms  ▕    ██████████████  ▏ 9.10ms
//! ```

use std::io::{self, Write};

use super::safe::{cut, fit, safe, width};
use super::screen::{Paint, Screen, status_paint};
use super::table::{hop_text, status_text, verdict_text};
use super::{duration_text, offset_text};
use crate::api::answer::SpanAnswer;

/// Columns of one step of depth, and the deepest that is still indented.
const INDENT: usize = 2;
const DEEPEST: u32 = 8;

/// Most columns of the variable columns: longer content is cut.
const HOP_MOST: usize = 34;
const PLACE_MOST: usize = 20;
const FLAGS_MOST: usize = 12;
const VERDICT_MOST: usize = 28;

/// Fewest and most columns of the timeline; on a screen with less room it is left out.
const BAR_LEAST: usize = 12;
const BAR_MOST: usize = 48;

/// Fewest columns of the request that the timeline must leave.
const REQUEST_LEAST: usize = 16;

/// One hop as texts, safe for the terminal.
struct Row {
    hop: String,
    place: String,
    request: String,
    status: u64,
    flags: String,
    start: String,
    duration: String,
    verdict: String,
}

impl Row {
    fn new(hop: &SpanAnswer) -> Self {
        let indent = " ".repeat(hop.depth.min(DEEPEST) as usize * INDENT);
        let safe = |text: &str| safe(text).into_owned();
        let verdict = hop.verdict.as_ref();
        let verdict = verdict.map(|it| verdict_text(&it.outcome, &it.reason, &it.rule)).unwrap_or_default();
        Self {
            hop: format!("{indent}{}{}", mark(hop), safe(&hop_text(&hop.hop, &hop.direction))),
            place: safe(&hop.place),
            request: safe(format!("{} {}", hop.http.method, hop.http.path).trim()),
            status: u64::from(hop.http.status),
            flags: safe(&hop.flags),
            start: offset_text(hop.offset_ns),
            duration: hop.duration_ns.map(duration_text).unwrap_or_default(),
            verdict: safe(&verdict),
        }
    }
}

/// How sure the place of a hop is; nothing where it is certain.
fn mark(hop: &SpanAnswer) -> &'static str {
    match hop.link.as_ref().map(|link| link.confidence.as_str()) {
        Some("likely") => "~",
        Some("ambiguous") => "?",
        _ => "",
    }
}

/// Columns of each part of a line; 0 leaves the part out.
struct Layout {
    hop: usize,
    place: usize,
    request: usize,
    flags: usize,
    start: usize,
    bar: usize,
    duration: usize,
    verdict: usize,
}

const STATUS: usize = 6;

impl Layout {
    fn new(rows: &[Row], columns: usize) -> Self {
        let widest = |title: &str, most: usize, text: fn(&Row) -> &str| match rows
            .iter()
            .map(|row| width(text(row)))
            .max()
            .unwrap_or(0)
        {
            0 => 0,
            widest => widest.max(title.len()).min(most),
        };
        let mut layout = Self {
            hop: widest("HOP", HOP_MOST, |row| &row.hop),
            place: widest("PLACE", PLACE_MOST, |row| &row.place),
            request: 0,
            flags: widest("FLAGS", FLAGS_MOST, |row| &row.flags),
            start: widest("START", 9, |row| &row.start),
            bar: 0,
            duration: widest("DURATION", 8, |row| &row.duration),
            verdict: widest("VERDICT", VERDICT_MOST, |row| &row.verdict),
        };
        let longest = widest("REQUEST", usize::MAX, |row| &row.request);
        // On a narrow screen the widest parts are cut first; then what is least missed goes.
        let narrower: [fn(&mut Self); 7] = [
            |layout| layout.place = layout.place.min(12),
            |layout| layout.verdict = layout.verdict.min(14),
            |layout| layout.hop = layout.hop.min(24),
            |layout| layout.verdict = 0,
            |layout| layout.start = 0,
            |layout| layout.place = 0,
            |layout| layout.hop = layout.hop.min(16),
        ];
        for step in narrower {
            if layout.left(columns) < REQUEST_LEAST {
                step(&mut layout);
            }
        }
        let left = layout.left(columns);
        let room = left.saturating_sub(longest.clamp(REQUEST_LEAST, (left / 2).max(REQUEST_LEAST)) + 1);
        // Two of the timeline's columns are its ends.
        layout.bar = if room >= BAR_LEAST { room.min(BAR_MOST) } else { 0 };
        let gap = usize::from(layout.bar > 0);
        layout.request = left.saturating_sub(layout.bar + gap).min(longest);
        layout
    }

    /// Columns that are left for request and timeline.
    fn left(&self, columns: usize) -> usize {
        let parts = [self.hop, self.place, self.flags, self.start, self.duration, self.verdict];
        let taken: usize = parts.into_iter().filter(|&part| part > 0).map(|part| part + 1).sum();
        columns.saturating_sub(taken + STATUS + 1)
    }
}

/// Writes the hops of one request.
pub(super) fn waterfall(out: &mut dyn Write, hops: &[SpanAnswer], screen: Screen) -> io::Result<()> {
    let rows: Vec<Row> = hops.iter().map(Row::new).collect();
    let layout = Layout::new(&rows, screen.columns);
    let span = Span::of(hops);
    let header = [
        ("HOP", layout.hop),
        ("PLACE", layout.place),
        ("REQUEST", layout.request),
        ("STATUS", STATUS),
        ("FLAGS", layout.flags),
        ("START", layout.start),
        ("TIMELINE", layout.bar),
        ("DURATION", layout.duration),
        ("VERDICT", layout.verdict),
    ];
    write_cells(out, screen, header.map(|(title, columns)| (title, Paint::Bold, columns)))?;
    for (row, hop) in rows.iter().zip(hops) {
        let bar = span.bar(hop, layout.bar);
        let colour = status_paint(row.status);
        write_cells(
            out,
            screen,
            [
                (row.hop.as_str(), Paint::Bold, layout.hop),
                (row.place.as_str(), Paint::Plain, layout.place),
                (row.request.as_str(), Paint::Plain, layout.request),
                (status_text(row.status).as_str(), colour, STATUS),
                (row.flags.as_str(), Paint::Bad, layout.flags),
                (row.start.as_str(), Paint::Dim, layout.start),
                (bar.as_str(), colour, layout.bar),
                (row.duration.as_str(), Paint::Plain, layout.duration),
                (row.verdict.as_str(), Paint::Notice, layout.verdict),
            ],
        )?;
    }
    Ok(())
}

/// Writes the cells that have columns; the last one without padding, so that no line ends in blanks.
fn write_cells<const N: usize>(
    out: &mut dyn Write,
    screen: Screen,
    cells: [(&str, Paint, usize); N],
) -> io::Result<()> {
    let last = cells.iter().rposition(|&(text, _, columns)| columns > 0 && !text.is_empty());
    let mut separator = "";
    for (at, (text, paint, columns)) in cells.into_iter().enumerate() {
        if columns == 0 || last.is_none_or(|last| at > last) {
            continue;
        }
        let shown = if Some(at) == last { cut(text, columns).into_owned() } else { fit(text, columns) };
        write!(out, "{separator}{}", screen.paint(paint, &shown))?;
        separator = " ";
    }
    writeln!(out)
}

/// From the earliest start to the latest end of the hops, by raw clocks.
struct Span {
    start_ns: i128,
    length_ns: i128,
}

impl Span {
    fn of(hops: &[SpanAnswer]) -> Self {
        let end = |hop: &SpanAnswer| i128::from(hop.offset_ns) + i128::from(hop.duration_ns.unwrap_or(0));
        let start_ns = hops.iter().map(|hop| i128::from(hop.offset_ns)).min().unwrap_or(0);
        let end_ns = hops.iter().map(end).max().unwrap_or(0);
        Self { start_ns, length_ns: (end_ns - start_ns).max(1) }
    }

    /// A bar of exactly `columns`: never empty, so that a hop of no length has its place, too.
    fn bar(&self, hop: &SpanAnswer, columns: usize) -> String {
        let Some(inner) = columns.checked_sub(2).filter(|&inner| inner > 0) else {
            return String::new();
        };
        let place = |ns: i128| {
            let scaled = ns * inner as i128 / self.length_ns;
            usize::try_from(scaled).unwrap_or(0).min(inner)
        };
        let begin = i128::from(hop.offset_ns) - self.start_ns;
        let from = place(begin).min(inner - 1);
        let to = place(begin + i128::from(hop.duration_ns.unwrap_or(0))).clamp(from + 1, inner);
        let filled = if hop.duration_ns.is_some() { "█" } else { "·" };
        format!("▕{}{}{}▏", " ".repeat(from), filled.repeat(to - from), " ".repeat(inner - to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answer::{HttpAnswer, LinkAnswer, VerdictAnswer};

    fn hop(
        depth: u32,
        hop: &str,
        direction: &str,
        place: &str,
        offset_ns: i64,
        duration_ns: u64,
    ) -> SpanAnswer {
        SpanAnswer {
            depth,
            offset_ns,
            hop: hop.to_owned(),
            direction: direction.to_owned(),
            place: place.to_owned(),
            http: HttpAnswer {
                method: "GET".to_owned(),
                path: "/api/cart/items".to_owned(),
                status: 503,
                ..HttpAnswer::default()
            },
            duration_ns: Some(duration_ns),
            deliveries: 1,
            ..SpanAnswer::default()
        }
    }

    fn sample() -> Vec<SpanAnswer> {
        let verdict = VerdictAnswer {
            outcome: "allow".to_owned(),
            rule: "default".to_owned(),
            ..VerdictAnswer::default()
        };
        let link = |confidence: &str| {
            Some(LinkAnswer {
                evidence: vec!["correlation_id".to_owned()],
                confidence: confidence.to_owned(),
            })
        };
        let edge = SpanAnswer { verdict: Some(verdict), ..hop(0, "edge", "unknown", "FRA", 0, 48_000_000) };
        let gateway = SpanAnswer {
            flags: "URX,UF".to_owned(),
            link: link("certain"),
            ..hop(1, "gateway", "inbound", "istio-ingressgateway-7d9f", 9_000_000, 31_000_000)
        };
        let mut unsent = SpanAnswer {
            flags: "DC".to_owned(),
            duration_ns: None,
            link: link("likely"),
            ..hop(2, "sidecar", "inbound", "cart-6c9f", -2_000_000, 0)
        };
        unsent.http.status = 0;
        unsent.http.path = "/\u{1b}]0;owned\u{7}\u{202e}".to_owned();
        let unsure = SpanAnswer {
            link: link("ambiguous"),
            ..hop(2, "sidecar", "inbound", "cart-9d11", 20_000_000, 4_000)
        };
        vec![edge, gateway, unsent, unsure]
    }

    fn shown(columns: usize, coloured: bool) -> String {
        let mut out = Vec::new();
        waterfall(&mut out, &sample(), Screen { columns, coloured }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_wide_screen_shows_everything() {
        insta::assert_snapshot!(shown(140, false));
    }

    #[test]
    fn a_narrow_screen_shows_what_matters() {
        insta::assert_snapshot!(shown(64, false));
    }

    #[test]
    fn colours_are_the_only_escape_sequences() {
        insta::assert_snapshot!(shown(110, true).replace('\u{1b}', "<ESC>"));
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for columns in 40..200 {
            for line in shown(columns, false).lines() {
                assert!(width(line) <= columns, "{line:?} is wider than {columns}");
            }
        }
    }

    #[test]
    fn extreme_times_keep_the_bar_in_its_columns() {
        let hops = [hop(0, "edge", "", "", i64::MIN, u64::MAX), hop(1, "shield", "", "", i64::MAX, u64::MAX)];
        let span = Span::of(&hops);
        for hop in &hops {
            assert_eq!(width(&span.bar(hop, 20)), 20);
        }
    }
}
