//! The ledger against the tables: entries come in once, and whatever the tables lose shows.

use event::{Counter, Counts, Reject, RejectReason, Tally};
use store::query::{LedgerFilter, LedgerRow};
use store::{Batch, Decided, Decision};

use crate::support::{batch, edge, now_ns, raw, store};

fn filter() -> LedgerFilter {
    let now_s = (now_ns() / 1_000_000_000) as u32;
    LedgerFilter { since_s: now_s - 3_600, until_s: now_s + 3_600, source: None, step_s: 86_400, limit: 100 }
}

async fn row(store: &store::Store, source: &str) -> LedgerRow {
    let rows = store.ledger("default", &filter()).await.unwrap();
    // A day may begin between the two ends of the window.
    rows.into_iter().find(|row| row.source == source).unwrap_or_default()
}

fn counted(batch: &mut Batch, source: &'static str, counts: &[(Counter, u64)]) {
    let mut sums = Counts::default();
    for (counter, count) in counts {
        sums.add(*counter, *count);
    }
    let (tenant, source) = ("default".into(), source.into());
    batch.push_tally(&Tally { received_ns: now_ns(), tenant, source, counts: sums });
}

fn of(row: &LedgerRow, counter: &str) -> u64 {
    row.counts.get(counter).copied().unwrap_or_default()
}

#[tokio::test]
async fn entries_are_there_once_and_agree_with_the_tables() {
    let store = store().await;
    let mut batch = batch([edge(1), edge(2), edge(2)]);
    batch.push_reject(&Reject {
        received_ns: now_ns(),
        tenant: "default".into(),
        source: "fastly".into(),
        format: "".into(),
        reason: RejectReason::BadJson,
        detail: "d".into(),
        offset: 0,
        length: 1,
        bytes: b"x".as_slice().into(),
    });
    counted(
        &mut batch,
        "fastly",
        &[(Counter::Accepted, 3), (Counter::Rejected, 1), (Counter::Deliveries, 1)],
    );
    counted(&mut batch, "other", &[(Counter::RefusedBusy, 7)]);
    for _ in 0..2 {
        store.insert(&batch, [1; 16], "a").await.unwrap();
    }
    let fastly = row(&store, "fastly").await;
    let counts = ["accepted", "rejected", "deliveries", "shipped_events", "shipped_rejects"]
        .map(|name| of(&fastly, name));
    assert_eq!(counts, [3, 1, 1, 3, 1], "{fastly:?}");
    assert_eq!((fastly.stored_events, fastly.stored_rejects, fastly.store_refused), (3, 1, 0));
    assert_eq!(of(&row(&store, "other").await, "refused_busy"), 7);
    let decided = |decision, key| Decided {
        tenant: "default".to_owned(),
        id: None,
        trace_id: key,
        decision,
        rule: String::new(),
        spans: 1,
        event_keys: vec![key as u64],
    };
    let decided = [decided(Decision::Exported, 1001), decided(Decision::LeftOut, 1002)];
    store.note_decisions(&decided, 1).await.unwrap();
    let keyed = store.ledger_keys("default", &filter()).await.unwrap();
    let told: Vec<_> = keyed.iter().map(|row| (row.duplicated, row.exported, row.without_id)).collect();
    assert_eq!(told, [(1, 1, 0)], "{keyed:?}");
    assert_eq!(store.ledger_begins().await.unwrap(), 0, "nothing was shipped before");
    assert!(store.ledger("another", &filter()).await.unwrap().is_empty());

    // What the tables lose, the ledger still has.
    let delete = "ALTER TABLE events DELETE WHERE event_key = 1001 SETTINGS mutations_sync = 2";
    raw(store.endpoint()).query_raw(delete).execute().await.unwrap();
    let fastly = row(&store, "fastly").await;
    assert_eq!((of(&fastly, "accepted"), fastly.stored_events), (3, 2));
}

#[tokio::test]
async fn what_the_store_refuses_is_counted_apart() {
    let store = store().await;
    raw(store.endpoint())
        .query_raw("ALTER TABLE events ADD CONSTRAINT polite CHECK path NOT LIKE '/bad%'")
        .execute()
        .await
        .unwrap();
    let mut bad = edge(1);
    bad.path = "/bad/1".into();
    let mut batch = batch([bad, edge(2), edge(3)]);
    counted(&mut batch, "fastly", &[(Counter::Accepted, 3)]);
    store.insert(&batch, [2; 16], "a").await.unwrap();
    let fastly = row(&store, "fastly").await;
    assert_eq!((of(&fastly, "shipped_events"), of(&fastly, "store_refused")), (2, 1), "{fastly:?}");
    assert_eq!((fastly.stored_events, fastly.stored_rejects, fastly.store_refused), (2, 0, 1));
}
