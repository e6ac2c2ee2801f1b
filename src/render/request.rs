//! What `throughline trace` prints of an answer: the sentence first, then the path, then what ties it together, what is
//! missing, where the time went, and what else carries its ids.

use std::io::{self, Write};

use super::safe::safe;
use super::screen::{Paint, Screen};
use super::waterfall::waterfall;
use super::{duration_text, offset_text};
use crate::api::answer::{GapAnswer, RequestAnswer, SpanAnswer, TraceAnswer};

/// Related requests that are listed; the answer as JSON has all.
const RELATED_SHOWN: usize = 8;

/// Clocks closer than this are not worth a line.
const SKEW_SHOWN_NS: i64 = 2_000_000;

/// Writes every request of an answer, the asked one first.
pub(crate) fn trace(out: &mut dyn Write, answer: &TraceAnswer, screen: Screen) -> io::Result<()> {
    for (at, request) in answer.requests().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        one(out, request, screen)?;
    }
    if let Some(bound) = &answer.truncated {
        line(out, screen, Paint::Notice, &format!("cut short: {bound}"))?;
    }
    Ok(())
}

/// Writes one request.
pub(crate) fn one(out: &mut dyn Write, request: &RequestAnswer, screen: Screen) -> io::Result<()> {
    // The sentence is for a ticket: whole, however long.
    writeln!(out, "{}", screen.paint(Paint::Bold, &safe(&request.summary)))?;
    if request.only_related {
        let text = "  related: shares only another id with the request that was asked for";
        line(out, screen, Paint::Notice, text)?;
    }
    writeln!(out)?;
    waterfall(out, &request.spans, screen)?;
    writeln!(out)?;
    line(out, screen, Paint::Dim, &format!("  started {}", request.start))?;
    ids(out, request, screen)?;
    for gap in &request.gaps {
        line(out, screen, Paint::Notice, &format!("  missing: {}", gap_text(gap, &request.spans)))?;
    }
    split(out, request, screen)?;
    for skew in &request.skew {
        let apart = if skew.low_ns > 0 { skew.low_ns } else { skew.high_ns.saturating_neg() };
        if apart > SKEW_SHOWN_NS {
            let (low, high) = (offset_text(skew.low_ns), offset_text(skew.high_ns));
            let text = format!("  clock: {} is {low} to {high} against {}", skew.to, skew.from);
            line(out, screen, Paint::Notice, &text)?;
        }
    }
    related(out, request, screen)
}

/// A line that is never cut: ids are there to be copied.
fn line(out: &mut dyn Write, screen: Screen, paint: Paint, text: &str) -> io::Result<()> {
    writeln!(out, "{}", screen.paint(paint, &safe(text)))
}

/// Every id, with the record that ties it to the ids before it.
fn ids(out: &mut dyn Write, request: &RequestAnswer, screen: Screen) -> io::Result<()> {
    for (at, id) in request.ids.iter().enumerate() {
        let records = if id.records == 1 { "record" } else { "records" };
        let tie = request.spans.iter().find(|span| at > 0 && span.event_key == id.tied_by);
        let tie =
            tie.map(|span| format!(", tied by {} [{}]", hop_name(span), span.event_key)).unwrap_or_default();
        let text = format!("  {} {} ({} {records}{tie})", id.kind, id.value, id.records);
        line(out, screen, Paint::Dim, &text)?;
    }
    for id in &request.shared_ids {
        let text = format!("  {} {} is on another request, too, and joins nothing", id.kind, id.value);
        line(out, screen, Paint::Notice, &text)?;
    }
    Ok(())
}

/// Why a hop is missing, in words.
pub(crate) fn gap_reason(gap: &GapAnswer) -> &'static str {
    match gap.reason.as_str() {
        "settling" => "its record may still come",
        "sampled_out" => "its sender logs a sample only",
        _ if gap.expected == "edge" => "not seen: not logged, lost, or the request came around the edge",
        "lossy_sender" => "not seen; its sender gets no acknowledgement and may have lost it",
        _ => "not seen: not logged there, or lost on the way",
    }
}

/// What a share of the time is called.
pub(crate) fn part_name(part: &str) -> String {
    part.replace("edge_to_gateway_network", "network to gateway")
}

fn gap_text(gap: &GapAnswer, spans: &[SpanAnswer]) -> String {
    let reason = gap_reason(gap);
    let beside = spans.iter().find(|span| span.span_id == gap.beside);
    let side = if gap.below { "below" } else { "above" };
    let beside = beside.map(|span| format!(" {side} {}", hop_name(span))).unwrap_or_default();
    format!("{}{beside} ({reason})", gap.expected)
}

fn hop_name(span: &SpanAnswer) -> String {
    let direction = if span.direction == "unknown" { "" } else { span.direction.as_str() };
    let words = [span.hop.as_str(), direction, span.place.as_str()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Where the time went, on one line: `edge 1.20ms, gateway 3.00ms ±1.00ms`.
fn split(out: &mut dyn Write, request: &RequestAnswer, screen: Screen) -> io::Result<()> {
    if request.split.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = request
        .split
        .iter()
        .map(|part| {
            let name = part_name(&part.part);
            let error = if part.error_ns == 0 {
                String::new()
            } else {
                format!(" ±{}", duration_text(part.error_ns))
            };
            format!("{name} {}{error}", duration_text(part.duration_ns))
        })
        .collect();
    line(out, screen, Paint::Plain, &format!("  time: {}", parts.join(", ")))
}

fn related(out: &mut dyn Write, request: &RequestAnswer, screen: Screen) -> io::Result<()> {
    for other in request.related.iter().take(RELATED_SHOWN) {
        let id = other.correlation_id.as_ref().unwrap_or(&other.trace_id);
        line(out, screen, Paint::Dim, &format!("  related: {id} ({})", other.why))?;
    }
    let more = request.related.len().saturating_sub(RELATED_SHOWN);
    if more > 0 {
        line(out, screen, Paint::Dim, &format!("  related: and {more} more"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A denied request with a gap, as the service would answer it.
    fn sample() -> TraceAnswer {
        let mix = testkit::Mix::new(5);
        let denied = mix.request_as(0, testkit::Story::Denied);
        let mut events: Vec<_> =
            denied.hops.iter().map(|hop| testkit::events::hop_event(&denied, hop)).collect();
        events.retain(|event| event.hop != event::Hop::Gateway);
        let id = denied.correlation_text();
        TraceAnswer::new(&id, &trace::requests(events, trace::Moment::FINAL), &[], Some("rows".to_owned()))
            .unwrap()
    }

    fn shown(columns: usize) -> String {
        let mut out = Vec::new();
        trace(&mut out, &sample(), Screen { columns, coloured: false }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_sentence_comes_first_and_gaps_are_named() {
        let text = shown(140);
        assert_eq!(text.lines().next(), Some(sample().request.summary.as_str()));
        assert!(text.contains("missing: gateway"), "{text}");
        assert!(text.ends_with("cut short: rows\n"), "{text}");
        insta::assert_snapshot!(text);
    }
}
