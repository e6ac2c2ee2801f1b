//! A segment is in the store once, in every table: whatever breaks between two of its inserts, whoever ships it in the end.

use std::path::Path;

use crate::app::{Options, Service, eventually};
use crate::durability::line;
use crate::store::{Lost, Proxy, Store};

/// What one delivery below makes: events, rejects, and one insert for each table.
const EVENTS: u64 = 10;
const TABLES: u64 = 7;

fn delivery(nth: u64) -> String {
    (0..EVENTS).map(|n| line(1 + nth * EVENTS + n)).collect::<String>() + "not a log line\n"
}

/// Rows of every table, once for all and once by what makes each itself.
fn rows(store: &Store) -> String {
    store.run(
        "SELECT (SELECT (count(), uniqExact(event_key)) FROM events), \
         (SELECT (count(), uniqExact(id)) FROM ids), (SELECT count() FROM rejects), \
         (SELECT sum(requests) FROM rollup_minute), (SELECT sum(events) FROM recent), \
         (SELECT (count(), uniqExact(segment), sum(events), sum(rejects)) FROM shipped), \
         (SELECT (sumIf(total, counter = 'shipped_events'), sumIf(total, counter = 'shipped_rejects')) FROM ledger) FORMAT TSV",
    )
}

/// What [`rows`] says when so many deliveries are stored, each in a segment of its own.
fn expected(deliveries: u64) -> String {
    let events = deliveries * EVENTS;
    format!(
        "({events},{events})\t({events},{events})\t{deliveries}\t{events}\t{events}\t\
         ({deliveries},{deliveries},{events},{deliveries})\t({events},{deliveries})\n"
    )
}

fn segments(service: &Service) -> usize {
    let files = std::fs::read_dir(service.data().join("spool")).unwrap().flatten();
    files
        .filter(|file| {
            [".open", ".sealed"].iter().any(|kind| file.file_name().to_string_lossy().ends_with(kind))
        })
        .count()
}

#[test]
fn a_break_at_any_insert_of_a_segment_loses_and_doubles_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    let proxy = Proxy::before(store.address);
    // `recent` is filled where requests are correlated.
    let config = store.config(proxy.address) + "[correlate]\nmode = 'on'\n[spool]\nsegment_age = '50ms'\n";
    let mut service = Service::with(Options { config, ..Options::default() });
    let mut deliveries = 0;
    for lost in [Lost::Request, Lost::Answer] {
        for nth in 1..=TABLES {
            proxy.break_at(nth, lost);
            service.accept("/v1/fastly", delivery(deliveries));
            deliveries += 1;
            eventually(&format!("the {nth}. insert breaks, {lost:?} lost"), || proxy.is_down().then_some(()));
            // Every other time the service dies with it, too.
            let dies = nth % 2 == 0;
            if dies {
                service.kill();
            }
            proxy.mend();
            if dies {
                service.restart();
            }
            eventually("the segment is shipped", || (segments(&service) == 0).then_some(()));
            assert_eq!(rows(&store), expected(deliveries), "after the {nth}. insert, {lost:?} lost");
        }
    }
}

