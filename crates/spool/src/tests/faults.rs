//! The disk fails while the spool runs: what is acknowledged, what is not, and that it goes on afterwards.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::disk::{Disk, Faults};
use super::{batch, drain, options, records};
use crate::{AppendError, DoneError, FullCause, Options, ReadError, SealError, Spool};

const DIR: &str = "/spool";

async fn open(disk: &Disk, options: Options) -> Spool {
    Spool::open_on(disk.mount(), DIR, options).await.unwrap().0
}

#[tokio::test]
async fn a_failed_fsync_acknowledges_nothing_and_keeps_what_was_durable() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["durable"])).await.unwrap();
    disk.set_faults(Faults { syncs: 1, ..Faults::default() });
    let error = spool.append(batch(["lost"])).await.unwrap_err();
    assert!(matches!(error, AppendError::Io { .. }), "{error}");
    assert!(error.retry_after().is_some());
    // The old descriptor is not used again: what follows is in another segment.
    spool.append(batch(["next"])).await.unwrap();
    let stats = spool.stats();
    assert_eq!((stats.appends_failed, stats.io_errors, stats.sealed_waiting), (1, 1, 1));
    assert!(stats.last_error.unwrap().0.contains("cannot write"));
    disk.power_failure(3);
    drop(spool);
    let spool = open(&disk, options()).await;
    assert_eq!(drain(&spool).await, ["durable", "next"]);
}

#[tokio::test]
async fn bytes_that_only_the_page_cache_holds_are_made_durable_by_recovery() {
    let disk = Disk::default();
    let spool = open(&disk, Options { io_pause: Duration::from_secs(3600), ..options() }).await;
    spool.append(batch(["a"])).await.unwrap();
    // The sync fails, which leaves clean pages that are not on the disk, and so does cutting them off.
    disk.set_faults(Faults { syncs: 1, opens: 1, ..Faults::default() });
    spool.append(batch(["b"])).await.unwrap_err();
    disk.kill();
    drop(spool);
    let spool = open(&disk, options()).await;
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["a", "b"]);
    // From here on the segment may be half shipped: it must not change any more.
    disk.power_failure(1);
    drop(sealed);
    drop(spool);
    let (spool, recovery) = Spool::open_on(disk.mount(), DIR, options()).await.unwrap();
    assert_eq!((recovery.set_aside.len(), recovery.torn_bytes), (0, 0));
    assert_eq!(drain(&spool).await, ["a", "b"]);
}

#[tokio::test]
async fn a_failed_first_fsync_leaves_no_segment() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    for faults in [
        Faults { syncs: 1, ..Faults::default() },
        Faults { writes: 1, ..Faults::default() },
        Faults { dir_syncs: 1, ..Faults::default() },
    ] {
        disk.set_faults(faults);
        let error = spool.append(batch(["lost"])).await.unwrap_err();
        assert!(matches!(error, AppendError::Io { .. }), "{error}");
        assert_eq!(spool.stats().used_bytes, 0);
        assert_eq!(disk.names(), ["/spool/reserve"]);
    }
}

#[tokio::test]
async fn a_short_write_is_cut_off_and_the_next_batch_goes_on() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["a"])).await.unwrap();
    disk.set_faults(Faults { writes: 1, ..Faults::default() });
    spool.append(batch([[b'x'; 5000]])).await.unwrap_err();
    spool.append(batch(["b"])).await.unwrap();
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await, ["a", "b"]);
    assert_eq!(spool.stats().used_bytes, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_then_recovers_when_there_is_room() {
    let disk = Disk::default();
    let spool = open(&disk, Options { io_pause: Duration::from_secs(3600), ..options() }).await;
    spool.append(batch(["a"])).await.unwrap();
    disk.set_room(Some(100));
    let error = spool.append(batch([[b'x'; 5000]])).await.unwrap_err();
    assert!(matches!(error, AppendError::Io { .. }), "{error}");
    // For a while the disk is not even asked.
    let error = spool.append(batch(["b"])).await.unwrap_err();
    assert!(matches!(error, AppendError::Full { cause: FullCause::Disk, .. }), "{error}");
    assert!(error.retry_after().unwrap() > Duration::from_secs(3000));
    assert_eq!(drain(&spool).await, ["a"]);

    disk.set_room(None);
    drop(spool);
    let spool = open(&disk, options()).await;
    spool.append(batch(["b"])).await.unwrap();
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await, ["b"]);
}

#[tokio::test]
async fn the_reserve_lets_a_segment_seal_on_a_full_disk() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    assert!(spool.stats().reserve_intact);
    spool.append(batch(["a"])).await.unwrap();
    disk.set_room(Some(0));
    spool.seal_now().await.unwrap();
    assert!(!spool.stats().reserve_intact);
    assert_eq!(drain(&spool).await, ["a"]);
}

