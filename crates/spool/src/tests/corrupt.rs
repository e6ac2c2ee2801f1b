//! One test for each way to be corrupt, on the real file system: what comes back, what is reported, what is left.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use super::{batch, drain, options};
use crate::layout::{BATCH_HEAD_BYTES, HEADER_BYTES, TRAILER_BYTES};
use crate::{ReadError, Recovery, Spool};

/// A spool with one `.sealed` segment of batches a, b, c and one `.open` of d, e, f, as a crash leaves it.
pub(super) async fn crashed() -> TempDir {
    let (dir, copy) = (tempdir().unwrap(), tempdir().unwrap());
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    for record in ["a", "b", "c"] {
        spool.append(batch([record])).await.unwrap();
    }
    spool.seal_now().await.unwrap();
    for record in ["d", "e", "f"] {
        spool.append(batch([record])).await.unwrap();
    }
    // Not a rename: the spool still runs and would seal at its end.
    for name in [SEALED, OPEN] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

pub(super) const SEALED: &str = "00000000000000000001.sealed";
pub(super) const OPEN: &str = "00000000000000000002.open";
/// Head, length, one byte.
pub(super) const BATCH: usize = BATCH_HEAD_BYTES + 4 + 1;

pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Opens, drains, and checks that a second start finds nothing left to repair.
pub(super) async fn reopen(dir: &TempDir) -> (Recovery, Vec<String>) {
    let (spool, recovery) = Spool::open(dir.path(), options()).await.unwrap();
    let all = drain(&spool).await;
    drop(spool);
    let (_, again) = Spool::open(dir.path(), options()).await.unwrap();
    assert_eq!((again.segments, again.torn_bytes, again.set_aside.len()), (0, 0, 0));
    (recovery, all)
}

pub(super) fn aside(dir: &TempDir) -> Vec<PathBuf> {
    fs::read_dir(dir.path().join("corrupt")).unwrap().map(|e| e.unwrap().path()).collect()
}

#[tokio::test]
async fn an_unsealed_segment_without_damage_is_sealed() {
    let dir = crashed().await;
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery, Recovery { segments: 2, records: 6, ..Recovery::default() });
    assert_eq!(all, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn a_torn_batch_is_cut_off() {
    for cut in 1..BATCH {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| bytes.truncate(bytes.len() - cut));
        let (recovery, all) = reopen(&dir).await;
        assert_eq!((recovery.torn_tails, recovery.torn_bytes), (1, (BATCH - cut) as u64));
        assert_eq!(all, ["a", "b", "c", "d", "e"]);
        assert!(aside(&dir).is_empty());
    }
}

#[tokio::test]
async fn zeros_after_the_last_batch_are_cut_off() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| bytes.resize(bytes.len() + 4096, 0));
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.torn_tails, recovery.torn_bytes), (1, 4096));
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn a_torn_header_is_removed_since_nothing_in_it_was_acknowledged() {
    for left in [1, HEADER_BYTES - 1] {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| bytes.truncate(left));
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.removed_empty, 1);
        assert_eq!(all, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn a_zero_length_unsealed_file_is_removed() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), Vec::clear);
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.removed_empty, recovery.set_aside.len()), (1, 0));
    assert_eq!(all, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_unsealed_file_of_zeros_is_removed() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| bytes.fill(0));
    let (recovery, _) = reopen(&dir).await;
    assert_eq!((recovery.removed_empty, recovery.set_aside.len()), (1, 0));
}

#[tokio::test]
async fn a_header_without_batches_is_removed() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| bytes.truncate(HEADER_BYTES));
    let (recovery, _) = reopen(&dir).await;
    assert_eq!(recovery.removed_empty, 1);
}

#[tokio::test]
async fn a_zero_length_sealed_file_is_set_aside() {
    let dir = crashed().await;
    edit(&dir.path().join(SEALED), Vec::clear);
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery.set_aside.len(), 1);
    assert_eq!(all, ["d", "e", "f"]);
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_unsealed_batch_looks_torn() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.torn_tails, recovery.torn_bytes), (1, BATCH as u64));
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn any_flipped_bit_inside_an_unsealed_segment_costs_only_its_own_batch() {
    for at in HEADER_BYTES + BATCH..HEADER_BYTES + 2 * BATCH {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| bytes[at] ^= 0x10);
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.set_aside.len(), 1, "byte {at}");
        assert_eq!((recovery.set_aside[0].name.as_str(), recovery.set_aside[0].rescued_records), (OPEN, 2));
        assert_eq!(all, ["a", "b", "c", "d", "f"], "byte {at}");
        assert_eq!(aside(&dir), [dir.path().join("corrupt").join(OPEN)]);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_an_unsealed_header_sets_the_file_aside() {
    for at in [0, 8, 20, 33, 45, 50, 61] {
        let dir = crashed().await;
        edit(&dir.path().join(OPEN), |bytes| bytes[at] ^= 0x10);
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.set_aside.len(), 1, "byte {at}");
        assert_eq!(all, ["a", "b", "c"]);
        assert_eq!(aside(&dir).len(), 1);
    }
}

