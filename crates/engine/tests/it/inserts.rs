//! Inserts: binary data of every value, compressed or not, exactly once, all or nothing.

use clickhouse::native::Block;
use clickhouse::native::builder::BlockBuilder;
use clickhouse::{Client, Compression};

use crate::support::shared;

#[derive(Debug, Clone, PartialEq, clickhouse::Row, serde::Serialize, serde::Deserialize)]
struct Row {
    n: u64,
    text: String,
    bytes: Vec<u8>,
}

const COLUMNS: &str = "(n UInt64, text String, bytes Array(UInt8)) ENGINE = MergeTree ORDER BY n";

/// Values that a text protocol would cut: blank lines, statement ends, quotes, NULs, every byte.
fn rows(count: u64) -> Vec<Row> {
    let texts = ["a\n\nb", ";", "'; DROP TABLE t; --", "\n\n\n", "\0", "FORMAT CSV\n\n1", "", "ä€😀"];
    (0..count)
        .map(|n| Row {
            n,
            text: format!("{}{n}", texts[n as usize % texts.len()]),
            bytes: vec![(n % 256) as u8, b'\n', b'\n', b';'],
        })
        .collect()
}

fn blocks(rows: &[Row]) -> Block {
    let mut builder = BlockBuilder::new();
    for row in rows {
        builder.upsert_column::<u64>("n").unwrap().add(row.n).unwrap();
        builder.upsert_column::<String>("text").unwrap().add(row.text.clone()).unwrap();
        builder.upsert_column::<Vec<u8>>("bytes").unwrap().add(row.bytes.clone()).unwrap();
    }
    builder.build().unwrap()
}

async fn read_back(client: &Client, table: &str) -> Vec<Row> {
    client.query(&format!("SELECT ?fields FROM {table} ORDER BY n")).fetch_all().await.unwrap()
}

#[tokio::test]
async fn the_official_client_inserts_row_binary_in_every_way() {
    let rows = rows(10_000);
    for (table, compression, validation) in [
        ("rb_lz4_checked", Compression::Lz4, true),
        ("rb_lz4", Compression::Lz4, false),
        ("rb_plain_checked", Compression::None, true),
        ("rb_plain", Compression::None, false),
    ] {
        let client = shared().client().with_compression(compression).with_validation(validation);
        client.query(&format!("CREATE TABLE {table} {COLUMNS}")).execute().await.unwrap();
        let mut insert = client.insert::<Row>(table).await.unwrap();
        for row in &rows {
            insert.write(row).await.unwrap();
        }
        insert.end().await.unwrap();
        assert_eq!(read_back(&client, table).await, rows, "{table}");
    }
}

#[tokio::test]
async fn the_official_client_inserts_native_blocks() {
    let rows = rows(10_000);
    let client = shared().client();
    client.query(&format!("CREATE TABLE native {COLUMNS}")).execute().await.unwrap();
    let mut insert = client.insert_native("native");
    for part in rows.chunks(4_000) {
        insert.write(&blocks(part)).await.unwrap();
    }
    insert.end().await.unwrap();
    assert_eq!(read_back(&client, "native").await, rows);
    assert_eq!(shared().value("SELECT count() FROM system.parts WHERE table = 'native' AND active"), "1");
}

#[tokio::test]
async fn a_token_makes_a_repeated_insert_count_once() {
    let rows = rows(1_000);
    let client = shared().client();
    let create = format!("CREATE TABLE once {COLUMNS} SETTINGS non_replicated_deduplication_window = 100");
    client.query(&create).execute().await.unwrap();
    for (token, expected) in
        [("segment-1/events", 1_000), ("segment-1/events", 1_000), ("it's 2", 2_000), ("it's 2", 2_000)]
    {
        let mut insert = client.insert_native("once").with_setting("insert_deduplication_token", token);
        insert.write(&blocks(&rows)).await.unwrap();
        insert.end().await.unwrap();
        let mut insert =
            client.insert::<Row>("once").await.unwrap().with_setting("insert_deduplication_token", token);
        for row in &rows {
            insert.write(row).await.unwrap();
        }
        insert.end().await.unwrap();
        let count: u64 = client.query("SELECT count() FROM once").fetch_one().await.unwrap();
        assert_eq!(count, expected, "{token}");
    }
}