#[tokio::test]
async fn the_reserve_lets_recovery_seal_on_a_full_disk_and_comes_back_with_room() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["a"])).await.unwrap();
    disk.set_room(Some(0));
    disk.power_failure(1);
    drop(spool);
    let (spool, recovery) = Spool::open_on(disk.mount(), DIR, options()).await.unwrap();
    assert_eq!((recovery.segments, recovery.unusable.len()), (1, 0));
    assert_eq!(drain(&spool).await, ["a"]);
    disk.set_room(None);
    drop(spool);
    let spool = open(&disk, options()).await;
    assert!(spool.stats().reserve_intact);
}

#[tokio::test]
async fn without_a_reserve_sealing_is_retried_until_there_is_room() {
    let disk = Disk::default();
    let spool =
        open(&disk, Options { reserve_bytes: 0, io_pause: Duration::from_millis(1), ..options() }).await;
    spool.append(batch(["a"])).await.unwrap();
    disk.set_room(Some(0));
    let error = spool.seal_now().await.unwrap_err();
    assert!(matches!(error, SealError::Io { .. }), "{error}");
    let stats = spool.stats();
    assert_eq!((stats.seals_failing, stats.sealed_waiting), (1, 0));
    assert!(stats.oldest_age.is_some());
    disk.set_room(None);
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["a"]);
    spool.seal_now().await.unwrap();
    assert_eq!(spool.stats().seals_failing, 0);
}

#[tokio::test]
async fn a_seal_that_fails_at_any_step_is_retried_and_changes_nothing() {
    for faults in [
        Faults { syncs: 2, ..Faults::default() },
        Faults { writes: 2, ..Faults::default() },
        Faults { renames: 2, ..Faults::default() },
    ] {
        let disk = Disk::default();
        let spool = open(&disk, Options { io_pause: Duration::from_millis(1), ..options() }).await;
        spool.append(batch(["a"])).await.unwrap();
        disk.set_faults(faults);
        spool.seal_now().await.unwrap_err();
        let sealed = spool.next_sealed().await.unwrap();
        assert_eq!(records(&sealed).await, ["a"]);
        assert_eq!(spool.stats().used_bytes, sealed.bytes());
    }
}

#[tokio::test]
async fn a_delete_that_fails_puts_the_segment_back() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["a"])).await.unwrap();
    spool.seal_now().await.unwrap();
    disk.set_faults(Faults { removes: 1, ..Faults::default() });
    let sealed = spool.next_sealed().await.unwrap();
    let id = sealed.id();
    assert!(matches!(sealed.done().await, Err(DoneError::Returned { .. })));
    disk.set_faults(Faults { dir_syncs: 1, ..Faults::default() });
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(sealed.id(), id);
    assert!(matches!(sealed.done().await, Err(DoneError::Unconfirmed { .. })));
    assert_eq!((spool.stats().used_bytes, spool.stats().sealed_out), (0, 0));
}

