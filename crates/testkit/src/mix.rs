//! The sample mix: requests by number, from a seed.

use correlation::uuid_v7;

use crate::population::Population;
use crate::request::Request;
use crate::rng::Rng;
use crate::story::{self, Story};

/// When the first request of a mix starts unless it is told: 2026-11-01T00:00:00Z, so that tests have fixed times.
pub const DEFAULT_START_MS: u64 = 1_793_491_200_000;

/// Time between two requests unless it is told: 10,000 records a second at 6 records a request.
const DEFAULT_INTERVAL_US: u64 = 600;

/// Makes requests. Cheap to ask in any order and from several threads; building one takes some milliseconds.
#[derive(Debug, Clone)]
pub struct Mix {
    seed: u64,
    start_ms: u64,
    interval_us: u64,
    population: Population,
}

impl Mix {
    /// The mix of a seed, from [`DEFAULT_START_MS`] on.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            start_ms: DEFAULT_START_MS,
            interval_us: DEFAULT_INTERVAL_US,
            population: Population::new(seed),
        }
    }

    /// The same mix with its first request at `start_ms` (unix milliseconds) and one each `interval_us` microseconds.
    pub fn starting(mut self, start_ms: u64, interval_us: u64) -> Self {
        (self.start_ms, self.interval_us) = (start_ms, interval_us);
        self
    }

    /// Request number `n`, with the story that its number draws.
    pub fn request(&self, n: u64) -> Request {
        let mut rng = Rng::stream(self.seed, n);
        let story = Story::draw(&mut rng);
        self.make(n, story, rng)
    }

    /// Request number `n` with a given story.
    pub fn request_as(&self, n: u64, story: Story) -> Request {
        let mut rng = Rng::stream(self.seed, n);
        let _drawn = Story::draw(&mut rng);
        self.make(n, story, rng)
    }

    /// The first `count` requests.
    pub fn requests(&self, count: u64) -> impl Iterator<Item = Request> {
        (0..count).map(|n| self.request(n))
    }

    /// Who takes part.
    pub fn population(&self) -> &Population {
        &self.population
    }

    fn make(&self, n: u64, story: Story, mut rng: Rng) -> Request {
        let start_us = self.start_ms * 1000 + n * self.interval_us;
        let (path, entry) = self.population.path(&mut rng);
        let url = match rng.below(10) {
            0 => format!("{path}?page={}&sort=price", 1 + rng.below(20)),
            1 => format!("{path}?utm_source=newsletter&utm_campaign={:06x}", rng.below(1 << 24)),
            _ => path.to_owned(),
        };
        let (pop, country) = Population::pop(&mut rng);
        let mut request = Request {
            number: n,
            story,
            correlation_id: uuid_v7(start_us / 1000, rng.next_u128()),
            trace_id: rng.next_u128().max(1),
            edge_span_id: rng.next_u64().max(1),
            request_id: rng.uuid_v4(),
            sampled: rng.below(4) == 0,
            method: if rng.below(8) == 0 { "POST" } else { "GET" },
            host: "shop.example.com",
            url,
            user_agent: self.population.user_agent(&mut rng).to_owned(),
            client: Population::client(&mut rng),
            country,
            asn: 64_496 + rng.below(16) as u32,
            hops: Vec::with_capacity(7),
        };
        let start_ns = (start_us * 1000) as i64;
        story::travel(&mut request, &self.population, (pop, entry), start_ns, &mut rng);
        request
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use event::{Direction, Hop};

    use super::*;

    #[test]
    fn a_seed_and_a_number_make_one_request() {
        let (mix, again) = (Mix::new(7), Mix::new(7));
        let backwards: Vec<_> = (0..50).rev().map(|n| again.request(n)).collect();
        for (n, request) in mix.requests(50).enumerate() {
            assert_eq!(request, backwards[49 - n]);
        }
        assert_ne!(mix.request(0).correlation_id, Mix::new(8).request(0).correlation_id);
    }

    #[test]
    fn six_records_a_request() {
        let records: usize = Mix::new(1).requests(10_000).map(|request| request.hops.len()).sum();
        assert!((5.7..6.1).contains(&(records as f64 / 10_000.0)), "{records}");
    }

    #[test]
    fn ids_are_unique() {
        let mut ids = HashSet::new();
        for request in Mix::new(3).requests(5_000) {
            for id in [request.correlation_id, request.trace_id, request.request_id] {
                assert!(ids.insert(id));
            }
        }
    }

    #[test]
    fn children_of_an_ordinary_request_lie_within_their_parents() {
        for n in 0..500 {
            let request = Mix::new(4).request_as(n, Story::Plain);
            for pair in request.hops.windows(2) {
                assert!(pair[1].start_ns > pair[0].start_ns);
                let end = |hop: &crate::TrueHop| hop.start_ns + hop.duration_ns as i64;
                assert!(end(&pair[1]) < end(&pair[0]), "{request:?}");
            }
        }
    }

    #[test]
    fn one_failure_looks_different_at_each_hop() {
        let request = Mix::new(5).request_as(0, Story::Timeout);
        let seen: Vec<_> =
            request.hops.iter().map(|hop| (hop.hop, hop.direction, hop.status, hop.flags)).collect();
        assert_eq!(
            seen,
            [
                (Hop::Edge, Direction::Unknown, 504, ""),
                (Hop::Shield, Direction::Unknown, 504, ""),
                (Hop::Gateway, Direction::Unknown, 504, "UT"),
                (Hop::Sidecar, Direction::Inbound, 0, "DC"),
                (Hop::Sidecar, Direction::Outbound, 0, "DC"),
                (Hop::Sidecar, Direction::Inbound, 0, "DC"),
            ]
        );
        let retried = Mix::new(5).request_as(0, Story::Retried);
        let attempts: Vec<_> =
            retried.at(Hop::Sidecar, Direction::Inbound).map(|hop| (hop.attempt, hop.status)).collect();
        assert_eq!(attempts, [(1, 503), (2, 200), (1, 200)]);
    }

    #[test]
    fn sidecars_rewrite_one_digit_of_the_request_id() {
        let mix = Mix::new(6);
        let request = mix.requests(100).find(|request| request.sampled && request.hops.len() == 6).unwrap();
        let text: Vec<String> = request.hops.iter().map(|hop| request.request_text(hop)).collect();
        assert_eq!((&text[2][14..15], &text[3][14..15]), ("4", "9"));
        assert_eq!(text[2].replace("-4", "-9"), text[3].replace("-4", "-9"));
    }
}
