//! A segment is in the store once, in every table: whatever breaks between two of its inserts, whoever ships it in the end.

use crate::app::{Options, Service, eventually};
use crate::durability::line;
use crate::store::{Lost, Proxy, Store};

/// What one delivery below makes: events, rejects, and one insert for each table.
const EVENTS: u64 = 10;
const TABLES: u64 = 6;

fn delivery(nth: u64) -> String {
    (0..EVENTS).map(|n| line(1 + nth * EVENTS + n)).collect::<String>() + "not a log line\n"
}

/// Rows of every table, once for all and once by what makes each itself.
fn rows(store: &Store) -> String {
    store.run(
        "SELECT (SELECT (count(), uniqExact(event_key)) FROM events), \
         (SELECT (count(), uniqExact(id)) FROM ids), (SELECT count() FROM rejects), \
         (SELECT sum(requests) FROM rollup_minute), (SELECT sum(events) FROM recent), \
         (SELECT (count(), uniqExact(segment), sum(events), sum(rejects)) FROM shipped) FORMAT TSV",
    )
}

/// What [`rows`] says when so many deliveries are stored, each in a segment of its own.
fn expected(deliveries: u64) -> String {
    let events = deliveries * EVENTS;
    format!(
        "({events},{events})\t({events},{events})\t{deliveries}\t{events}\t{events}\t\
         ({deliveries},{deliveries},{events},{deliveries})\n"
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