#[test]
fn a_dead_instances_spool_is_adopted_and_shipped_once() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    let proxy = Proxy::before(store.address);
    let own = "[correlate]\nmode = 'on'\n[spool]\nsegment_age = '50ms'\n";
    let config = store.config(proxy.address) + own;
    let mut dead = Service::with(Options { config, ..Options::default() });
    // Half of its first segment is in the store when the way breaks; more waits behind it.
    proxy.break_at(3, Lost::Answer);
    for nth in 0..5 {
        dead.accept("/v1/fastly", delivery(nth));
        let waiting = segments(&dead);
        eventually("a segment more waits, or the way is whole", || {
            (segments(&dead) > waiting || proxy.is_down()).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    eventually("the way is broken", || proxy.is_down().then_some(()));

    let adopt = format!("adopt = '{}'\n", dead.data().display());
    let config = store.config(store.address) + own + &adopt;
    let heir = Service::with(Options { config, ..Options::default() });
    eventually("a live owner is left alone", || {
        heir.log.lock().unwrap().contains("in use by its owner").then_some(())
    });
    assert!(segments(&dead) > 1, "it has something to leave");
    dead.kill();
    eventually("the spool is adopted and empty", || (segments(&dead) == 0).then_some(()));
    assert_eq!(rows(&store), expected(5));
    heir.accept("/v1/fastly", delivery(5));
    eventually("the heir goes on", || (rows(&store) == expected(6)).then_some(()));
}

/// Puts an older version's spool in a data directory.
fn leave(service: &Service) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spool/encoding-1");
    for file in std::fs::read_dir(golden).unwrap().flatten() {
        std::fs::copy(file.path(), service.data().join("spool").join(file.file_name())).unwrap();
    }
}

#[test]
fn what_an_older_version_left_is_shipped_once_and_what_a_newer_one_left_is_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    // The records were received on the day the files were made, which is long ago one day.
    let config = store.config(store.address)
        + "[retention]\nevents_days = 20000\nerrors_days = 20000\nrejects_days = 20000\n";
    let mut service = Service::with(Options { config, ..Options::default() });
    let counts = "SELECT (SELECT (count(), uniqExact(event_key)) FROM events), (SELECT count() FROM ids), \
        (SELECT count() FROM rejects), (SELECT (count(), uniqExact(segment)) FROM shipped) FORMAT TSV";
    let all = "(30,30)\t30\t1\t(2,2)\n";
    // The second time the store has all of it already, as when the older version died before it could delete.
    for _ in 0..2 {
        service.kill();
        leave(&service);
        service.restart();
        eventually("the older version's segments are gone", || (segments(&service) == 0).then_some(()));
        assert_eq!(store.run(counts), all);
    }
    let answer = service.json(&format!("/api/v1/traces/{:032x}", 30));
    assert_eq!(answer["spans"].as_array().unwrap().len(), 1, "{answer}");

    // A version that does not exist yet has been here. (One that changes segments: crates/spool/src/tests/corrupt.rs.)
    service.kill();
    newer_record(&service.data().join("spool"));
    service.restart();
    eventually("it says so", || {
        service.log.lock().unwrap().contains("a newer version wrote this segment").then_some(())
    });
    service.accept("/v1/fastly", line(31));
    eventually("what comes after them is shipped", || store.run(counts).starts_with("(31,31)").then_some(()));
    assert!(service.terminate().success());
    assert_eq!(segments(&service), 1, "it waits for the newer version");
}

/// A sealed segment with a record of an encoding that this build does not know.
fn newer_record(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (spool, _) = spool::Spool::open(dir, spool::Options::default()).await.unwrap();
        let mut batch = spool::Batch::new();
        batch.push(&[99, 1, 2, 3]);
        spool.append(batch).await.unwrap();
        spool.close().await.unwrap();
    });
}

#[test]
fn a_redelivery_is_one_event_in_every_answer_and_equal_lines_are_two() {
    let service = Service::start();
    for _ in 0..3 {
        service.accept("/v1/fastly", line(1));
    }
    // Nothing in them says that they are one request: two people may have asked the same within a second.
    let common = "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET /twin HTTP/1.1\" 200 5\n";
    service.accept("/v1/fastly", common.repeat(2));
    service.wait_stored(5);
    let answer = service.json(&format!("/api/v1/traces/{:032x}", 1));
    assert_eq!(answer["spans"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["spans"][0]["deliveries"], 3, "{answer}");
    let found = service.json("/api/v1/events?path_prefix=/twin");
    assert_eq!(found["events"].as_array().unwrap().len(), 2, "{found}");
    let keys: Vec<&str> =
        found["events"].as_array().unwrap().iter().filter_map(|event| event["event_key"].as_str()).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{found}");
}