#[tokio::test]
async fn any_flipped_bit_in_a_sealed_batch_is_found_when_read_and_costs_only_its_own_batch() {
    for at in HEADER_BYTES..HEADER_BYTES + BATCH {
        let dir = crashed().await;
        edit(&dir.path().join(SEALED), |bytes| bytes[at] ^= 0x10);
        let (spool, recovery) = Spool::open(dir.path(), options()).await.unwrap();
        assert_eq!(recovery.segments, 2);
        let sealed = spool.next_sealed().await.unwrap();
        let id = sealed.id();
        let error = sealed.read().await.unwrap_err();
        assert!(
            matches!(error, ReadError::Damaged { offset, .. } if offset == HEADER_BYTES as u64),
            "{error}"
        );
        let outcome = sealed.set_aside().await.unwrap();
        assert_eq!((outcome.name.as_str(), outcome.rescued_records), (SEALED, 2));
        let rescued = spool.next_sealed().await.unwrap();
        assert_eq!((rescued.id(), rescued.records()), (id, 2));
        drop(rescued);
        assert_eq!(drain(&spool).await, ["b", "c", "d", "e", "f"], "byte {at}");
        assert_eq!(spool.stats().used_bytes, 0);
        assert_eq!(aside(&dir), [dir.path().join("corrupt").join(SEALED)]);
    }
}

#[tokio::test]
async fn a_sound_segment_cannot_be_set_aside() {
    let dir = crashed().await;
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    spool.next_sealed().await.unwrap().set_aside().await.unwrap_err();
    assert_eq!(drain(&spool).await.len(), 6);
}

#[tokio::test]
async fn a_damaged_or_missing_trailer_of_a_sealed_segment_costs_no_batch() {
    for cut in [false, true] {
        let dir = crashed().await;
        edit(&dir.path().join(SEALED), |bytes| {
            let at = bytes.len() - TRAILER_BYTES;
            if cut { bytes.truncate(at) } else { bytes[at + 9] ^= 1 }
        });
        let (recovery, all) = reopen(&dir).await;
        assert_eq!((recovery.set_aside.len(), recovery.set_aside[0].rescued_records), (1, 3));
        assert_eq!(all, ["a", "b", "c", "d", "e", "f"]);
    }
}

#[tokio::test]
async fn a_sealed_header_that_is_damaged_sets_the_file_aside() {
    let dir = crashed().await;
    edit(&dir.path().join(SEALED), |bytes| bytes[17] ^= 1);
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.set_aside.len(), recovery.set_aside[0].rescued_records), (1, 0));
    assert_eq!(all, ["d", "e", "f"]);
}

#[tokio::test]
async fn a_batch_swapped_with_another_is_not_taken_for_it() {
    let dir = crashed().await;
    edit(&dir.path().join(SEALED), |bytes| {
        let (first, second) = bytes[HEADER_BYTES..].split_at_mut(BATCH);
        first.swap_with_slice(&mut second[..BATCH]);
    });
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    let sealed = spool.next_sealed().await.unwrap();
    assert!(matches!(sealed.read().await, Err(ReadError::Damaged { .. })));
}

#[tokio::test]
async fn a_trailer_in_an_unsealed_file_is_a_seal_whose_rename_was_lost() {
    let dir = crashed().await;
    fs::rename(dir.path().join(SEALED), dir.path().join(SEALED.replace("sealed", "open"))).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!((recovery.segments, recovery.torn_tails), (2, 0));
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn a_copy_under_another_number_is_not_shipped_twice() {
    let dir = crashed().await;
    fs::copy(dir.path().join(SEALED), dir.path().join("00000000000000000009.sealed")).unwrap();
    fs::copy(dir.path().join(SEALED), dir.path().join("00000000000000000001.open")).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery.set_aside.len(), 2);
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_left_alone() {
    let dir = crashed().await;
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::create_dir(dir.path().join("00000000000000000003.sealed")).unwrap();
    let (mut recovery, all) = reopen(&dir).await;
    recovery.foreign.sort();
    assert_eq!(recovery.foreign, ["00000000000000000003.sealed", "notes.txt"]);
    assert_eq!(all.len(), 6);
    assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn a_foreign_version_is_left_for_the_program_that_wrote_it() {
    for name in [SEALED, OPEN] {
        let dir = crashed().await;
        edit(&dir.path().join(name), |bytes| {
            bytes[8] = 2;
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        });
        let before = fs::read(dir.path().join(name)).unwrap();
        let (recovery, all) = reopen(&dir).await;
        assert_eq!(recovery.foreign, [name]);
        assert_eq!(all.len(), 3);
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), before);
    }
}

#[tokio::test]
async fn an_interrupted_rescue_is_removed_and_done_anew() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| bytes[HEADER_BYTES + 2] ^= 1);
    fs::write(dir.path().join("00000000000000000002.tmp"), "half").unwrap();
    fs::create_dir(dir.path().join("corrupt")).unwrap();
    fs::hard_link(dir.path().join(OPEN), dir.path().join("corrupt").join(OPEN)).unwrap();
    let (recovery, all) = reopen(&dir).await;
    assert_eq!(recovery.set_aside[0].rescued_records, 2);
    assert_eq!(all, ["a", "b", "c", "e", "f"]);
    assert!(!dir.path().join("00000000000000000002.tmp").exists());
}

#[tokio::test]
async fn a_new_segment_never_takes_a_number_from_corrupt() {
    let dir = crashed().await;
    edit(&dir.path().join(OPEN), |bytes| bytes[0] ^= 1);
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    drain(&spool).await;
    drop(spool);
    let (spool, _) = Spool::open(dir.path(), options()).await.unwrap();
    spool.append(batch(["x"])).await.unwrap();
    assert!(dir.path().join("00000000000000000003.open").exists());
}
