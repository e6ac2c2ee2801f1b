//! Files that lie about themselves: lengths, places, numbers, kinds. Each costs only itself.

use std::fs;

use super::corrupt::{BATCH, OPEN, SEALED, aside, crashed, edit, reopen};
use super::disk::{Disk, Faults};
use super::{batch, drain, options};
use crate::layout::{BATCH_HEAD_BYTES, HEADER_BYTES, TRAILER_BYTES};
use crate::options::MAX_SEGMENT_BYTES;
use crate::{ReadError, Spool};

/// The length that the middle batch of a file claims.
const LENGTH_AT: usize = HEADER_BYTES + BATCH + 4;

#[tokio::test]
async fn a_length_that_is_zero_short_long_or_huge_costs_one_batch() {
    let body = (BATCH - BATCH_HEAD_BYTES) as u32;
    for claimed in [0, body - 1, body + 1, 2 * body, 1 << 30, u32::MAX] {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| {
            bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&claimed.to_le_bytes());
        });
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.set_aside.len(), 1, "{claimed}");
        assert_eq!(all, ["a", "b", "c", "d", "f"], "{claimed}");
    }
}

#[tokio::test]
async fn a_duplicated_batch_is_taken_once() {
    // Right behind itself, in a file that goes on, and at the end, where it looks torn.
    for (from, at) in [(0, 1), (0, 3), (2, 3)] {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| {
            let copy = bytes[HEADER_BYTES + from * BATCH..][..BATCH].to_vec();
            let at = HEADER_BYTES + at * BATCH;
            bytes.splice(at..at, copy);
        });
        let (_, all) = reopen(&dir).await;
        let twice = all.iter().filter(|record| *record == ["d", "e", "f"][from]).count();
        assert_eq!(twice, 1, "batch {from} behind {at}: {all:?}");
        assert!(
            all.starts_with(&["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()]),
            "{all:?}"
        );
    }
}

#[tokio::test]
async fn a_batch_of_another_segment_is_not_taken() {
    let dir = crashed().await;
    let foreign = fs::read(dir.path().join(SEALED)).unwrap()[HEADER_BYTES..HEADER_BYTES + BATCH].to_vec();
    edit(&dir.path().join(OPEN), |bytes| {
        bytes[HEADER_BYTES..HEADER_BYTES + BATCH].copy_from_slice(&foreign);
    });
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery.set_aside.len(), 1);
    assert_eq!(all, ["a", "b", "c", "e", "f"]);
}

#[tokio::test]
async fn two_files_with_each_others_content_are_both_kept_aside() {
    let dir = crashed().await;
    let (one, other) = (dir.path().join(SEALED), dir.path().join("00000000000000000002.sealed"));
    let spool = Spool::open(dir.path(), options()).await.unwrap();
    drop(spool);
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
    fs::write(&one, second).unwrap();
    fs::write(&other, first).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery.set_aside.len(), 2);
    assert!(recovery.set_aside.iter().all(|file| file.reason.contains("name is of another segment")));
    // Shipped under a number that is not theirs they would be no worse off, but nobody knows how they came there.
    assert_eq!((all.len(), aside(&dir).len()), (0, 2));
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_no_fault() {
    let dir = crashed().await;
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    spool.append(batch(["g"])).await.unwrap();
    spool.close().await.unwrap();
    drop(spool);
    fs::remove_file(dir.path().join("00000000000000000002.sealed")).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.segments, recovery.set_aside.len()), (2, 0));
    assert_eq!(all, ["a", "b", "c", "g"]);
}

#[tokio::test]
async fn a_sealed_segment_cut_short_or_grown_keeps_its_whole_batches() {
    for (change, kept) in [(-1_i64, 3), (-(TRAILER_BYTES as i64) - 1, 2), (1, 3), (4096, 3)] {
        let dir = crashed().await;
        edit(&dir.path().join(SEALED), |bytes| {
            let length = (bytes.len() as i64 + change) as usize;
            bytes.resize(length, 0);
        });
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.set_aside[0].rescued_records, kept, "{change}");
        assert_eq!(all.len() as u64, kept + 3, "{change}");
    }
}

#[tokio::test]
async fn a_file_larger_than_any_segment_is_not_read() {
    for name in [SEALED, OPEN] {
        let dir = crashed().await;
        // Sparse: it takes no room.
        fs::File::options()
            .write(true)
            .open(dir.path().join(name))
            .unwrap()
            .set_len(MAX_SEGMENT_BYTES + 1)
            .unwrap();
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.set_aside[0].reason, "larger than any segment");
        assert_eq!(all.len(), 3);
    }
}

#[tokio::test]
async fn a_symbolic_link_is_neither_followed_nor_removed() {
    let dir = crashed().await;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join(SEALED);
    fs::rename(dir.path().join(SEALED), &target).unwrap();
    for (name, to) in
        [(SEALED, target.clone()), ("00000000000000000007.open", outside.path().join("nothing"))]
    {
        std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
    }
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.foreign.len(), all.len()), (2, 3));
    assert!(target.exists() && dir.path().join(SEALED).is_symlink());
}

#[tokio::test]
async fn a_directory_in_a_segments_place_is_left_alone() {
    let dir = crashed().await;
    fs::remove_file(dir.path().join(OPEN)).unwrap();
    fs::create_dir(dir.path().join(OPEN)).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.foreign, all.len()), (vec![OPEN.to_owned()], 3));
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    spool.append(batch(["g"])).await.unwrap();
    assert!(dir.path().join("00000000000000000003.open").is_file(), "its number is not used again");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_waits_and_holds_up_no_other() {
    let disk = Disk::default();
    let open = async || Spool::open_on(disk.mount(), "/spool", options()).await.unwrap();
    let (spool, _) = open().await;
    for record in ["a", "b"] {
        spool.append(batch([record])).await.unwrap();
        spool.seal_now().await.unwrap();
    }
    // While it runs: it may pass, and nothing is set aside for it.
    disk.set_faults(Faults { reads: 1, ..Faults::default() });
    let sealed = spool.next_sealed().await.unwrap();
    assert!(matches!(sealed.read().await, Err(ReadError::Io { .. })));
    assert!(sealed.read().await.is_ok());
    drop(sealed);
    // At the start: the file stays, and so does its share of the budget.
    drop(spool);
    disk.set_faults(Faults { reads: 1, ..Faults::default() });
    let (spool, recovery) = open().await;
    assert_eq!((recovery.segments, recovery.unusable.len()), (1, 1));
    assert_eq!(drain(&spool).await, ["b"]);
    assert!(spool.stats().used_bytes > 0);
    drop(spool);
    let (spool, _) = open().await;
    assert_eq!(drain(&spool).await, ["a"]);
}
