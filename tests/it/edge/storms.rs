//! Many requests at once, each an instance of its own: the platform's cache lets one of them ask the provider.

use std::sync::{Arc, Barrier};

use chain::Key;
use serde_json::json;

use super::world::{World, claims};

const PATH: &str = "/api/orders";

/// The statuses of `many` requests at once with a token of this key.
fn at_once(world: &World, key: &Key, many: usize) -> Vec<u16> {
    let token = key.token(&claims(json!({})));
    let start = Barrier::new(many);
    std::thread::scope(|scope| {
        let mut all = Vec::new();
        for _ in 0..many {
            all.push(scope.spawn(|| {
                start.wait();
                world.get_with(PATH, &token).status
            }));
        }
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn a_cold_edge_and_a_rotation_under_64_requests_at_once_ask_once_each_and_refuse_nobody() {
    let world = World::start();
    assert_eq!(at_once(&world, &world.key, 64), [200; 64]);
    assert_eq!(world.provider.asked(), 1, "a cold edge");
    let next = Arc::new(Key::es256("idp-next"));
    world.provider.rotate(Arc::clone(&next), &[&world.key]);
    assert_eq!(at_once(&world, &next, 64), [200; 64]);
    assert_eq!(world.provider.asked(), 2, "a rotation");
}

#[test]
fn an_outage_under_64_requests_at_once_is_one_request_in_five_seconds() {
    let world = World::start();
    world.provider.set_out(true);
    let began = std::time::Instant::now();
    assert_eq!(at_once(&world, &world.key, 64), [503; 64]);
    // One, and another for every five seconds that this machine took over it.
    let bound = 1 + began.elapsed().as_secs() / 5;
    let asked = u64::try_from(world.provider.asked()).unwrap();
    assert!((1..=bound).contains(&asked), "{asked} requests in {:?}", began.elapsed());
}
