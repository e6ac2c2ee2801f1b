//! Every workload of the testkit keeps its promise: no two requests are ever merged, and what must be joined is.

mod judge;

use testkit::truth;

/// Enough that every story and fault occurs; the report command runs thousands.
const REQUESTS: usize = 250;

#[test]
fn every_workload_keeps_its_promise() {
    let mut broken = Vec::new();
    for seed in [1, 2] {
        for scenario in truth::scenarios(seed, REQUESTS) {
            let judged = judge::judge(&scenario);
            assert!(judged.score.requests > 0, "{} is empty", scenario.name);
            assert!(
                judged.wrong_certain.is_empty() || !scenario.name.starts_with("minted-id"),
                "{}: {:?}",
                scenario.name,
                judged.wrong_certain
            );
            let judge::Gaps { lost, named, right } = judged.gaps;
            assert!(right <= named && right * 10 >= lost * 7, "{}: {right} of {lost} gaps", scenario.name);
            broken.extend(
                judged
                    .score
                    .broken()
                    .into_iter()
                    .map(|why| format!("{} (seed {seed}): {why}", scenario.name)),
            );
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
