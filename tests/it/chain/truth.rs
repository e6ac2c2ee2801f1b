//! What was really called by whom: the scenarios, and the tree of hops that each must become.

use super::mesh::Place;

/// Which record of one request: where, of which call, and of which try of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    pub(crate) place: Place,
    /// The call as the test's own header names it: `7` is the edge's, `7.1.2` the second call that app a made for the
    /// first try of it.
    pub(crate) call: String,
    /// The caller's try, where the hop was called; 0 elsewhere.
    pub(crate) attempt: u64,
}

impl Hop {
    pub(crate) fn new(place: Place, call: &str, attempt: u64) -> Self {
        let was_called = matches!(place, Place::InboundA | Place::InboundB);
        Self { place, call: call.to_owned(), attempt: if was_called { attempt } else { 0 } }
    }
}

/// One kind of request.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    /// What the gateway answers.
    pub(crate) status: u16,
    /// The tries that reached app a's sidecar; for each the calls that app a made; for each how often app b's sidecar
    /// was tried.
    tries: &'static [&'static [u64]],
    /// Which headers app a does not hand on.
    pub(crate) forgets: Forgets,
}

/// What app a does not hand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgets {
    Nothing,
    /// Its calls are a request of their own, and share nothing with the first.
    Everything,
    /// All but `traceparent`: by the trace it is one chain, by the ids it is two.
    AllButTrace,
}

const fn scenario(
    name: &'static str,
    path: &'static str,
    status: u16,
    tries: &'static [&'static [u64]],
) -> Scenario {
    Scenario { name, path, status, tries, forgets: Forgets::Nothing }
}

pub(crate) const SCENARIOS: [Scenario; 14] = [
    scenario("plain", "/shop/plain", 200, &[&[1]]),
    scenario("fan-out, one after the other", "/shop/sequential", 200, &[&[1, 1]]),
    scenario("fan-out, side by side, equal calls", "/shop/parallel", 200, &[&[1, 1]]),
    scenario("fan-out, both", "/shop/mixed", 200, &[&[1, 1, 1]]),
    scenario("fan-out, side by side, one tried twice", "/shop/contested", 200, &[&[2, 1]]),
    scenario("gateway retries, a calls each time", "/retry", 200, &[&[1], &[1]]),
    scenario("gateway retries what came too late", "/impatient", 200, &[&[1], &[1]]),
    scenario("sidecar retries", "/shop/flaky", 200, &[&[2]]),
    scenario("gateway times out", "/late", 504, &[&[1]]),
    scenario("denied at sidecar a", "/denied", 403, &[&[]]),
    scenario("no route at the gateway", "/nowhere", 404, &[]),
    scenario("a's call is refused a connection", "/shop/refused", 503, &[&[0]]),
    Scenario { forgets: Forgets::Everything, ..scenario("a drops the headers", "/shop/drops", 200, &[&[1]]) },
    Scenario {
        forgets: Forgets::AllButTrace,
        ..scenario("a keeps only the traceparent", "/shop/keeps-trace", 200, &[&[1]])
    },
];

impl Scenario {
    /// Every hop of the request with the edge's call `call`, each with what called it. The edge comes first.
    pub(crate) fn hops(&self, call: &str) -> Vec<(Hop, Option<Hop>)> {
        let edge = Hop::new(Place::Edge, call, 0);
        let gateway = Hop::new(Place::Gateway, call, 0);
        let mut hops = vec![(edge.clone(), None), (gateway.clone(), Some(edge))];
        for (attempt, calls) in (1..).zip(self.tries) {
            let inbound = Hop::new(Place::InboundA, call, attempt);
            hops.push((inbound.clone(), Some(gateway.clone())));
            for (number, tries) in (1..).zip(*calls) {
                let made = format!("{call}.{attempt}.{number}");
                let outbound = Hop::new(Place::OutboundA, &made, 0);
                let caller = (self.forgets != Forgets::Everything).then(|| inbound.clone());
                hops.push((outbound.clone(), caller));
                for attempt in 1..=*tries {
                    hops.push((Hop::new(Place::InboundB, &made, attempt), Some(outbound.clone())));
                }
            }
        }
        hops
    }
}
