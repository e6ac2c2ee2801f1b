//! Appending, sealing, reading, closing, on the real file system.

use std::time::Duration;

use tempfile::tempdir;

use super::{batch, drain, options, records};
use crate::{AppendError, Batch, FullCause, OpenError, Options, SealError, Spool};

#[tokio::test]
async fn records_come_back_in_order_with_empty_ones_kept() {
    let dir = tempdir().unwrap();
    let (spool, recovery) = Spool::open(dir.path().join("a/b"), options()).await.unwrap();
    assert_eq!(recovery, crate::Recovery::default());
    spool.append(batch(["one", "", "three"])).await.unwrap();
    spool.append(batch(["four"])).await.unwrap();
    spool.append(Batch::new()).await.unwrap();
    spool.seal_now().await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["one", "", "three", "four"]);
    assert_eq!(sealed.batches(), 2);
    assert_eq!(std::fs::metadata(sealed.path()).unwrap().len(), sealed.bytes());
    assert_eq!(spool.stats().used_bytes, sealed.bytes());
    let path = sealed.path().to_owned();
    sealed.done().await.unwrap();
    assert!(!path.exists());
    let stats = spool.stats();
    assert_eq!((stats.used_bytes, stats.sealed_out, stats.sealed_waiting), (0, 0, 0));
    assert_eq!((stats.appended_batches, stats.appended_records), (2, 4));
}

#[tokio::test]
async fn what_is_not_done_comes_back_after_a_restart_under_its_id() {
    let dir = tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), Options { payload_version: 7, ..options() }).await.unwrap();
    spool.append(batch(["a"])).await.unwrap();
    spool.seal_now().await.unwrap();
    spool.append(batch(["b"])).await.unwrap();
    let first = spool.next_sealed().await.unwrap();
    let id = first.id();
    drop(first);
    drop(spool);
    let (spool, recovery) = Spool::open(dir.path(), options()).await.unwrap();
    assert_eq!((recovery.segments, recovery.records, recovery.torn_tails), (2, 2, 0));
    let first = spool.next_sealed().await.unwrap();
    assert_eq!((first.id(), first.payload_version()), (id, 7));
    first.done().await.unwrap();
    assert_eq!(drain(&spool).await, ["b"]);
}

#[tokio::test]
async fn several_segments_are_out_at_once_and_a_dropped_one_is_next_again() {
    let dir = tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    for record in ["a", "b", "c"] {
        spool.append(batch([record])).await.unwrap();
        spool.seal_now().await.unwrap();
    }
    let first = spool.next_sealed().await.unwrap();
    let second = spool.next_sealed().await.unwrap();
    assert_eq!(spool.stats().sealed_out, 2);
    drop(first);
    second.done().await.unwrap();
    assert_eq!(drain(&spool).await, ["a", "c"]);
}

#[tokio::test]
async fn a_segment_seals_by_records_and_by_bytes_before_it_would_exceed_them() {
    let dir = tempdir().unwrap();
    let few = Options { segment_max_records: 3, ..options() };
    let (spool, _) = Spool::open(dir.path().join("records"), few).await.unwrap();
    spool.append(batch(["1", "2"])).await.unwrap();
    spool.append(batch(["3", "4"])).await.unwrap();
    spool.append(batch(["5"])).await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["1", "2"]);
    assert_eq!(spool.stats().open_records, 3);

    let small = Options { segment_max_bytes: 1000, ..options() };
    let (spool, _) = Spool::open(dir.path().join("bytes"), small).await.unwrap();
    for _ in 0..20 {
        spool.append(batch([[7; 300]])).await.unwrap();
    }
    spool.close().await.unwrap();
    let mut seen = 0;
    while let Some(sealed) = spool.next_sealed().await {
        assert!(sealed.bytes() <= 1000, "{}", sealed.bytes());
        seen += sealed.records();
        sealed.done().await.unwrap();
    }
    assert_eq!(seen, 20);
}

#[tokio::test]
async fn a_segment_seals_by_age_without_further_traffic() {
    let dir = tempdir().unwrap();
    let quick = Options { segment_max_age: Duration::from_millis(20), ..options() };
    let (spool, _) = Spool::open(dir.path(), quick).await.unwrap();
    spool.append(batch(["a"])).await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["a"]);
}

