//! A full spool, by its budget or by the disk's floor: who is refused, or who gives way, and that it is counted.

use super::disk::Disk;
use super::{batch, drain, options, records};
use crate::{AppendError, FullCause, Options, Spool, WhenFull};

async fn open(disk: &Disk, options: Options) -> Spool {
    Spool::open_on(disk.mount(), "/spool", options).await.unwrap().0
}

/// Room for some three segments of one batch each.
fn tight() -> Options {
    Options { segment_max_bytes: 600, max_bytes: 1700, when_full: WhenFull::DropOldest, ..options() }
}

fn large(name: &str) -> String {
    format!("{name}{}", " ".repeat(400))
}

#[tokio::test]
async fn the_oldest_give_way_and_are_counted_and_the_one_under_way_never() {
    let disk = Disk::default();
    let spool = open(&disk, tight()).await;
    spool.append(batch([large("held")])).await.unwrap();
    spool.seal_now().await.unwrap();
    let held = spool.next_sealed().await.unwrap();
    for n in 0..10 {
        spool.append(batch([large(&n.to_string()), "small".to_owned()])).await.unwrap();
        assert!(spool.stats().used_bytes <= 1700, "{}", spool.stats().used_bytes);
    }
    let stats = spool.stats();
    assert!((7..=9).contains(&stats.dropped_segments), "{}", stats.dropped_segments);
    assert_eq!(stats.dropped_records, 2 * stats.dropped_segments);
    assert_eq!(stats.waiting_records, 1 + 2 * (10 - stats.dropped_segments));
    assert_eq!(records(&held).await.len(), 1, "it is still there");
    held.done().await.unwrap();
    spool.seal_now().await.unwrap();
    let left = drain(&spool).await;
    let kept: Vec<_> =
        left.iter().filter(|record| record.len() > 400).map(|record| record.trim_end()).collect();
    let first = usize::try_from(stats.dropped_segments).unwrap();
    let newest: Vec<_> = (first..10).map(|n| n.to_string()).collect();
    assert_eq!(kept, newest, "the newest are what is left");
    assert_eq!(spool.stats().used_bytes, 0);
    // What was dropped does not come back.
    drop(spool);
    assert_eq!(open(&disk, tight()).await.stats().sealed_waiting, 0);
}

#[tokio::test]
async fn where_all_are_under_way_the_new_one_is_refused() {
    let disk = Disk::default();
    let spool = open(&disk, tight()).await;
    let mut held = Vec::new();
    for n in 0..3 {
        spool.append(batch([large(&n.to_string())])).await.unwrap();
        spool.seal_now().await.unwrap();
        held.push(spool.next_sealed().await.unwrap());
    }
    let refused = spool.append(batch([large("new")])).await.unwrap_err();
    assert!(matches!(refused, AppendError::Full { cause: FullCause::Budget, .. }), "{refused}");
    assert_eq!(spool.stats().dropped_segments, 0);
    held.pop().unwrap().done().await.unwrap();
    spool.append(batch([large("new")])).await.unwrap();
}

#[tokio::test]
async fn below_the_floor_of_the_disk_nothing_is_taken_and_above_it_all_goes_on() {
    let disk = Disk::default();
    let floor = Options { min_free_bytes: 10_000, reserve_bytes: 0, ..options() };
    let spool = open(&disk, floor).await;
    disk.set_room(Some(20_000));
    spool.append(batch(["a"])).await.unwrap();
    // Somebody else fills the disk.
    disk.set_room(Some(9_000));
    let refused = spool.append(batch(["b"])).await.unwrap_err();
    assert!(matches!(refused, AppendError::Full { cause: FullCause::Floor, .. }), "{refused}");
    assert!(spool.stats().below_floor && refused.retry_after().is_some());
    // What is there is sealed and can be shipped all the same: the floor is what that needs.
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await, ["a"]);
    disk.set_room(Some(20_000));
    spool.append_when_room(batch(["c"])).await.unwrap();
    assert!(!spool.stats().below_floor);
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await, ["c"]);
}

#[tokio::test]
async fn below_the_floor_the_oldest_give_way_where_that_is_chosen() {
    let disk = Disk::default();
    let spool =
        open(&disk, Options { min_free_bytes: 1000, reserve_bytes: 0, max_bytes: 1 << 20, ..tight() }).await;
    disk.set_room(Some(2400));
    for n in 0..6 {
        spool.append(batch([large(&n.to_string())])).await.unwrap();
    }
    let stats = spool.stats();
    assert!(stats.dropped_segments >= 2, "{}", stats.dropped_segments);
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await.last().map(|record| record.trim_end().to_owned()), Some("5".to_owned()));
}
