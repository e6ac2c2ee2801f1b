//! One request among the held events, by any of its ids: what `throughline trace` asks a service for.

use correlation::Id;
use event::HopEvent;
use trace::{Bounds, Closure, EventIds, Moment};

use super::held::Events;
use crate::api::answer::TraceAnswer;

/// The answer for an id; `None` if no record carries it.
pub(super) fn look_up(events: &Events, asked: &str) -> Option<TraceAnswer> {
    let ids: Vec<EventIds> =
        (0..events.len()).filter_map(|at| events.event(at)).map(|event| EventIds::from(&event)).collect();
    let mut closure = Closure::new(Id::candidates(asked), Bounds::default());
    loop {
        let wanted = closure.next_ids();
        if wanted.is_empty() {
            break;
        }
        closure.add(ids.iter().copied().filter(|row| row.all().any(|(_, value)| wanted.contains(&value))));
    }
    let keys: std::collections::BTreeSet<u64> = closure.event_keys().collect();
    let found = (0..events.len())
        .filter(|&at| ids.get(at).is_some_and(|row| keys.contains(&row.event_key)))
        .filter_map(|at| events.event(at).map(HopEvent::into_owned));
    let requests = trace::requests(found.collect(), Moment::FINAL);
    TraceAnswer::new(asked, &requests, &[], closure.truncation().map(|bound| bound.to_string()))
}
