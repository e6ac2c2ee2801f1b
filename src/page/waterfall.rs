//! The hops of a request: a table with a bar for when and how long, a row for each that is missing, and under every row
//! its stored record. The bars are SVG by numbers only: the policy lets no `style` through.

use maud::{Markup, html};

use super::clocks::estimates;
use super::home::family;
use super::record::record;
use super::text::{Logged, counted, cut, status};
use crate::api::answer::{GapAnswer, RequestAnswer, SpanAnswer};
use crate::render::{duration_text, gap_reason, hop_text, offset_text, verdict_text};

/// Rows of one request: a fan-out of a hundred calls is whole; beyond, the JSON has the rest.
const ROWS: usize = 300;
/// Deepest step that is still indented; the style has so many.
const DEEPEST: u32 = 9;
/// Units of a bar's width.
const WIDTH: i128 = 1000;
/// Narrowest bar: a hop of no length has its place, too.
const NARROWEST: i128 = 4;

const COLUMNS: [(&str, &str); 9] = [
    ("Hop", ""),
    ("Place", ""),
    ("Request", ""),
    ("Status", ""),
    ("Flags", ""),
    ("Start", "number"),
    ("Timeline", "line"),
    ("Took", "number"),
    ("Link", ""),
];

/// The table of one request, the `nth` of its page.
pub(super) fn waterfall(request: &RequestAnswer, nth: usize) -> Markup {
    let estimated = estimates(request);
    let scale = Scale::of(request, &estimated);
    let beside = |span: &SpanAnswer, below: bool| {
        let id = span.span_id.clone();
        request.gaps.iter().filter(move |gap| gap.below == below && gap.beside == id)
    };
    let parent = |span: &SpanAnswer| {
        let id = span.parent_span_id.as_deref()?;
        request.spans.iter().find(|other| other.span_id == id)
    };
    html! {
        div.panel.waterfall {
            table role="table" aria-label="Hops in the order of travel" {
                thead role="rowgroup" {
                    tr role="row" {
                        @for (name, class) in COLUMNS {
                            th.(class) role="columnheader" scope="col" {
                                @if class == "line" { (scale.axis()) } @else { (name) }
                            }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for (span, estimated) in request.spans.iter().zip(&estimated).take(ROWS) {
                        @for gap in beside(span, false) { (missing(gap, span.depth)) }
                        (hop(span, *estimated, &scale, nth))
                        (record(span, parent(span), nth, COLUMNS.len()))
                        @for gap in beside(span, true) { (missing(gap, span.depth.saturating_add(1))) }
                    }
                }
            }
            @if request.spans.len() > ROWS {
                p.notice { "And " (counted(request.spans.len() - ROWS, "hop")) " more: the JSON has all of them." }
            }
        }
    }
}

fn hop(span: &SpanAnswer, estimated: Option<i64>, scale: &Scale, nth: usize) -> Markup {
    let depth = format!("d{}", span.depth.min(DEEPEST));
    let family = family(&span.hop);
    let anchor = anchor(span, nth);
    // The rule is in the record, and below: names of rules are long.
    let verdict = span.verdict.as_ref().map(|it| verdict_text(&it.outcome, &it.reason, ""));
    let is_deny = span.verdict.as_ref().is_some_and(|it| it.outcome != "allow");
    html! {
        tr.span.(family) role="row" {
            th.name.(depth) role="rowheader" scope="row" {
                a.row href={ "#" (anchor) } title="Its record" { span.hop.(family) { (hop_text(&span.hop, &span.direction)) } }
            }
            td.place role="cell" { (cut(&span.place, 28)) }
            td.what role="cell" {
                span.method { (cut(&span.http.method, 12)) } " " (cut(&span.http.path, 72))
                @if let Some(verdict) = verdict {
                    " " span.verdict.deny[is_deny] { (cut(&verdict, 80)) }
                }
            }
            td.code role="cell" { (status(u64::from(span.http.status))) }
            td.flags role="cell" { @for flag in span.flags.split(',').filter(|it| !it.is_empty()) { span.flag { (Logged(flag)) } " " } }
            td.start.number role="cell" {
                (offset_text(span.offset_ns))
                @if let Some(estimated) = estimated {
                    span.estimate title="if its clock agreed with the first hop's" { "≈ " (offset_text(estimated)) }
                }
            }
            td.line role="cell" { (scale.bar(span, estimated, family)) }
            td.took.number role="cell" { (span.duration_ns.map(duration_text).unwrap_or_else(|| "?".to_owned())) }
            td.link role="cell" { (link(span)) }
        }
    }
}

/// Where the record of a hop is.
pub(super) fn anchor(span: &SpanAnswer, nth: usize) -> String {
    format!("hop-{}-{}", nth + 1, span.event_key)
}

/// How sure the place of a hop is, and by what.
fn link(span: &SpanAnswer) -> Markup {
    let Some(link) = &span.link else { return html! { span.dim { "first hop" } } };
    let sign = match link.confidence.as_str() {
        "certain" => "●",
        "likely" => "◐",
        _ => "○",
    };
    let evidence = link.evidence.join(", ").replace('_', " ");
    let more = link.evidence.len().saturating_sub(1);
    html! {
        span.sure.(link.confidence) title={ "by " (evidence) } {
            span aria-hidden="true" { (sign) } " " (link.confidence)
        }
        @if let Some(strongest) = link.evidence.first() {
            " " span.evidence title={ "by " (evidence) } {
                (strongest.replace('_', " ")) @if more > 0 { " +" (more) }
            }
        }
    }
}

/// A hop that should be there.
fn missing(gap: &GapAnswer, depth: u32) -> Markup {
    let depth = format!("d{}", depth.min(DEEPEST));
    html! {
        tr.gap role="row" {
            th.name.(depth) role="rowheader" scope="row" { span.hop.missing { "missing" } }
            td colspan=(COLUMNS.len() - 1) role="cell" { (cut(&gap.expected, 120)) span.dim { ": " (gap_reason(gap)) } }
        }
    }
}

/// From the earliest start to the latest end, by raw clocks and by corrected ones.
struct Scale {
    start_ns: i128,
    length_ns: i128,
}

impl Scale {
    fn of(request: &RequestAnswer, estimated: &[Option<i64>]) -> Self {
        let mut start_ns = 0;
        let mut end_ns = 0;
        for (span, estimated) in request.spans.iter().zip(estimated) {
            for offset in [Some(span.offset_ns), *estimated].into_iter().flatten().map(i128::from) {
                start_ns = offset.min(start_ns);
                end_ns = end_ns.max(offset + i128::from(span.duration_ns.unwrap_or(0)));
            }
        }
        Self { start_ns, length_ns: (end_ns - start_ns).max(1) }
    }

    /// Beginning and width in the units of a bar.
    fn place(&self, offset_ns: i64, duration_ns: u64) -> (i128, i128) {
        let scaled = |ns: i128| (ns * WIDTH / self.length_ns).clamp(0, WIDTH);
        let from = scaled(i128::from(offset_ns) - self.start_ns).min(WIDTH - NARROWEST);
        let width = scaled(i128::from(duration_ns)).clamp(NARROWEST, WIDTH - from);
        (from, width)
    }

    fn bar(&self, span: &SpanAnswer, estimated: Option<i64>, family: &str) -> Markup {
        let took = span.duration_ns.unwrap_or(0);
        let (from, width) = self.place(span.offset_ns, took);
        let said = format!(
            "begins at {}, takes {}",
            offset_text(span.offset_ns),
            span.duration_ns.map_or_else(|| "an unknown time".to_owned(), duration_text)
        );
        html! {
            svg.bar viewBox={ "0 0 " (WIDTH) " 20" } preserveAspectRatio="none" role="img" aria-label=(said) {
                @for part in 1..4 { rect.grid x=(WIDTH * part / 4) y="0" width="1" height="20" {} }
                @if let Some(estimated) = estimated {
                    @let (from, width) = self.place(estimated, took);
                    rect.estimated x=(from) y="15" width=(width) height="4" {}
                }
                rect.(family).open[span.duration_ns.is_none()] x=(from) y="4" width=(width) height="10" rx="2" {}
            }
        }
    }

    /// What the bar's beginning, middle and end are, from the first hop's start on.
    fn axis(&self) -> Markup {
        let at = |part: i128| {
            let ns = self.start_ns + self.length_ns * part / 2;
            offset_text(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
        };
        html! { span.axis { span { (at(0)) } span { (at(1)) } span { (at(2)) } } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_in_their_frame_whatever_clocks_say() {
        let span = |offset_ns: i64, duration_ns: u64| SpanAnswer {
            offset_ns,
            duration_ns: Some(duration_ns),
            ..SpanAnswer::default()
        };
        let spans = vec![span(0, 0), span(i64::MIN, u64::MAX), span(i64::MAX, u64::MAX), span(5, 1)];
        let request = RequestAnswer { spans, ..RequestAnswer::default() };
        let estimated = [None, Some(i64::MAX), Some(i64::MIN), None];
        let scale = Scale::of(&request, &estimated);
        for span in &request.spans {
            let (from, width) = scale.place(span.offset_ns, span.duration_ns.unwrap());
            assert!(from >= 0 && width >= NARROWEST && from + width <= WIDTH, "{from} {width}");
        }
        assert!(scale.axis().into_string().contains("9223372037s"));
    }
}
