//! The store's disk budget: the oldest days go, today stays, and what does not fit waits where it is durable.

use crate::app::{Options, Service, eventually};
use crate::durability::line;
use crate::store::Store;

/// Nothing packs random text to less than three quarters.
const ATTRIBUTES: &str = "map('x', randomPrintableASCII(1000000))";

fn rows(store: &Store, of: &str) -> u64 {
    store.run(&format!("SELECT count() FROM {of} FORMAT TSV")).trim().parse().unwrap()
}

fn metric(service: &Service, name: &str) -> u64 {
    let (_, text) = service.get("/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn over_its_budget_the_oldest_days_go_and_todays_records_wait_in_the_spool() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    let config = store.config(store.address) + "[retention]\nmax_bytes = '20MiB'\n";
    let service = Service::with(Options { config, ..Options::default() });
    service.accept("/v1/fastly", line(1));
    service.wait_stored(1);
    // Thirty megabytes of the day before yesterday, a little of yesterday.
    let copy = |days: u32, copies: u32| {
        store.run(&format!(
            "INSERT INTO events SELECT one.* REPLACE (bucket - toIntervalDay({days}) AS bucket, {ATTRIBUTES} AS attributes) \
             FROM (SELECT * FROM events WHERE toDate(bucket) = (SELECT max(toDate(bucket)) FROM events) LIMIT 1) AS one, \
             numbers({copies}) AS many"
        ));
    };
    copy(1, 1);
    copy(2, 40);
    let days = "(SELECT DISTINCT toDate(bucket) FROM events)";
    assert_eq!(rows(&store, days), 3);
    eventually("the oldest day is gone", || (rows(&store, days) == 2).then_some(()));
    eventually("it is counted", || {
        (metric(&service, "throughline_store_dropped_rows_total{table=\"events\"}") == 40).then_some(())
    });
    assert_eq!(rows(&store, "events"), 2, "yesterday's fits");
    service.accept("/v1/fastly", line(2));
    service.wait_stored(2);

    // Today's alone are too much.
    copy(0, 40);
    let full = "nothing is shipped until it is raised or the day ends";
    eventually("it says so", || service.log.lock().unwrap().contains(full).then_some(()));
    let before = rows(&store, "events");
    service.accept("/v1/fastly", line(3));
    eventually("it waits", || service.log.lock().unwrap().contains("it waits in the spool").then_some(()));
    assert_eq!(rows(&store, "events"), before);
    let today = store
        .run("SELECT DISTINCT partition_id FROM system.parts WHERE table = 'events' AND active FORMAT TSV");
    store.run(&format!("ALTER TABLE events DROP PARTITION ID '{}'", today.trim()));
    eventually("it goes on by itself", || (rows(&store, "events") == 1).then_some(()));
}
