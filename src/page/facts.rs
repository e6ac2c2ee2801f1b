//! What is known of a request beside its hops: where the time went, its ids, what policies decided, how far clocks are
//! apart, and what else carries its ids.

use maud::{Markup, html};

use super::text::{Logged, counted, cut, id_link};
use crate::api::answer::{PartAnswer, RequestAnswer, SpanAnswer};
use crate::render::{duration_text, hop_text, offset_text, part_name};

/// Related requests that are listed; the JSON has all.
const RELATED: usize = 12;
/// Units of the split's width.
const WIDTH: u128 = 1000;

/// Every panel that has something to say.
pub(super) fn facts(request: &RequestAnswer) -> Markup {
    html! {
        div.facts {
            (split(&request.split))
            (ids(request))
            (verdicts(&request.spans))
            (clocks(request))
            (related(request))
        }
    }
}

fn split(parts: &[PartAnswer]) -> Markup {
    let total: u128 = parts.iter().map(|part| u128::from(part.duration_ns)).sum();
    if total == 0 {
        return html! {};
    }
    let mut from = 0;
    let placed: Vec<(u128, u128, &PartAnswer)> = parts
        .iter()
        .map(|part| {
            let begin = from * WIDTH / total;
            from += u128::from(part.duration_ns);
            (begin, from * WIDTH / total - begin, part)
        })
        .collect();
    html! {
        section.panel.split {
            h2 { "Where the time went" }
            svg.bar viewBox={ "0 0 " (WIDTH) " 20" } preserveAspectRatio="none" aria-hidden="true" {
                @for (begin, width, part) in &placed { rect.(colour(&part.part)) x=(begin) y="0" width=(width) height="20" {} }
            }
            table role="table" {
                tbody role="rowgroup" {
                    @for part in parts {
                        tr role="row" {
                            th role="rowheader" scope="row" { i.swatch.(colour(&part.part)) {} (part_name(&part.part).replace('+', " + ")) }
                            td.number role="cell" { (duration_text(part.duration_ns)) }
                            td.number.dim role="cell" { @if part.error_ns > 0 { "±" (duration_text(part.error_ns)) } }
                            td.number.dim role="cell" { (u128::from(part.duration_ns) * 100 / total) "%" }
                        }
                    }
                }
            }
        }
    }
}

/// Parts that are told apart each have a colour; what is joined has one of its own.
fn colour(part: &str) -> &'static str {
    match part {
        "edge" => "edge",
        "edge_to_gateway_network" => "network",
        "gateway" => "gateway",
        "mesh" => "mesh",
        "workload" => "service",
        _ => "mixed",
    }
}

fn ids(request: &RequestAnswer) -> Markup {
    html! {
        section.panel {
            h2 { "Ids" }
            table.ids role="table" {
                tbody role="rowgroup" {
                    @for (at, id) in request.ids.iter().enumerate() {
                        tr role="row" {
                            th role="rowheader" scope="row" { (id.kind.replace('_', " ")) }
                            td role="cell" {
                                (id_link(&id.value))
                                span.dim.note {
                                    " " (counted(id.records, "hop"))
                                    @if at > 0 && let Some(span) = request.spans.iter().find(|it| it.event_key == id.tied_by) {
                                        ", tied by " (hop_text(&span.hop, &span.direction)) " " (cut(&span.place, 28))
                                    }
                                    @if request.shared_ids.iter().any(|it| it.kind == id.kind && it.value == id.value) {
                                        span.warn { " on another request, too: joins nothing" }
                                    }
                                }
                            }
                        }
                    }
                    @if request.ids.iter().all(|id| id.kind != "trace_id") {
                        tr role="row" {
                            th role="rowheader" scope="row" { "trace id" }
                            td role="cell" { span.id { (request.trace_id) } span.dim.note { " made from the strongest id" } }
                        }
                    }
                }
            }
        }
    }
}

fn verdicts(spans: &[SpanAnswer]) -> Markup {
    let decided: Vec<_> = spans.iter().filter_map(|span| Some((span, span.verdict.as_ref()?))).collect();
    html! {
        @if !decided.is_empty() {
            section.panel {
                h2 { "Verdicts" }
                ul.plain {
                    @for (span, verdict) in decided {
                        li {
                            span.verdict.deny[verdict.outcome != "allow"] { (cut(&verdict.outcome, 40)) }
                            " at " (hop_text(&span.hop, &span.direction)) " " span.dim { (cut(&span.place, 32)) }
                            @for (name, text) in [("reason", &verdict.reason), ("rule", &verdict.rule), ("policy", &verdict.policy_version)] {
                                @if !text.is_empty() { span.dim { ", " (name) " " } (cut(text, 120)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clocks(request: &RequestAnswer) -> Markup {
    html! {
        @if !request.skew.is_empty() {
            section.panel {
                h2 { "Clocks " span.dim { "starts above are raw; ≈ is corrected" } }
                ul.plain {
                    @for skew in &request.skew {
                        @let is_off = skew.low_ns > 0 || skew.high_ns < 0;
                        li {
                            (cut(&skew.to, 48)) span.dim { " against " } (cut(&skew.from, 48)) ": "
                            span.warn[is_off] { (offset_text(skew.low_ns)) " to " (offset_text(skew.high_ns)) }
                            span.dim { @if is_off { " off" } @else { " (may agree)" } ", " (counted(usize::try_from(skew.links).unwrap_or(usize::MAX), "link")) }
                        }
                    }
                }
            }
        }
    }
}

fn related(request: &RequestAnswer) -> Markup {
    html! {
        @if !request.related.is_empty() {
            section.panel {
                h2 { "Related requests " span.dim { "they share an id, and are not this one" } }
                ul.plain {
                    @for other in request.related.iter().take(RELATED) {
                        li {
                            (id_link(other.correlation_id.as_deref().unwrap_or(&other.trace_id)))
                            span.dim { " " (Logged(&other.why.replace('_', " "))) }
                        }
                    }
                    @if request.related.len() > RELATED { li.dim { "and " (request.related.len() - RELATED) " more" } }
                }
            }
        }
    }
}
