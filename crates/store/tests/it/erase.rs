//! Erasing one person's rows: they are gone from every table and from the disk, nobody else's are, and what is shipped
//! again does not bring others' rows a second time.

use event::{Reject, RejectReason};
use store::Store;
use store::erase::Scope;
use store::migrate::SCHEMA;

use super::support::{batch, edge, gateway, number, store};

fn scope(subject: &str, pattern: &str) -> Scope {
    Scope {
        tenant: "default".into(),
        from_ns: 0,
        until_ns: i64::MAX,
        subject: subject.into(),
        pattern: pattern.into(),
        ..Scope::default()
    }
}

fn reject(text: &str) -> Reject<'static> {
    Reject {
        received_ns: super::support::now_ns(),
        tenant: "default".into(),
        source: "fastly".into(),
        format: "".into(),
        reason: RejectReason::BadJson,
        detail: "no JSON".into(),
        offset: 0,
        length: 3,
        bytes: text.as_bytes().to_vec().into(),
    }
}

async fn erase(store: &Store, scope: &Scope, erasure: u128) {
    let mut found = store.erasable_events(scope).await.unwrap();
    let ids: Vec<u128> = found.iter().flat_map(|row| row.request_ids()).filter(|id| *id != 0).collect();
    found.extend(store.erasable_by_ids(scope, &ids, false).await.unwrap());
    let keys: Vec<u64> = found.iter().map(|row| row.event_key).collect();
    let traces = found.iter().map(|row| row.trace_id());
    let all: Vec<u128> = ids.iter().copied().chain(traces).collect();
    store.note_erasing(erasure, &keys, &all).await.unwrap();
    store.begin_erasing().await.unwrap();
    let (before, after) = store.erase(scope, erasure).await.unwrap();
    assert!(before > 0 && after == 0, "{before} {after}");
    assert_eq!(store.left_of(scope, erasure).await.unwrap(), (0, 0));
    store.end_erasing().await.unwrap();
    store.forget_erasing(erasure).await.unwrap();
    assert_eq!(number(store, "SELECT count() FROM erasing").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_goes_with_all_of_their_request_and_the_others_stay() {
    let store = store().await;
    // Three people; of each the edge's event, that names nobody, and the gateway's. One trace id for two of them.
    let people: Vec<_> = (1..=3u128)
        .flat_map(|n| {
            let shared = 0x7a << 96 | n.min(2);
            let mut gateway = gateway(n);
            gateway.subject = format!("person-{n}").into();
            gateway.trace_id = shared;
            let mut edge = edge(n);
            edge.trace_id = shared;
            [edge, gateway]
        })
        .collect();
    let mut all = batch(people.clone());
    all.push_reject(&reject("{\"user\":\"person-2\""));
    all.push_reject(&reject("{\"user\":\"person-22\""));
    store.insert(&all, [7; 16], "test").await.unwrap();
    let before = number(&store, "SELECT count() FROM ids").await;

    let scope = scope("person-2", r"(?i)\bperson-2\b");
    assert_eq!(store.erasable_elsewhere(&scope).await.unwrap().rejects, 1);
    erase(&store, &scope, 5).await;

    assert_eq!(number(&store, "SELECT count() FROM events").await, 4);
    assert_eq!(number(&store, "SELECT countIf(subject = 'person-2') FROM events").await, 0);
    assert_eq!(number(&store, "SELECT count() FROM rejects").await, 1);
    // Their four and three id rows are gone; the third's row of the shared trace id leads to the third's events.
    let after = number(&store, "SELECT count() FROM ids").await;
    assert_eq!(before - after, before / 3, "{before} {after}");
    let trace = 0x7a << 96 | 2;
    let rows = store.ids_of("default", &[trace]).await.unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.ids[0] == 0xc0 << 96 | 3), "{rows:?}");

    // The same segment again, as after a crash: others' rows are not doubled.
    store.insert(&all, [7; 16], "test").await.unwrap();
    assert_eq!(number(&store, "SELECT count() FROM events").await, 4);
    assert_eq!(number(&store, "SELECT count() FROM rejects").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_that_held_the_rows_leave_the_disk() {
    let store = store().await;
    store.insert(&batch((1..=3).flat_map(|n| [edge(n), gateway(n)])), [8; 16], "test").await.unwrap();
    let held =
        number(&store, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active")
            .await;
    assert!(held > 0);
    let scope = Scope { ids: vec![0xc0 << 96 | 1], ..scope("", "") };
    let found = store.erasable_events(&scope).await.unwrap();
    assert_eq!(found.len(), 2);
    let keys: Vec<u64> = found.iter().map(|row| row.event_key).collect();
    store.note_erasing(6, &keys, &scope.ids).await.unwrap();
    store.begin_erasing().await.unwrap();
    store.erase(&scope, 6).await.unwrap();
    assert!(store.old_parts().await.unwrap() > 0, "the old parts are there at first");
    let since = std::time::Instant::now();
    while store.old_parts().await.unwrap() > 0 {
        assert!(since.elapsed().as_secs() < 60, "old parts stay on the disk");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    store.end_erasing().await.unwrap();
    let changed = "SELECT countIf(engine_full LIKE '%old_parts_lifetime%') FROM system.tables WHERE database = currentDatabase()";
    assert_eq!(number(&store, changed).await, 0);
}

/// Tables that hold nothing of a person, with the reason. Everything else has to be in `erase`.
const IMPERSONAL: &[(&str, &str)] = &[
    ("migrations", "names of statements"),
    ("rollup_minute", "sums by minute, hop, host and the like"),
    ("shipped", "counts of a segment"),
    ("correlate_terms", "numbers and instances"),
    ("correlate_progress", "numbers and instances"),
    ("skew", "clocks of servers"),
    ("ledger", "counts of what sources sent"),
    ("erasing", "emptied when an erasure is done"),
    ("erasures", "what an erasure asked for, for thirty days, named in its receipt"),
];
/// Columns by which a table would hold something of a person.
const PERSONAL: &[&str] = &[
    "subject",
    "client_address",
    "forwarded_for",
    "downstream_remote",
    "attributes",
    "bytes",
    "query",
    "referer",
    "user_agent",
    "event_key",
    "event_keys",
    "correlation_id",
    "request_id",
    "edge_request_id",
    "trace_id",
    "path",
];

#[test]
fn every_table_is_erased_from_or_holds_nothing_of_a_person() {
    for file in SCHEMA.iter().filter(|file| file.sql.contains("CREATE TABLE IF NOT EXISTS {table:")) {
        let table = file.sql.split("{table:").nth(1).unwrap().split('}').next().unwrap();
        let columns: Vec<&str> = file
            .sql
            .lines()
            .skip_while(|line| *line != "(")
            .take_while(|line| *line != ")")
            .filter_map(|line| line.trim().split(' ').next())
            .collect();
        assert!(columns.len() > 1, "{}: its columns are read line by line", file.name);
        let erased = ["events", "ids", "rejects", "exports", "recent"].contains(&table);
        let impersonal = IMPERSONAL.iter().any(|(name, _)| *name == table);
        assert!(
            erased != impersonal,
            "{table}: erase its rows in crates/store/src/erase, or say why not here"
        );
        if impersonal && table != "erasing" {
            let found: Vec<_> = columns.iter().filter(|column| PERSONAL.contains(column)).collect();
            assert!(found.is_empty(), "{table} holds {found:?}");
        }
    }
}