#[tokio::test]
async fn an_insert_that_is_dropped_leaves_nothing() {
    let client = shared().client();
    client.query(&format!("CREATE TABLE dropped {COLUMNS}")).execute().await.unwrap();
    let mut insert = client.insert::<Row>("dropped").await.unwrap();
    for row in &rows(20_000) {
        insert.write(row).await.unwrap();
    }
    drop(insert);
    crate::support::until("the insert is over", || {
        shared().value("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO %dropped%'") == "0"
    });
    let count: u64 = client.query("SELECT count() FROM dropped").fetch_one().await.unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_refused_insert_says_why_and_inserts_nothing() {
    let engine = shared();
    engine.value("CREATE TABLE refused (a UInt8) ENGINE = MergeTree ORDER BY a");
    let insert = "query=INSERT%20INTO%20refused%20FORMAT%20";
    for (query, body) in [
        (format!("{insert}CSV"), b"1\n2\nx\n".as_slice()),
        (format!("{insert}Native"), b"\x01\x02".as_slice()),
        (
            format!("{insert}RowBinary&decompress=1"),
            b"0123456789abcdef\x82\x0a\0\0\0\x01\0\0\0\x10".as_slice(),
        ),
        (format!("{insert}RowBinary&decompress=1"), b"0123456789".as_slice()),
        (format!("{insert}RowBinary&no_such_setting=1"), b"\x01".as_slice()),
        ("query=INSERT%20INTO%20nowhere%20FORMAT%20CSV".to_owned(), b"1\n".as_slice()),
    ] {
        let answer = engine.post(&query, body);
        assert!(answer.status >= 400, "{query}: {}", answer.text());
        assert!(answer.text().starts_with("Code: "), "{}", answer.text());
        assert_eq!(engine.value("SELECT count() FROM refused"), "0", "{query}");
    }
    assert_eq!(engine.post(&format!("{insert}CSV"), b"1\n2\n").status, 200);
    assert_eq!(engine.value("SELECT count() FROM refused"), "2");
}

#[test]
fn statements_in_the_body_keep_their_data() {
    let engine = shared();
    engine.value("CREATE TABLE bodies (a UInt8, b String) ENGINE = MergeTree ORDER BY a");
    engine.value("INSERT INTO bodies VALUES (1, ';\n\n'), (2, 'two')");
    engine.value(
        "INSERT INTO bodies (b, a) FORMAT JSONEachRow\n{\"a\": 3, \"b\": \"x\"}\n\n{\"a\": 4, \"b\": \"y\"}",
    );
    engine.value("INSERT INTO bodies SELECT 5, 'five'");
    let answer = engine.post("query=INSERT%20INTO%20bodies%20SETTINGS%20max_threads%3D1%20FORMAT%20RowBinary&insert_deduplication_token=t", b"\x06\x03\n\n;");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("x-clickhouse-summary").unwrap().contains("\"written_rows\":\"1\""));
    assert_eq!(
        engine.value("SELECT groupArray(b) FROM (SELECT b FROM bodies ORDER BY a)"),
        "[';\\n\\n','two','x','y','five','\\n\\n;']"
    );
}

#[test]
fn durability_settings_belong_to_the_table() {
    let engine = shared();
    engine.value("CREATE TABLE durable (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1, fsync_part_directory = 1");
    let insert = "query=INSERT%20INTO%20durable%20FORMAT%20CSV";
    assert_eq!(engine.post(insert, b"1\n").status, 200);
    let answer = engine.post(&format!("{insert}&fsync_after_insert=1"), b"1\n");
    assert_eq!(
        answer.header("x-clickhouse-exception-code"),
        Some("115"),
        "a statement cannot ask for it: {}",
        answer.text()
    );
    assert_eq!(engine.value("SELECT count() FROM durable"), "1");
}