#[tokio::test]
async fn a_deleted_segment_does_not_come_back_after_a_power_failure() {
    for seed in 0..20 {
        let disk = Disk::default();
        let spool = open(&disk, options()).await;
        spool.append(batch(["a"])).await.unwrap();
        spool.seal_now().await.unwrap();
        assert_eq!(drain(&spool).await, ["a"]);
        disk.power_failure(seed);
        drop(spool);
        let (_, recovery) = Spool::open_on(disk.mount(), DIR, options()).await.unwrap();
        assert_eq!(recovery.segments, 0, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appends_share_one_fsync() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    let before = disk.syncs();
    disk.hold_syncs();
    let first = tokio::spawn(append(&spool, "first".to_owned()));
    wait_for_held_sync(&disk).await;
    // These queue up behind the first one's sync, which has already begun.
    let rest: Vec<_> = (0..200).map(|n| tokio::spawn(append(&spool, format!("{n}")))).collect();
    while spool.stats().queue_batches < 201 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && rest.iter().all(|task| !task.is_finished()));
    disk.let_syncs_go();
    first.await.unwrap().unwrap();
    for outcome in join_all(rest).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(disk.syncs() - before, 2);
    assert_eq!(spool.stats().fsyncs, 2);
    assert_eq!(spool.stats().queue_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_batches_of_one_group_land_where_they_belong() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    disk.hold_syncs();
    let first = tokio::spawn(append(&spool, "first".to_owned()));
    wait_for_held_sync(&disk).await;
    // Around the size from which a batch is written by itself.
    let sizes = [10, 300_000, 20, 30, 262_120, 262_119, 40, 200_000, 200_000, 50, 1_000_000, 1_000_000, 60];
    let mut rest = Vec::new();
    for (n, size) in sizes.into_iter().enumerate() {
        rest.push(tokio::spawn(append(&spool, n.to_string() + &" ".repeat(size))));
        while spool.stats().queue_batches < n + 2 {
            tokio::task::yield_now().await;
        }
    }
    disk.let_syncs_go();
    first.await.unwrap().unwrap();
    for outcome in join_all(rest).await {
        outcome.unwrap().unwrap();
    }
    spool.seal_now().await.unwrap();
    let lengths: Vec<_> = drain(&spool).await.iter().skip(1).map(String::len).collect();
    let expected: Vec<_> = sizes.iter().enumerate().map(|(n, size)| size + n.to_string().len()).collect();
    assert_eq!(lengths, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once() {
    for bounds in
        [Options { queue_max_batches: 2, ..options() }, Options { queue_max_bytes: 60, ..options() }]
    {
        let disk = Disk::default();
        let spool = open(&disk, bounds).await;
        disk.hold_syncs();
        let first = tokio::spawn(append(&spool, "1".to_owned()));
        wait_for_held_sync(&disk).await;
        let second = tokio::spawn(append(&spool, "2".to_owned()));
        while spool.stats().queue_batches < 2 {
            tokio::task::yield_now().await;
        }
        let error = spool.append(batch(["3"])).await.unwrap_err();
        assert!(matches!(error, AppendError::Full { cause: FullCause::Queue, .. }), "{error}");
        disk.let_syncs_go();
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        spool.append(batch(["3"])).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_append_is_written_whole_and_harms_no_other() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    disk.hold_syncs();
    let gone = tokio::spawn(append(&spool, "nobody waits".to_owned()));
    wait_for_held_sync(&disk).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    disk.let_syncs_go();
    spool.append(batch(["b"])).await.unwrap();
    spool.seal_now().await.unwrap();
    assert_eq!(drain(&spool).await, ["nobody waits", "b"]);
    assert_eq!(spool.stats().used_bytes, 0);
}

#[tokio::test]
async fn a_process_killed_while_it_waits_loses_nothing_acknowledged() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["a"])).await.unwrap();
    let held = {
        spool.seal_now().await.unwrap();
        spool.next_sealed().await.unwrap()
    };
    spool.append(batch(["b"])).await.unwrap();
    disk.kill();
    assert!(held.done().await.is_err());
    drop(spool);
    let spool = open(&disk, options()).await;
    assert_eq!(drain(&spool).await, ["a", "b"]);
}

#[tokio::test]
async fn a_damaged_segment_that_a_full_disk_cannot_repair_waits_for_the_next_start() {
    let disk = Disk::default();
    let spool = open(&disk, options()).await;
    spool.append(batch(["a"])).await.unwrap();
    spool.append(batch(["b"])).await.unwrap();
    spool.seal_now().await.unwrap();
    spool.append(batch(["c"])).await.unwrap();
    spool.seal_now().await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    disk.flip_bit(sealed.path(), 70);
    disk.set_room(Some(0));
    assert!(matches!(sealed.read().await, Err(ReadError::Damaged { .. })));
    assert!(matches!(sealed.set_aside().await, Err(DoneError::Postponed { .. })));
    assert_eq!(drain(&spool).await, ["c"]);
    assert!(spool.stats().used_bytes > 0);
    disk.set_room(None);
    drop(spool);
    let spool = open(&disk, options()).await;
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(sealed.set_aside().await.unwrap().rescued_records, 1);
    assert_eq!(drain(&spool).await, ["b"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_repaired_at_the_start_does_not_stop_the_others() {
    let disk = Disk::default();
    let spool = open(&disk, Options { reserve_bytes: 0, ..options() }).await;
    spool.append(batch(["a"])).await.unwrap();
    spool.seal_now().await.unwrap();
    spool.append(batch(["b"])).await.unwrap();
    disk.set_room(Some(0));
    disk.kill();
    drop(spool);
    let mount = disk.mount();
    let (spool, recovery) =
        Spool::open_on(mount, DIR, Options { reserve_bytes: 0, ..options() }).await.unwrap();
    assert_eq!((recovery.segments, recovery.unusable.len()), (1, 1));
    assert_eq!(drain(&spool).await, ["a"]);
    disk.set_room(None);
    drop(spool);
    assert_eq!(drain(&open(&disk, options()).await).await, ["b"]);
}

fn append(spool: &Spool, record: String) -> impl Future<Output = Result<(), AppendError>> + Send + use<> {
    let spool = spool.clone();
    async move { spool.append(batch([record])).await }
}

async fn wait_for_held_sync(disk: &Disk) {
    let disk = Arc::new(disk.clone());
    tokio::task::spawn_blocking(move || disk.wait_for_held_sync()).await.unwrap();
}
