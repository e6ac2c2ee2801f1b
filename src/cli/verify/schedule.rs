//! What happens to the service, life by life: all of it follows from the seed.

use super::rng::Rng;
use super::store_host::Way;

/// So many lives with the engine under the service, then as many with a store behind a proxy.
const BLOCK: u64 = 16;
/// How far clocks step, in seconds: below what `retention.recent_hours` would take for age.
const CLOCK_STEP_S: u64 = 2400;

/// Something that happens while the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// kill -9 of the engine.
    KillEngine,
    /// The way to the store changes.
    Way(Way),
    /// The disk of the spool is full.
    FillDisk,
    /// It has room again.
    FreeDisk,
    /// The clock is so many seconds off from now on.
    Clock(i64),
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    Terminate,
}

/// What is done to the segments of the dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    Tear,
    Flip,
}

/// One life of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    /// The store is behind the proxy; else the engine is the service's own.
    pub(super) is_proxied: bool,
    /// The seed of a failing disk.
    pub(super) failing_disk: Option<u64>,
    /// Killed so long after its start, whether it listens by then or not.
    pub(super) early_ms: Option<u64>,
    /// How long it runs once it listens.
    pub(super) run_ms: u64,
    /// What happens in it, in order, in milliseconds after it listens.
    pub(super) events: Vec<(u64, Event)>,
    pub(super) end: End,
    pub(super) damage: Damage,
}

impl Life {
    /// The `nth` life of a seed.
    pub(super) fn new(seed: u64, nth: u64) -> Self {
        let mut rng = Rng::stream(seed, [2, nth]);
        let is_proxied = nth / BLOCK % 2 == 1;
        let failing_disk = rng.permille(150).then(|| rng.bits());
        let early = rng.permille(120);
        let early_ms = rng.between(1, if is_proxied { 150 } else { 1200 });
        // Now and then long enough to ship what waits.
        let run_ms = if rng.permille(50) { rng.between(2000, 6000) } else { rng.between(50, 1100) };
        let mut events = Vec::new();
        let mut add = |rng: &mut Rng, event| events.push((rng.between(0, run_ms), event));
        if rng.permille(150) {
            add(&mut rng, Event::KillEngine);
        }
        if is_proxied && rng.permille(350) {
            let way = if rng.permille(500) { Way::Slow } else { Way::Dead };
            add(&mut rng, Event::Way(way));
            if rng.permille(700) {
                add(&mut rng, Event::Way(Way::Open));
            }
        }
        if rng.permille(250) {
            let offset = rng.between(0, 2 * CLOCK_STEP_S) as i64 - CLOCK_STEP_S as i64;
            add(&mut rng, Event::Clock(offset));
        }
        if rng.permille(150) {
            add(&mut rng, Event::FillDisk);
            if rng.permille(600) {
                add(&mut rng, Event::FreeDisk);
            }
        }
        events.sort_by_key(|(at, _)| *at);
        let end = if rng.permille(80) { End::Terminate } else { End::Kill };
        let damage = match rng.between(0, 100) {
            0..8 => Damage::Tear,
            8..13 => Damage::Flip,
            _ => Damage::None,
        };
        Self { is_proxied, failing_disk, early_ms: early.then_some(early_ms), run_ms, events, end, damage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_has_the_same_lives_and_another_has_others() {
        let lives = |seed| (0..200).map(|nth| Life::new(seed, nth)).collect::<Vec<_>>();
        assert_eq!(lives(7), lives(7));
        assert_ne!(lives(7), lives(8));
    }

    #[test]
    fn every_fault_has_its_turn() {
        let lives: Vec<Life> = (0..200).map(|nth| Life::new(1, nth)).collect();
        let some = |is: &dyn Fn(&Life) -> bool| assert!(lives.iter().any(is));
        some(&|life| life.failing_disk.is_some());
        some(&|life| life.early_ms.is_some());
        some(&|life| life.end == End::Terminate);
        some(&|life| life.damage == Damage::Tear);
        some(&|life| life.damage == Damage::Flip);
        for event in [
            Event::KillEngine,
            Event::FillDisk,
            Event::FreeDisk,
            Event::Way(Way::Slow),
            Event::Way(Way::Dead),
            Event::Way(Way::Open),
        ] {
            some(&|life| life.events.iter().any(|(_, own)| *own == event));
        }
        some(&|life| life.events.iter().any(|(_, own)| matches!(own, Event::Clock(1..))));
        some(&|life| life.events.iter().any(|(_, own)| matches!(own, Event::Clock(..0))));
    }
}
