//! Prints for every workload of the testkit what was joined, which links are right, and which gaps were named rightly.
//!
//! `cargo run --release -p throughline-trace --example join-report [requests per workload] [seed] [workload]`

#[path = "../tests/judge/mod.rs"]
mod judge;

use testkit::truth;

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report: the table is its data, the rest is talk"
)]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next().map(|text| text.parse()) {
        None => default,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            eprintln!("usage: join-report [requests per workload] [seed] [workload]");
            std::process::exit(2);
        }
    };
    let (requests, seed) = (number(2_000) as usize, number(1));
    let only = arguments.next();
    let mut scores = Vec::new();
    let mut gaps = Vec::new();
    for name in truth::names().filter(|name| only.as_deref().is_none_or(|only| only == *name)) {
        let Some(scenario) = truth::scenario(name, seed, requests) else { continue };
        eprintln!("{name}: {} records", scenario.records.len());
        let judged = judge::judge(&scenario);
        for wrong in judged.wrong_certain.iter().take(5) {
            eprintln!("  certain and wrong: {wrong}");
        }
        gaps.push((name, judged.gaps));
        scores.push(judged.score);
    }
    println!("{}", truth::Table(&scores));
    println!("{:<18} {:>8} {:>8} {:>8}", "gaps", "lost", "named", "right");
    for (name, judge::Gaps { lost, named, right }) in gaps {
        println!("{name:<18} {lost:>8} {named:>8} {right:>8}");
    }
    if scores.iter().any(|score| !score.broken().is_empty()) {
        std::process::exit(1);
    }
}
