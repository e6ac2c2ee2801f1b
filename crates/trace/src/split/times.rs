//! What one record, or two of them together, say of durations, and how fine they were written.

use event::{HopEvent, Precision};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// A duration and how far off it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) ns: u64,
    pub(super) error_ns: u64,
}

/// The step in which a record wrote its durations: the largest of second, millisecond, microsecond and nanosecond
/// that divides them all. Envoy's files write whole milliseconds, cut and not rounded; its streams write nanoseconds.
pub(super) fn step_ns(event: &HopEvent<'_>) -> u64 {
    let durations = [
        event.duration_ns,
        event.upstream_tx_first_ns,
        event.upstream_rx_first_ns,
        event.upstream_rx_last_ns,
        event.first_byte_ns,
        event.last_byte_ns,
    ];
    let told = || durations.into_iter().flatten().filter(|&ns| ns != 0);
    if told().next().is_none() {
        // All are zero: the finest that the start was written in, but hardly finer than a microsecond.
        return match event.start_precision {
            Precision::Nanosecond | Precision::Microsecond => US,
            _ => MS,
        };
    }
    [MS, US].into_iter().find(|step| told().all(|ns| ns % step == 0)).unwrap_or(1)
}

/// How long a hop waited for its upstream: to the last byte where it says so, else to the first.
pub(super) fn waited(event: &HopEvent<'_>) -> Option<Step> {
    let step = step_ns(event);
    if let (Some(sent), Some(answered)) = (event.upstream_tx_first_ns, event.upstream_rx_last_ns) {
        return Some(Step { ns: answered.saturating_sub(sent), error_ns: 2 * step });
    }
    let duration = event.duration_ns?;
    if let (Some(sent), None, None) =
        (event.upstream_tx_first_ns, event.upstream_rx_first_ns, event.upstream_service_ns)
    {
        // It never answered: the hop waited until it gave up.
        return Some(Step { ns: duration.saturating_sub(sent), error_ns: 2 * step });
    }
    let first = to_first_byte(event)?;
    // What came after the first byte is not told: it may have been the upstream or the client that was slow. Where
    // that is most of the time (a stream, a tunnel), nothing is told.
    let rest = duration.saturating_sub(first.ns);
    (rest <= first.ns.max(4 * step))
        .then_some(Step { ns: first.ns, error_ns: first.error_ns.saturating_add(rest) })
}

/// How long a hop waited for the first byte of its upstream.
fn to_first_byte(event: &HopEvent<'_>) -> Option<Step> {
    if let (Some(sent), Some(answered)) = (event.upstream_tx_first_ns, event.upstream_rx_first_ns) {
        return Some(Step { ns: answered.saturating_sub(sent), error_ns: 2 * step_ns(event) });
    }
    // Envoy's header counts whole milliseconds.
    event.upstream_service_ns.map(|ns| Step { ns, error_ns: MS })
}

/// The way from a caller to one of its `callees`, there and back: what the caller waited beyond the callee's time.
/// `None` where the caller does not say how long it waited, or made several calls and does not say for which.
pub(super) fn between(caller: &HopEvent<'_>, callee: &HopEvent<'_>, callees: usize) -> Option<Step> {
    let duration = callee.duration_ns?;
    if callees > 1 {
        return None;
    }
    let callee_step = step_ns(callee);
    if let (Some(sent), Some(answered)) = (caller.upstream_tx_first_ns, caller.upstream_rx_last_ns) {
        let wait = answered.saturating_sub(sent);
        return Some(rest_of(wait, duration, 2 * step_ns(caller) + callee_step));
    }
    if caller.upstream_rx_first_ns.is_none() && caller.upstream_service_ns.is_none() {
        return waited(caller)
            .map(|wait| rest_of(wait.ns, duration, wait.error_ns.saturating_add(callee_step)));
    }
    let first = to_first_byte(caller)?;
    match callee.first_byte_ns {
        Some(sent) => Some(rest_of(first.ns, sent, first.error_ns.saturating_add(callee_step))),
        // The callee's whole duration stands in for its first byte: too long by the time it sent the rest, which is
        // at most what the caller took after its own first byte.
        None => {
            let after = caller.duration_ns.unwrap_or(first.ns).saturating_sub(first.ns);
            Some(rest_of(
                first.ns,
                duration,
                first.error_ns.saturating_add(callee_step).saturating_add(after),
            ))
        }
    }
}

/// A difference; below zero it is zero, and the error says by how much.
fn rest_of(whole: u64, part: u64, error_ns: u64) -> Step {
    Step { ns: whole.saturating_sub(part), error_ns: error_ns.saturating_add(part.saturating_sub(whole)) }
}
