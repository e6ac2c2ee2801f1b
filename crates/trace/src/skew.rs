//! How far the clocks of two servers are apart, learnt from requests that crossed both.
//!
//! A child begins after its parent sent the request and ends before its parent had the answer. By raw clocks that says
//! within which interval the child's clock may be ahead of the parent's: no estimate, a bound. Many requests narrow it.
//! For display only: links and exported times use the clocks as they are.
//!
//! Only certain links of normally completed requests count: a parent that gave up ends before its child, a stream has
//! no end that both share, and the end that Fastly Compute logs leaves the body out.

use std::collections::BTreeMap;

use event::HopEvent;

use crate::model::{Confidence, Request};
use crate::place::{Role, end_ns, pod_address, step_ns};

/// Changes whenever the rules here do, so that bounds learnt by other rules are not mixed with these.
pub const VERSION: u16 = 1;

/// Observations of one pair of clocks that are weighed; more would not narrow the interval much.
const MOST_WEIGHED: usize = 512;

/// What one link says of two clocks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    /// The parent's server.
    pub from: String,
    /// The child's server.
    pub to: String,
    /// Start of the child by its own clock, unix nanoseconds: clocks drift, so bounds belong to an hour.
    pub at_ns: i64,
    /// The child's clock is ahead of the parent's by at least this (negative: behind).
    pub low_ns: i64,
    /// And by at most this.
    pub high_ns: i64,
}

/// Within which interval one clock is ahead of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skew {
    /// The clock compared with.
    pub from: String,
    /// The clock that is ahead by the interval.
    pub to: String,
    /// At least so many nanoseconds (negative: behind).
    pub low_ns: i64,
    /// At most so many.
    pub high_ns: i64,
    /// Observations that agree on the interval.
    pub links: u64,
}

impl Skew {
    /// Whether the clocks are known to differ.
    pub fn is_off(&self) -> bool {
        self.low_ns > 0 || self.high_ns < 0
    }
}

/// The server whose clock wrote a record: cache server, node, pod or pod address; `None` if the record does not say.
pub fn server<'e>(event: &'e HopEvent<'_>) -> Option<&'e str> {
    let named =
        if Role::of(event).is_fastly() { [&event.server, &event.server] } else { [&event.node, &event.pod] };
    named.into_iter().map(|name| name.as_ref()).find(|name| !name.is_empty()).or_else(|| pod_address(event))
}

/// What a request says of the clocks that it crossed.
pub fn observations(request: &Request) -> Vec<Observation> {
    request
        .spans
        .iter()
        .filter_map(|span| {
            let link = span.link.as_ref().filter(|link| link.confidence == Confidence::Certain)?;
            observe(&request.spans[link.parent].event, &span.event)
        })
        .collect()
}

fn observe(parent: &HopEvent<'_>, child: &HopEvent<'_>) -> Option<Observation> {
    let (from, to) = (server(parent)?, server(child)?);
    if from == to || !ended_normally(parent) || !ended_normally(child) {
        return None;
    }
    // A logged start is up to one step early, and so is an end that was added up from truncated parts.
    let step = step_ns(parent.start_precision)
        .max(step_ns(child.start_precision))
        .max(if is_whole_ms(parent) || is_whole_ms(child) { 1_000_000 } else { 1_000 });
    let sent = parent.start_ns.saturating_add_unsigned(parent.upstream_tx_first_ns.unwrap_or(0));
    let low_ns = end_ns(child).saturating_sub(end_ns(parent)).saturating_sub(2 * step);
    let high_ns = child.start_ns.saturating_sub(sent).saturating_add(2 * step);
    (low_ns <= high_ns).then(|| Observation {
        from: from.to_owned(),
        to: to.to_owned(),
        at_ns: child.start_ns,
        low_ns,
        high_ns,
    })
}

fn is_whole_ms(event: &HopEvent<'_>) -> bool {
    event.duration_ns.is_some_and(|ns| ns % 1_000_000 == 0)
}

fn ended_normally(event: &HopEvent<'_>) -> bool {
    event.duration_ns.is_some()
        && !event.intermediate
        && event.response_flags.is_empty()
        && event.status >= 200
        && event.completed != Some(false)
        && !event.format.contains("compute")
}

