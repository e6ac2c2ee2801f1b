//! The engine that all tests share, databases, and events.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use event::{Direction, Hop, HopEvent, Precision};
use store::{Batch, Endpoint, Retention, Store};

const DATA: &str = "STORE_TEST_ENGINE_DATA";
const SECRET: &str = "a secret of the store's tests";

struct Engine {
    /// Its standard input is this process's to close: the engine ends with it.
    _child: Child,
    _data: tempfile::TempDir,
    url: String,
}

fn library() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("THROUGHLINE_ENGINE_LIB").unwrap_or_else(|| {
        let cache = from("THROUGHLINE_CACHE_DIR")
            .or_else(|| from("XDG_CACHE_HOME").map(|root| root.join("throughline")))
            .or_else(|| from("HOME").map(|root| root.join(".cache/throughline")));
        cache.expect("a home directory").join("chdb-26.7.3-stable.1/libchdb.so")
    })
}

/// Not a test but the engine: this program runs itself with [`DATA`] set, because a test can start no other package's
/// program.
#[test]
fn engine_child() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let mut options = engine::Options::new(library(), data);
    options.secret = Some(SECRET.into());
    let Err(error) = engine::run(options);
    panic!("{error}");
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        assert!(library().is_file(), "{} is missing: run scripts/engine-lib", library().display());
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["support::engine_child", "--exact", "--nocapture"])
            .env(DATA, data.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready =
            output.by_ref().map(Result::unwrap).find(|line| line.contains('{')).expect("a ready line");
        let json = &ready[ready.find('{').unwrap()..];
        let ready: serde_json::Value = serde_json::from_str(json).unwrap();
        // Whatever else it prints must not fill the pipe.
        std::thread::spawn(move || output.for_each(drop));
        Engine { _child: child, _data: data, url: format!("http://{}", ready["listening"].as_str().unwrap()) }
    })
}

/// A store in an empty database of its own, without a schema.
pub(crate) async fn empty() -> Store {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let engine = tokio::task::spawn_blocking(engine).await.unwrap();
    let mut endpoint = Endpoint::at(&engine.url);
    endpoint.user = engine::SERVICE_USER.into();
    endpoint.password = SECRET.into();
    // Power loss is not tested here, and a hundred fsyncs are slow.
    endpoint.fsync = false;
    let database = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    raw(&endpoint).query_raw(&format!("CREATE DATABASE {database}")).execute().await.unwrap();
    endpoint.database = database;
    Store::connect(endpoint)
}

/// A store with the schema of this build.
pub(crate) async fn store() -> Store {
    let store = empty().await;
    store.migrate(&Retention::default()).await.unwrap();
    store
}

/// A client for what the store does not offer.
pub(crate) fn raw(endpoint: &Endpoint) -> clickhouse::Client {
    clickhouse::Client::default()
        .with_url(&endpoint.url)
        .with_user(&endpoint.user)
        .with_password(&endpoint.password)
        .with_database(&endpoint.database)
}

/// One number from the store's database.
pub(crate) async fn number(store: &Store, sql: &str) -> u64 {
    raw(store.endpoint()).query_raw(sql).fetch_one().await.unwrap()
}

/// Rows of every table that a segment fills, as (table, rows); a rollup counts its requests.
pub(crate) async fn counts(store: &Store) -> Vec<(&'static str, u64)> {
    let mut found = Vec::new();
    for (table, what) in [
        ("events", "count()"),
        ("ids", "count()"),
        ("rejects", "count()"),
        ("rollup_minute", "toUInt64(sum(requests))"),
        ("shipped", "count()"),
    ] {
        found.push((table, number(store, &format!("SELECT {what} FROM {table}")).await));
    }
    found
}

/// When the tests began, in whole seconds, as unix nanoseconds: the same event is the same whenever it is made.
pub(crate) fn now_ns() -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    *NOW.get_or_init(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() as i64 * 1_000_000_000
    })
}

/// An edge event of request `n`.
pub(crate) fn edge(n: u128) -> HopEvent<'static> {
    let now = now_ns();
    HopEvent {
        tenant: "default".into(),
        source: "fastly".into(),
        received_ns: now,
        event_key: 1000 + n as u64,
        hop: Hop::Edge,
        correlation_id: 0xc0 << 96 | n,
        edge_request_id: 0xed << 96 | n,
        trace_id: 0x7a << 96 | n,
        start_ns: now - 1_000_000_000,
        start_precision: Precision::Microsecond,
        duration_ns: Some(5_000_000),
        status: 200,
        host: "www.example.com".into(),
        path: "/cart/items".into(),
        pop: "FRA".into(),
        country: "de".into(),
        client_address: 0xffff_0a00_0001,
        attributes: vec![("x".into(), "1".into()), ("empty".into(), "".into())],
        ..HopEvent::default()
    }
}

/// The gateway's event of the same request.
pub(crate) fn gateway(n: u128) -> HopEvent<'static> {
    HopEvent {
        event_key: 2000 + n as u64,
        source: "istio".into(),
        hop: Hop::Gateway,
        direction: Direction::Inbound,
        edge_request_id: 0,
        request_id: REQUEST_ID + n,
        status: 503,
        response_flags: "UF,URX".into(),
        service: "cart".into(),
        duration_ns: Some(2_000_000_000),
        pop: "".into(),
        path: "/other".into(),
        host: "cart.internal".into(),
        country: "".into(),
        client_address: 0x2001_0db8 << 96 | 1,
        verdict: "deny".into(),
        verdict_reason: "expired".into(),
        subject: "s-1".into(),
        attributes: Vec::new(),
        ..edge(n)
    }
}

/// `42322d1a-c026-4a05-84a7-b6ce5d11d000` as the event carries it.
pub(crate) const REQUEST_ID: u128 = 0x4232_2d1a_c026_4a05_84a7_b6ce_5d11_d000;

/// A batch of `events`.
pub(crate) fn batch<'a>(events: impl IntoIterator<Item = HopEvent<'a>>) -> Batch {
    let mut batch = Batch::new();
    events.into_iter().for_each(|event| batch.push_event(&event));
    batch
}
