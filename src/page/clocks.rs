//! When hops began if all clocks agreed: the raw start, less what the clocks between the first hop and this one are
//! surely apart. Past a pair of clocks of which nothing is known, nothing is corrected. For display; links and order go
//! by raw clocks.

use std::collections::BTreeMap;

use crate::api::answer::{RequestAnswer, SkewAnswer};

/// For each hop its start relative to the first, corrected; `None` where nothing says that its clock is off.
pub(super) fn estimates(request: &RequestAnswer) -> Vec<Option<i64>> {
    let place: BTreeMap<&str, usize> =
        request.spans.iter().enumerate().map(|(at, span)| (span.span_id.as_str(), at)).collect();
    let mut ahead: Vec<i64> = Vec::with_capacity(request.spans.len());
    for (at, span) in request.spans.iter().enumerate() {
        // A parent stands before its children.
        let parent =
            span.parent_span_id.as_deref().and_then(|id| place.get(id)).filter(|&&parent| parent < at);
        let own = parent.map_or(0, |&parent| {
            let above = &request.spans[parent].clock;
            let apart =
                if *above == span.clock { Some(0) } else { between(request, above, &span.clock).map(surely) };
            apart.map_or(0, |apart| ahead[parent].saturating_add(apart))
        });
        ahead.push(own);
    }
    let corrected = |(span, ahead): (&crate::api::answer::SpanAnswer, &i64)| {
        (*ahead != 0).then(|| span.offset_ns.saturating_sub(*ahead))
    };
    request.spans.iter().zip(&ahead).map(corrected).collect()
}

fn between<'r>(request: &'r RequestAnswer, from: &str, to: &str) -> Option<&'r SkewAnswer> {
    request.skew.iter().find(|skew| skew.from == from && skew.to == to)
}

/// The middle of where one clock is ahead of the other; nothing where both may agree.
fn surely(skew: &SkewAnswer) -> i64 {
    if skew.low_ns <= 0 && skew.high_ns >= 0 {
        return 0;
    }
    skew.low_ns / 2 + skew.high_ns / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answer::SpanAnswer;

    fn hop(id: &str, parent: Option<&str>, clock: &str, offset_ns: i64) -> SpanAnswer {
        SpanAnswer {
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            clock: clock.to_owned(),
            offset_ns,
            ..SpanAnswer::default()
        }
    }

    fn skew(from: &str, to: &str, low_ns: i64, high_ns: i64) -> SkewAnswer {
        SkewAnswer { from: from.to_owned(), to: to.to_owned(), low_ns, high_ns, links: 3 }
    }

    #[test]
    fn what_is_surely_off_is_taken_away_along_the_path() {
        let request = RequestAnswer {
            spans: vec![
                hop("1", None, "cache", 0),
                hop("2", Some("1"), "gateway", 108),
                hop("3", Some("2"), "pod-a", 20),
                hop("4", Some("2"), "pod-b", 115),
                hop("5", Some("lost"), "pod-c", 7),
                hop("6", Some("2"), "pod-d", 9),
                hop("7", Some("3"), "pod-a", 25),
            ],
            skew: vec![
                skew("cache", "gateway", 90, 110),
                skew("gateway", "pod-a", -100, -80),
                skew("gateway", "pod-b", -5, 5),
            ],
            ..RequestAnswer::default()
        };
        assert_eq!(estimates(&request), [None, Some(8), Some(10), Some(15), None, None, Some(15)]);
    }
}