/// The interval of each pair of clocks on which most observations agree: those that contradict it came from a clock
/// that was set, or from a record that lies.
pub fn skews(observations: impl IntoIterator<Item = Observation>) -> Vec<Skew> {
    let mut pairs: BTreeMap<(String, String), Vec<(i64, i64)>> = BTreeMap::new();
    for one in observations {
        let bounds = pairs.entry((one.from, one.to)).or_default();
        if bounds.len() < MOST_WEIGHED {
            bounds.push((one.low_ns, one.high_ns));
        }
    }
    pairs
        .into_iter()
        .filter_map(|((from, to), bounds)| {
            let (low_ns, high_ns, links) = agreed(&bounds)?;
            Some(Skew { from, to, low_ns, high_ns, links })
        })
        .collect()
}

/// The smallest interval that the most intervals share (Marzullo's algorithm), and how many those are.
fn agreed(bounds: &[(i64, i64)]) -> Option<(i64, i64, u64)> {
    let mut edges: Vec<(i64, bool)> =
        bounds.iter().flat_map(|&(low, high)| [(low, false), (high, true)]).collect();
    // At one point intervals open before others close: they share it.
    edges.sort_unstable();
    let (mut open, mut best) = (0u64, None);
    for (at, &(low, closes)) in edges.iter().enumerate() {
        if closes {
            open -= 1;
            continue;
        }
        open += 1;
        if best.is_none_or(|(_, _, most)| open > most) {
            best = edges.get(at + 1).map(|&(high, _)| (low, high, open));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use event::{Direction, Hop, Precision};
    use proptest::prelude::*;

    use super::*;
    use crate::model::Moment;

    const MS: i64 = 1_000_000;

    /// An edge and a gateway whose clock is `ahead_ns` ahead; the gateway takes 40 of the edge's 100 ms.
    fn crossing(ahead_ns: i64, key: u64, before_ms: i64) -> Vec<HopEvent<'static>> {
        let edge = HopEvent {
            event_key: key,
            hop: Hop::Edge,
            server: "cache-fra1".into(),
            correlation_id: u128::from(key),
            start_ns: 1_000 * MS,
            start_precision: Precision::Microsecond,
            duration_ns: Some(100_000_123),
            status: 200,
            cache_result: "miss".into(),
            ..HopEvent::default()
        };
        let gateway = HopEvent {
            event_key: key + 1,
            hop: Hop::Gateway,
            direction: Direction::Unknown,
            server: "".into(),
            node: "router~10.0.0.1~gw.x~y".into(),
            start_ns: (1_000 + before_ms) * MS + ahead_ns,
            duration_ns: Some(40_000_123),
            ..edge.clone()
        };
        vec![edge, gateway]
    }

    fn learnt(events: Vec<HopEvent<'static>>) -> Vec<Skew> {
        skews(crate::requests(events, Moment::FINAL).iter().flat_map(observations))
    }

    #[test]
    fn one_request_bounds_the_offset_and_more_narrow_it() {
        let one = learnt(crossing(3_000 * MS, 10, 50));
        assert_eq!(one.len(), 1);
        let width = |skew: &Skew| skew.high_ns - skew.low_ns;
        assert!(one[0].is_off() && one[0].low_ns <= 3_000 * MS && 3_000 * MS <= one[0].high_ns, "{one:?}");
        let more = learnt([crossing(3_000 * MS, 10, 50), crossing(3_000 * MS, 20, 5)].concat());
        assert_eq!(more[0].links, 2);
        assert!(width(&more[0]) < width(&one[0]) && more[0].low_ns <= 3_000 * MS);
    }

    #[test]
    fn what_gave_up_says_nothing() {
        let mut events = crossing(0, 10, 50);
        events[1].response_flags = "UT".into();
        assert!(learnt(events).is_empty());
    }

    #[test]
    fn one_liar_among_many_is_outvoted() {
        let mut events: Vec<_> = (1..6).flat_map(|n| crossing(20 * MS, n * 10, 30)).collect();
        events.extend(crossing(-900 * MS, 90, 30));
        let skews = learnt(events);
        assert_eq!(skews[0].links, 5);
        assert!(skews[0].low_ns <= 20 * MS && 20 * MS <= skews[0].high_ns);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_truth(ahead_ms in -5_000i64..5_000, before in proptest::collection::vec(0i64..60, 1..20)) {
            let events = before.iter().enumerate().flat_map(|(n, &before)| crossing(ahead_ms * MS, 10 * (n as u64 + 1), before));
            for skew in learnt(events.collect()) {
                prop_assert!(skew.low_ns <= ahead_ms * MS && ahead_ms * MS <= skew.high_ns, "{:?}", skew);
            }
        }
    }
}
