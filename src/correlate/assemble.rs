//! Settled groups to requests to what goes out; on threads of their own, as it is nothing but computing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use event::{Hop, HopEvent};
use store::Decided;
use trace::skew::{self, Observation};
use trace::{EventIds, Moment, Request, Span};

use super::complete::{Completed, Late};
use super::judge::{Judge, Outgoing};
use super::pending::Settled;
use super::seen::{Seen, of_id, of_key};
use crate::erase::Erasures;

/// What assembling needs to know; shared by its threads.
#[derive(Debug)]
pub(crate) struct Assembly {
    /// `None` where nothing is exported.
    pub(crate) judge: Option<Judge>,
    /// Ids and event keys that were decided lately.
    pub(crate) seen: RwLock<Seen>,
    pub(crate) settle_ns: i64,
    /// Incomplete requests that may still be looked up in the store before the next tick.
    pub(crate) look_ups: AtomicI64,
    /// What must not go out although it was read before it was erased.
    pub(crate) erasures: Option<Arc<Erasures>>,
}

/// What came out of some groups.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    pub(crate) outgoing: Vec<Outgoing>,
    /// Groups with kin that was decided before.
    pub(crate) late: Vec<Late>,
    /// Groups that look like a part of something, so that the store is asked.
    pub(crate) fragments: Vec<Late>,
    /// Such groups for which there was no room.
    pub(crate) unlooked: u64,
    /// What is to be remembered: ids and event keys of all groups.
    pub(crate) entries: Vec<u64>,
    /// How many requests there were.
    pub(crate) settled: u64,
    /// What was learnt about clocks, by tenant.
    pub(crate) observations: Vec<(String, Observation)>,
}

impl Assembled {
    /// Adds what came out of others.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.outgoing.append(&mut other.outgoing);
        self.late.append(&mut other.late);
        self.fragments.append(&mut other.fragments);
        self.unlooked += other.unlooked;
        self.settled += other.settled;
        self.entries.append(&mut other.entries);
        self.observations.append(&mut other.observations);
    }
}

impl Assembly {
    /// Assembles settled groups; `now_ns` by the store's clock.
    pub(crate) fn assemble(&self, settled: &[Settled], now_ns: i64) -> Assembled {
        let mut out = Assembled::default();
        for group in settled {
            // An event is more than a kilobyte: a vector that grows would copy each of them again and again.
            let mut events: Vec<HopEvent<'static>> = Vec::with_capacity(group.count);
            for bytes in group.events() {
                if let Ok(event::Record::Event(event)) = event::wire::read(bytes)
                    && !self.erasures.as_ref().is_some_and(|erasures| erasures.takes(&event))
                {
                    events.push(event.into_owned());
                }
            }
            let at = out.entries.len();
            let mut without_ids = true;
            for event in &events {
                out.entries.push(of_key(event.event_key));
                for (_, value) in EventIds::from(event).bridging() {
                    out.entries.push(of_id(value));
                    without_ids = false;
                }
            }
            let known = {
                let seen = self.seen.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                out.entries[at..].iter().any(|&entry| seen.may_hold(entry))
            };
            if known && self.judge.is_some() {
                out.late.push(Late { events, last_us: group.last_us });
                continue;
            }
            let requests = trace::requests(events, self.moment(now_ns));
            // An event without ids is found by none: the store has nothing beside it.
            if !without_ids && self.judge.is_some() && requests.iter().any(is_fragment) {
                if self.look_ups.fetch_sub(1, Ordering::Relaxed) > 0 {
                    out.fragments.push(Late { events: events_of(requests), last_us: group.last_us });
                    continue;
                }
                out.unlooked += 1;
            }
            self.finish(requests, &[], group.last_us, &mut out);
        }
        out
    }

    /// Assembles groups that were completed from the store. `elsewhere` are decisions that the store does not have yet.
    pub(crate) fn assemble_late(
        &self,
        late: &[Late],
        completed: Vec<Completed>,
        elsewhere: &[&Decided],
        now_ns: i64,
    ) -> Assembled {
        let mut out = Assembled::default();
        for (late, completed) in late.iter().zip(completed) {
            let settled: HashSet<u64> = late.events.iter().map(|event| event.event_key).collect();
            let mut requests = trace::requests(completed.events, self.moment(now_ns));
            // Other requests among the candidates are not what settled.
            requests.retain(|request| {
                request.spans.iter().flat_map(Span::records).any(|event| settled.contains(&event.event_key))
            });
            // What the groups before this one decided is not in the store either.
            let before: Vec<Decided> = out.outgoing.iter().map(|it| it.decided.clone()).collect();
            let decisions: Vec<&Decided> =
                completed.decisions.iter().chain(elsewhere.iter().copied()).chain(&before).collect();
            self.finish(requests, &decisions, late.last_us, &mut out);
        }
        out
    }

    fn finish(&self, requests: Vec<Request>, decisions: &[&Decided], last_us: i64, out: &mut Assembled) {
        out.settled += requests.len() as u64;
        for request in requests {
            let learnt = skew::observations(&request);
            if !learnt.is_empty() {
                let tenant = request.entry().map_or_else(String::new, |span| span.event.tenant.to_string());
                out.observations.extend(learnt.into_iter().map(|it| (tenant.clone(), it)));
            }
            if let Some(judge) = &self.judge {
                out.outgoing.extend(judge.decide(request, decisions, last_us));
            }
        }
    }

    fn moment(&self, now_ns: i64) -> Moment {
        Moment { now_ns, settle_ns: self.settle_ns }
    }
}

/// The events that requests were made of, folded ones once.
fn events_of(requests: Vec<Request>) -> Vec<HopEvent<'static>> {
    let spans = requests.into_iter().flat_map(|request| request.spans);
    spans.flat_map(|span| std::iter::once(span.event).chain(span.also)).collect()
}

/// Whether earlier records of the request may be in the store: somebody called its root, or it is the edge's part alone
/// and the edge went on.
fn is_fragment(request: &Request) -> bool {
    let edge_only = request.spans.iter().all(|span| matches!(span.event.hop, Hop::Edge | Hop::Shield));
    request.gaps.iter().any(|gap| if gap.below { edge_only } else { gap.beside == 0 })
}
