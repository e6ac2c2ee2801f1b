//! The waterfall of one request: a line a hop, indented by depth, with a bar for when and how long.
//!
//! ```text
//! GET shop.example/cart  503 in 12.3ms, 2026-11-21T12:00:00.123456789Z
//!   correlation_id 0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f (4 records)
//! HOP                 PLACE   REQUEST     STATUS FLAGS START    TIMELINE              DURATION VERDICT
//! edge                FRA     GET /cart   503          0        ▕████████████████████▏ 12.3ms  allow
//!     gateway inbound gw-1    GET /cart   503    UF    +2.10ms  ▕    ██████████████  ▏ 9.10ms
//! ```

use std::io::{self, Write};

use super::safe::{cut, fit, safe, width};
use super::screen::{Paint, Screen, status_paint};
use super::table::{hop_text, status_text, verdict_text};
use super::{duration_text, offset_text};
use crate::api::answer::{HopAnswer, RequestAnswer, TraceAnswer};

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

/// Writes every request of an answer, the asked one first.
pub(crate) fn waterfall(out: &mut dyn Write, answer: &TraceAnswer, screen: Screen) -> io::Result<()> {
    for (at, request) in answer.requests.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        heading(out, request, screen)?;
        hops(out, &request.hops, screen)?;
    }
    if let Some(bound) = &answer.truncated {
        line(out, screen, Paint::Notice, &format!("cut short: {bound}"))?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, screen: Screen, paint: Paint, text: &str) -> io::Result<()> {
    let text = safe(text);
    writeln!(out, "{}", screen.paint(paint, &cut(&text, screen.columns)))
}

/// What was asked, what came of it, and the ids.
fn heading(out: &mut dyn Write, request: &RequestAnswer, screen: Screen) -> io::Result<()> {
    let duration = request.duration_ns.map(|ns| format!(" in {}", duration_text(ns))).unwrap_or_default();
    let outcome = match request.status {
        0 => format!("no response{duration}"),
        status => format!("{status}{duration}"),
    };
    let asked = format!("{} {}{}", request.method, request.host, request.path);
    line(out, screen, Paint::Bold, &format!("{}  {outcome}, {}", asked.trim(), request.start))?;
    if request.related {
        line(
            out,
            screen,
            Paint::Notice,
            "  related: shares only another id with the request that was asked for",
        )?;
    }
    for id in &request.ids {
        let records = if id.records == 1 { "record" } else { "records" };
        line(out, screen, Paint::Dim, &format!("  {} {} ({} {records})", id.kind, id.id, id.records))?;
    }
    for id in &request.shared_ids {
        line(out, screen, Paint::Notice, &format!("  {} {} is on another request, too", id.kind, id.id))?;
    }
    Ok(())
}

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
    fn new(hop: &HopAnswer) -> Self {
        let indent = " ".repeat(hop.depth.min(DEEPEST) as usize * INDENT);
        let safe = |text: &str| safe(text).into_owned();
        Self {
            hop: format!("{indent}{}", safe(&hop_text(&hop.hop, &hop.direction))),
            place: safe(&hop.place),
            request: safe(format!("{} {}", hop.method, hop.path).trim()),
            status: u64::from(hop.status),
            flags: safe(&hop.flags),
            start: offset_text(hop.offset_ns),
            duration: hop.duration_ns.map(duration_text).unwrap_or_default(),
            verdict: safe(&verdict_text(&hop.verdict, &hop.verdict_reason, &hop.verdict_rule)),
        }
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

fn hops(out: &mut dyn Write, hops: &[HopAnswer], screen: Screen) -> io::Result<()> {
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
    fn of(hops: &[HopAnswer]) -> Self {
        let end = |hop: &HopAnswer| i128::from(hop.offset_ns) + i128::from(hop.duration_ns.unwrap_or(0));
        let start_ns = hops.iter().map(|hop| i128::from(hop.offset_ns)).min().unwrap_or(0);
        let end_ns = hops.iter().map(end).max().unwrap_or(0);
        Self { start_ns, length_ns: (end_ns - start_ns).max(1) }
    }

    /// A bar of exactly `columns`: never empty, so that a hop of no length has its place, too.
    fn bar(&self, hop: &HopAnswer, columns: usize) -> String {
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
    use crate::api::answer::IdAnswer;

    fn hop(
        depth: u32,
        hop: &str,
        direction: &str,
        place: &str,
        offset_ns: i64,
        duration_ns: u64,
    ) -> HopAnswer {
        HopAnswer {
            depth,
            offset_ns,
            hop: hop.to_owned(),
            direction: direction.to_owned(),
            place: place.to_owned(),
            method: "GET".to_owned(),
            path: "/api/cart/items".to_owned(),
            status: 503,
            duration_ns: Some(duration_ns),
            deliveries: 1,
            ..HopAnswer::default()
        }
    }

    fn sample() -> TraceAnswer {
        let edge = HopAnswer {
            verdict: "allow".to_owned(),
            verdict_rule: "default".to_owned(),
            ..hop(0, "edge", "unknown", "FRA", 0, 48_000_000)
        };
        let gateway = HopAnswer {
            flags: "URX,UF".to_owned(),
            ..hop(2, "gateway", "inbound", "istio-ingressgateway-7d9f", 9_000_000, 31_000_000)
        };
        let unsent = HopAnswer {
            status: 0,
            flags: "DC".to_owned(),
            duration_ns: None,
            path: "/\u{1b}]0;owned\u{7}\u{202e}".to_owned(),
            ..hop(3, "sidecar", "inbound", "cart-6c9f", -2_000_000, 0)
        };
        let request = RequestAnswer {
            ids: vec![IdAnswer {
                kind: "correlation_id".to_owned(),
                id: "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f".to_owned(),
                records: 2,
            }],
            start: "2026-11-21T12:00:00.123456789Z".to_owned(),
            duration_ns: Some(48_000_000),
            method: "GET".to_owned(),
            host: "shop.example".to_owned(),
            path: "/api/cart/items".to_owned(),
            status: 503,
            related: false,
            shared_ids: Vec::new(),
            hops: vec![edge, gateway, unsent],
        };
        let related = RequestAnswer { related: true, hops: request.hops[..1].to_vec(), ..request.clone() };
        TraceAnswer {
            asked: "x".to_owned(),
            requests: vec![request, related],
            truncated: Some("rows".to_owned()),
        }
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