#[tokio::test]
async fn while_segments_queue_up_age_seals_no_more_and_goes_on_when_they_are_taken() {
    let dir = tempdir().unwrap();
    let quick = Options { segment_max_age: Duration::from_millis(20), ..options() };
    let (spool, _) = Spool::open(dir.path(), quick).await.unwrap();
    for n in 0..8 {
        spool.append(batch([n.to_string()])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(spool.stats().sealed_waiting, 2);
    let first = spool.next_sealed().await.unwrap();
    assert_eq!(records(&first).await, ["0"]);
    let second = spool.next_sealed().await.unwrap();
    let rest = spool.next_sealed().await.unwrap();
    assert_eq!((records(&second).await.len(), records(&rest).await.len()), (1, 6));
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_is_the_callers_fault() {
    let dir = tempdir().unwrap();
    let small = Options { segment_max_bytes: 1000, segment_max_records: 2, ..options() };
    let (spool, _) = Spool::open(dir.path(), small).await.unwrap();
    let exact = 1000 - 64 - 48 - 20 - 4;
    for (batch, fits) in [
        (batch([vec![0; exact]]), true),
        (batch([vec![0; exact + 1]]), false),
        (batch(["", ""]), true),
        (batch(["", "", ""]), false),
    ] {
        match spool.append(batch).await {
            Ok(()) => assert!(fits),
            Err(error @ AppendError::TooLarge { .. }) => {
                assert!(!fits, "{error}");
                assert_eq!(error.retry_after(), None);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_used_up_budget_refuses_and_done_makes_room() {
    let dir = tempdir().unwrap();
    let tight = Options { segment_max_bytes: 1000, max_bytes: 2000, ..options() };
    let (spool, _) = Spool::open(dir.path(), tight).await.unwrap();
    let refused = loop {
        match spool.append(batch([[1; 400]])).await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full { cause: FullCause::Budget, .. }), "{refused}");
    assert!(refused.retry_after().is_some());
    assert_eq!(spool.stats().appends_refused, 1);
    spool.seal_now().await.unwrap();
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { spool.append_when_room(batch(["patient"])).await }
    });
    // `drain` frees the room that the waiting append is notified of.
    let mut before = drain(&spool).await;
    waiting.await.unwrap().unwrap();
    spool.seal_now().await.unwrap();
    before.extend(drain(&spool).await);
    assert_eq!(before.last().map(String::as_str), Some("patient"));
    assert_eq!(spool.stats().used_bytes, 0);
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_last_segment_is_let_go() {
    let dir = tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    assert!(matches!(Spool::open(dir.path(), options()).await, Err(OpenError::Locked { .. })));
    spool.append(batch(["a"])).await.unwrap();
    spool.close().await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    drop(spool);
    assert!(matches!(Spool::open(dir.path(), options()).await, Err(OpenError::Locked { .. })));
    sealed.done().await.unwrap();
    let (_, recovery) = Spool::open(dir.path(), options()).await.unwrap();
    assert_eq!(recovery.segments, 0);
}

#[tokio::test]
async fn close_seals_what_was_appended_and_ends_both_sides() {
    let dir = tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    spool.append(batch(["a"])).await.unwrap();
    spool.close().await.unwrap();
    spool.close().await.unwrap();
    assert!(matches!(spool.append(batch(["b"])).await, Err(AppendError::Closed)));
    assert!(matches!(spool.append_when_room(batch(["b"])).await, Err(AppendError::Closed)));
    assert!(matches!(spool.seal_now().await, Err(SealError::Closed)));
    let sealed = spool.next_sealed().await.unwrap();
    assert_eq!(records(&sealed).await, ["a"]);
    sealed.done().await.unwrap();
    assert!(spool.next_sealed().await.is_none());
    assert!(spool.stats().closed);
}

#[tokio::test]
async fn a_waiting_reader_hears_of_the_close() {
    let dir = tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { spool.next_sealed().await.is_none() }
    });
    tokio::task::yield_now().await;
    spool.close().await.unwrap();
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_before_the_directory_is_made() {
    let dir = tempdir().unwrap();
    for wrong in [
        Options { segment_max_records: 0, ..options() },
        Options { segment_max_records: crate::MAX_SEGMENT_RECORDS + 1, ..options() },
        Options { segment_max_bytes: 100, ..options() },
        Options { max_bytes: 1000, ..options() },
        Options { queue_max_batches: 0, ..options() },
    ] {
        let refused = Spool::open(dir.path().join("spool"), wrong).await;
        assert!(matches!(refused, Err(OpenError::Options { .. })));
    }
    assert!(!dir.path().join("spool").exists());
}

#[tokio::test]
async fn the_directory_looks_as_documented_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let at = dir.path().join("spool");
    let (spool, _) = Spool::open(&at, options()).await.unwrap();
    spool.append(batch(["a"])).await.unwrap();
    spool.seal_now().await.unwrap();
    spool.append(batch(["b"])).await.unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["00000000000000000001.sealed", "00000000000000000002.open", "corrupt", "lock", "reserve"];
    assert_eq!(names, expected);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&at), 0o700);
    assert_eq!(mode(&at.join(expected[0])), 0o600);
    assert_eq!(std::fs::metadata(at.join("reserve")).unwrap().len(), 4096);
    assert_eq!(std::fs::read_to_string(at.join("lock")).unwrap().trim(), std::process::id().to_string());
}
