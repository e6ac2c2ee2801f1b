//! What correlation keeps in the store: one holder of the lease at a time, segments as they were shipped, decisions.

use std::collections::BTreeSet;
use std::time::Duration;

use correlation::IdKind;
use store::query::SkewRow;
use store::{ACT_FOR, DEAD_AFTER, Decided, Decision};

use crate::support::{batch, edge, gateway, number, raw, store};

#[tokio::test]
async fn of_many_that_contend_one_holds() {
    let store = store().await;
    for round in 1..=3 {
        let contenders = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.contend(&format!("instance-{round}-{n}")).await.unwrap() })
        });
        let mut held = Vec::new();
        for contender in contenders.collect::<Vec<_>>() {
            held.extend(contender.await.unwrap());
        }
        assert_eq!(held.len(), 1, "round {round}");
        let term = held.remove(0);
        assert_eq!(term.number(), round);
        assert!(term.may_act());
        assert!(store.contend("somebody-else").await.unwrap().is_none(), "it is held");
        store.release(term, 1_000_000 * round as i64).await.unwrap();
    }
}

#[tokio::test]
async fn a_successor_goes_on_where_the_dead_one_was_and_fences_it_out() {
    let store = store().await;
    let before = number(&store, "SELECT toUInt64(toUnixTimestamp64Micro(now64(6)))").await as i64;
    let mut first = store.contend("a").await.unwrap().unwrap();
    assert!(first.through_us >= before, "what was shipped before anybody correlated is not asked for");
    assert!(store.renew(&mut first, before + 7).await.unwrap());
    assert!(store.contend("b").await.unwrap().is_none(), "a lives");
    let died = std::time::Instant::now();
    tokio::time::sleep(ACT_FOR).await;
    assert!(!first.may_act(), "a holder that was silent may not act");
    assert!(store.contend("b").await.unwrap().is_none(), "and nobody else may yet");
    let mut second = loop {
        if let Some(term) = store.contend("b").await.unwrap() {
            break term;
        }
        assert!(died.elapsed() < DEAD_AFTER + Duration::from_secs(5), "nobody takes over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((second.number(), second.through_us), (2, before + 7));
    assert!(!store.renew(&mut first, before + 9).await.unwrap(), "the dead one is told when it comes back");
    assert!(store.renew(&mut second, before + 8).await.unwrap());
    // The same instance after a crash of its own waits for nobody.
    let third = store.contend("b").await.unwrap().unwrap();
    assert_eq!((third.number(), third.through_us), (3, before + 8));
}

#[tokio::test]
async fn recent_events_are_read_by_segment_once_and_as_packed() {
    let store = store().await;
    for segment in [1, 2, 3] {
        let mut batch = batch([edge(segment), gateway(segment)]);
        batch.push_recent([segment as u8; 16], 2, &[segment as u8, 0, b'\n', b'\n', 255]);
        batch.push_recent([segment as u8; 16], 1, b"second");
        store.insert(&batch, [segment as u8; 16], "a").await.unwrap();
        store.insert(&batch, [segment as u8; 16], "a").await.unwrap();
    }
    let chunks = store.recent(&[[3; 16], [1; 16], [9; 16]]).await.unwrap();
    let found: Vec<_> = chunks.iter().map(|it| (it.segment[0], it.events, it.packed.clone())).collect();
    assert_eq!(
        found,
        [
            (1, 2, vec![1, 0, b'\n', b'\n', 255]),
            (1, 1, b"second".to_vec()),
            (3, 2, vec![3, 0, b'\n', b'\n', 255]),
            (3, 1, b"second".to_vec()),
        ]
    );
    // A repetition in another hour is a second row, which its token does not know.
    raw(store.endpoint())
        .query_raw("INSERT INTO recent (segment, chunk, events, bytes, shipped_at) SELECT segment, chunk, events, bytes, shipped_at - 3600 FROM recent")
        .execute()
        .await
        .unwrap();
    assert_eq!(store.recent(&[[1; 16]]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn decisions_are_found_by_id_within_a_tenant() {
    let store = store().await;
    let decided = |tenant: &str, id: Option<(IdKind, u128)>, keys: &[u64]| Decided {
        tenant: tenant.into(),
        id,
        trace_id: 77,
        decision: Decision::Exported,
        rule: "share".into(),
        spans: keys.len() as u32,
        event_keys: keys.to_vec(),
    };
    let correlation = |id| Some((IdKind::Correlation, id));
    let first = [
        decided("default", correlation(1), &[10, 11]),
        decided("other", correlation(1), &[12]),
        decided("default", None, &[]),
    ];
    let since = number(&store, "SELECT toUInt64(toUnixTimestamp64Micro(now64(6)))").await as i64;
    store.note_decisions(&first, 5).await.unwrap();
    store.note_decisions(&first, 5).await.unwrap();
    let second = [decided("default", correlation(1), &[13])];
    store.note_decisions(&second, 6).await.unwrap();
    let found = store.decisions_of("default", &[1, 2]).await.unwrap();
    assert_eq!(found, [first[0].clone(), second[0].clone()], "oldest first");
    let found = store.decisions_of("default", &[77]).await.unwrap();
    assert_eq!(found, [first[2].clone()], "without an id it is found by its trace id");

    let mut known = BTreeSet::new();
    let count = store.decided_since(since, 100, |id, keys| known.extend(keys.iter().map(|key| (id, *key))));
    assert_eq!(count.await.unwrap(), 4);
    assert_eq!(known, BTreeSet::from([(1, 10), (1, 11), (1, 12), (1, 13)]));
    assert_eq!(store.decided_since(since, 2, |_, _| ()).await.unwrap(), 2);
    assert_eq!(store.keys_decided_since(since, 100).await.unwrap(), [10, 11, 12, 13]);
    assert_eq!(store.keys_decided_since(since, 3).await.unwrap().len(), 3);
    assert_eq!(store.decided_since(since + 3_600_000_000, 100, |_, _| ()).await.unwrap(), 0);
}

#[tokio::test]
async fn of_an_hours_skews_the_one_on_most_links_counts() {
    let store = store().await;
    let row = |tenant: &str, hour_s: u32, low_ns: i64, links: u64| SkewRow {
        tenant: tenant.into(),
        hour_s,
        from_server: "a'\\\n".into(),
        to_server: "b".into(),
        low_ns,
        high_ns: low_ns + 10,
        links,
        version: links,
    };
    let hour = 1_800_000_000;
    store
        .note_skews(&[row("t", hour, -5, 7), row("other", hour, 1, 1), row("t", hour + 3600, 2, 2)])
        .await
        .unwrap();
    store.note_skews(&[row("t", hour, 9, 3)]).await.unwrap();
    let ns = |second: u32| i64::from(second) * 1_000_000_000;
    let servers = ["a'\\\n", "b", "c"];
    let found = store.skews("t", &servers, ns(hour + 100), ns(hour + 200)).await.unwrap();
    assert_eq!(found, [row("t", hour, -5, 7)]);
    assert_eq!(store.skews("t", &servers, ns(hour), ns(hour + 3600)).await.unwrap().len(), 2);
    assert!(store.skews("t", &["b"], ns(hour), ns(hour + 3600)).await.unwrap().is_empty());
}
