//! Migrations, and the agreement of columns with the schema of events.

use clickhouse::Row;
use event::{Direction, Hop, HopEvent, Precision};
use serde::Deserialize;
use store::migrate::{RETENTION, SCHEMA, Setting, VIEWS, render};
use store::{Retention, StoreError};

use crate::support::{empty, number, raw, store};

#[derive(Row, Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

#[tokio::test]
async fn migrating_twice_is_migrating_once() {
    let store = empty().await;
    assert!(store.check_schema().await.is_err(), "nothing is there yet");
    let first = store.migrate(&Retention::default()).await.unwrap();
    assert!(first.applied.len() > 6);
    store.check_schema().await.unwrap();
    let second = store.migrate(&Retention::default()).await.unwrap();
    assert_eq!(second.applied, Vec::<&str>::new());
}

#[tokio::test]
async fn two_instances_may_migrate_at_once() {
    let store = empty().await;
    let retention = Retention::default();
    let (one, two) = tokio::join!(store.migrate(&retention), store.migrate(&retention));
    let (one, two) = (one.unwrap().applied.len(), two.unwrap().applied.len());
    assert!(one.min(two) == 0 && one.max(two) > 6, "one of them does it all: {one}, {two}");
}

#[tokio::test]
async fn a_lock_that_is_held_is_waited_for() {
    let store = empty().await;
    let client = raw(store.endpoint());
    client.query_raw("CREATE TABLE migration_lock (held UInt8) ENGINE = Memory").execute().await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.migrate(&Retention::default()).await }
    });
    client.query_raw("DROP TABLE migration_lock SYNC").execute().await.unwrap();
    assert!(!waiting.await.unwrap().unwrap().applied.is_empty());
}

#[tokio::test]
async fn a_current_schema_waits_for_no_lock() {
    let store = empty().await;
    store.migrate(&Retention::default()).await.unwrap();
    // As a start that was killed leaves it: nothing but time opens it, and shipping would wait for that.
    let lock = "CREATE TABLE migration_lock (held UInt8) ENGINE = Memory COMMENT 'killed 3600'";
    raw(store.endpoint()).query_raw(lock).execute().await.unwrap();
    assert_eq!(store.migrate(&Retention::default()).await.unwrap().applied, Vec::<&str>::new());
}

#[tokio::test]
async fn a_lock_left_behind_is_taken_over_by_one() {
    let store = empty().await;
    let client = raw(store.endpoint());
    // Its holder died: the lease of no seconds has run out as soon as the store's clock moves on.
    client
        .query_raw("CREATE TABLE migration_lock (held UInt8) ENGINE = Memory COMMENT 'dead 0'")
        .execute()
        .await
        .unwrap();
    let retention = Retention::default();
    let (one, two, three) =
        tokio::join!(store.migrate(&retention), store.migrate(&retention), store.migrate(&retention));
    let mut applied = [one, two, three].map(|report| report.unwrap().applied.len());
    applied.sort_unstable();
    assert!(applied[0] == 0 && applied[1] == 0 && applied[2] > 6, "one of them does it all: {applied:?}");
    let locks =
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'migration_lock'";
    assert_eq!(number(&store, locks).await, 0);
}

#[tokio::test]
async fn retention_follows_the_configuration() {
    let store = store().await;
    let longer = Retention { events_days: 45, ..Retention::default() };
    let report = store.migrate(&longer).await.unwrap();
    assert_eq!(report.applied, ["retention/01_events.sql"]);
    let sql = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'events' \
               AND create_table_query LIKE '%toIntervalDay(45)%'";
    assert_eq!(number(&store, sql).await, 1);
}

#[tokio::test]
async fn without_migrating_a_missing_schema_is_named() {
    let store = store().await;
    raw(store.endpoint())
        .query_raw("ALTER TABLE migrations DELETE WHERE name LIKE '%ids.sql' SETTINGS mutations_sync = 1")
        .execute()
        .await
        .unwrap();
    let error = store.check_schema().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Schema { missing: 1, first: "0001_first/03_ids.sql", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn columns_are_the_fields_and_enums_are_the_vocabularies() {
    let store = store().await;
    let columns: Vec<Column> = raw(store.endpoint())
        .query_raw("SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'events' ORDER BY position")
        .fetch_all()
        .await
        .unwrap();
    let names: Vec<&str> = columns.iter().skip(2).map(|column| column.name.as_str()).collect();
    let fields: Vec<&str> = HopEvent::FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names, fields);
    let type_of = |name: &str| columns.iter().find(|column| column.name == name).unwrap().r#type.clone();
    let words = |values: Vec<(u8, &str)>| {
        let words: Vec<_> = values.iter().map(|(number, word)| format!("'{word}' = {number}")).collect();
        format!("Enum8({})", words.join(", "))
    };
    assert_eq!(type_of("hop"), words(Hop::ALL.iter().map(|it| (*it as u8, it.name())).collect()));
    assert_eq!(type_of("direction"), words(Direction::ALL.iter().map(|it| (*it as u8, it.name())).collect()));
    assert_eq!(
        type_of("start_precision"),
        words(Precision::ALL.iter().map(|it| (*it as u8, it.name())).collect())
    );
}

#[tokio::test]
async fn the_engine_parses_the_form_for_a_cluster() {
    let store = empty().await;
    let setting = Setting { cluster: Some("main"), fsync: false, retention: &Retention::DEFAULT };
    for file in SCHEMA.iter().chain(RETENTION).chain(VIEWS) {
        let statement = render(file.sql, setting);
        let formatted: String = raw(store.endpoint())
            .query_raw("SELECT formatQuery({statement:String})")
            .param("statement", &statement)
            .fetch_one()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}\n{statement}", file.name));
        assert!(formatted.contains("ON CLUSTER main"), "{}: {formatted}", file.name);
    }
}
