//! A segment is stored once, whatever happened to the attempts before, and a refused row costs only itself.

use event::RejectReason;
use store::query::{RejectFilter, SearchFilter};
use store::{Fault, Inserted};

use crate::support::{batch, counts, edge, gateway, number, raw, store};

#[tokio::test]
async fn the_same_segment_twice_is_there_once_in_every_table() {
    let store = store().await;
    let batch = batch([edge(1), gateway(1)]);
    let first = store.insert(&batch, [1; 16], "a").await.unwrap();
    assert_eq!(first, Inserted { events: 2, rejects: 0, refused: 0 });
    let once = counts(&store).await;
    // The edge's three ids and the gateway's three, of which two are the same: each with the others beside it.
    assert_eq!(once, [("events", 2), ("ids", 6), ("rejects", 0), ("rollup_minute", 2), ("shipped", 1)]);
    store.insert(&batch, [1; 16], "a").await.unwrap();
    assert_eq!(counts(&store).await, once);
    store.insert(&batch, [2; 16], "a").await.unwrap();
    assert_eq!(counts(&store).await[0], ("events", 4), "another segment is another");
}

#[tokio::test]
async fn a_segment_whose_shipping_died_between_tables_is_completed() {
    let store = store().await;
    let client = raw(store.endpoint());
    let batch = batch([edge(1), gateway(1)]);
    for table in ["ids", "rollup_minute", "shipped"] {
        client.query_raw(&format!("RENAME TABLE {table} TO {table}_away")).execute().await.unwrap();
        let error = store.insert(&batch, [1; 16], "a").await.unwrap_err();
        assert_eq!((error.table, error.fault), (table, Fault::Setup), "{error}");
        client.query_raw(&format!("RENAME TABLE {table}_away TO {table}")).execute().await.unwrap();
    }
    store.insert(&batch, [1; 16], "a").await.unwrap();
    assert_eq!(
        counts(&store).await,
        [("events", 2), ("ids", 6), ("rejects", 0), ("rollup_minute", 2), ("shipped", 1)]
    );
}

#[tokio::test]
async fn rows_that_the_store_refuses_become_rejects_and_cost_no_other_row() {
    let store = store().await;
    raw(store.endpoint())
        .query_raw("ALTER TABLE events ADD CONSTRAINT polite CHECK path NOT LIKE '/bad%'")
        .execute()
        .await
        .unwrap();
    let events = (0..100).map(|n| {
        let mut event = edge(n);
        if n == 17 || n == 80 {
            event.path = format!("/bad/{n}").into();
        }
        event
    });
    let batch = batch(events);
    let inserted = store.insert(&batch, [3; 16], "a").await.unwrap();
    assert_eq!(inserted, Inserted { events: 98, rejects: 2, refused: 2 });
    let rejects = store.rejects("default", &RejectFilter::default()).await.unwrap();
    assert!(rejects.iter().all(|reject| reject.reason == RejectReason::StoreRefused));
    assert!(rejects.iter().any(|reject| String::from_utf8_lossy(&reject.bytes).contains("path=/bad/17\n")));
    let before = counts(&store).await;
    store.insert(&batch, [3; 16], "a").await.unwrap();
    assert_eq!(counts(&store).await, before, "a repetition halves the same way");
    // What is left after halving is whole: variable-length columns were cut at the right places.
    let filter = SearchFilter { limit: 1000, ..SearchFilter::default() };
    for event in store.search("default", &filter).await.unwrap() {
        let expected = edge(u128::from(event.event_key - 1000));
        assert_eq!(
            (event.path, event.correlation_id, event.host),
            (expected.path, expected.correlation_id, expected.host)
        );
    }
    assert_eq!(
        number(&store, "SELECT countIf(attributes['x'] = '1' AND length(attributes) = 2) FROM events").await,
        98
    );
}

#[tokio::test]
async fn a_segment_of_nothing_but_refused_rows_ships_all_the_same() {
    let store = store().await;
    raw(store.endpoint())
        .query_raw("ALTER TABLE events ADD CONSTRAINT closed CHECK status > 1000")
        .execute()
        .await
        .unwrap();
    for (segment, count) in [(3, 40), (4, 1), (5, 2)] {
        let inserted = store.insert(&batch((0..count).map(edge)), [segment; 16], "a").await.unwrap();
        assert_eq!(inserted.refused, count as u64);
    }
    assert_eq!(number(&store, "SELECT count() FROM rejects").await, 43);
}

#[tokio::test]
async fn a_table_of_another_build_is_blamed_instead_of_the_rows() {
    let store = store().await;
    // A type that no value of ours converts to: without looking, every row would become a reject.
    raw(store.endpoint())
        .query_raw("ALTER TABLE events MODIFY COLUMN pop Enum8('elsewhere' = 1)")
        .execute()
        .await
        .unwrap();
    for count in [1, 2, 40] {
        let error = store.insert(&batch((0..count).map(edge)), [3; 16], "a").await.unwrap_err();
        assert_eq!((error.table, error.fault), ("events", Fault::Setup), "{error}");
        assert!(error.to_string().contains("column pop"), "{error}");
    }
    assert_eq!(number(&store, "SELECT count() FROM rejects").await, 0);
}
