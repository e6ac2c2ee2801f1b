//! The list of what lies in a spool: what it says of sound, open and damaged segments, and that it changes nothing.

use super::corrupt::{BATCH, OPEN, SEALED, crashed, edit, reopen};
use crate::layout::{BATCH_HEAD_BYTES, HEADER_BYTES};
use crate::{FileState, survey};

#[tokio::test]
async fn segments_are_listed_with_what_can_be_read_of_them() {
    let dir = crashed().await;
    let found = survey(dir.path()).unwrap();
    let told: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.state, it.batches, it.records)).collect();
    assert_eq!(told, [(SEALED, FileState::Sealed, 3, 3), (OPEN, FileState::Open, 3, 3)]);
    assert!(found.iter().all(|it| it.damage.is_none() && it.id.is_some()), "{found:?}");

    edit(&dir.path().join(SEALED), |bytes| bytes[HEADER_BYTES + BATCH + BATCH_HEAD_BYTES + 4] ^= 1);
    edit(&dir.path().join(OPEN), |bytes| bytes.truncate(HEADER_BYTES - 1));
    let found = survey(dir.path()).unwrap();
    assert_eq!((found[0].batches, found[0].records), (2, 2), "the two that are whole");
    assert_eq!(found[0].damage.as_ref().unwrap().0, (HEADER_BYTES + BATCH) as u64);
    assert_eq!((found[1].id, found[1].damage.as_ref().unwrap().0), (None, 0));
    assert_eq!(survey(dir.path()).unwrap(), found, "looking changes nothing");
}

#[tokio::test]
async fn originals_of_damaged_segments_are_listed_last() {
    let dir = crashed().await;
    // A sealed one is only found out when it is read; an open one at once.
    edit(&dir.path().join(OPEN), |bytes| bytes[HEADER_BYTES + BATCH + BATCH_HEAD_BYTES + 4] ^= 1);
    reopen(&dir).await;
    let found = survey(dir.path()).unwrap();
    let [original] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((original.name.as_str(), original.state), (&*format!("corrupt/{OPEN}"), FileState::Corrupt));
    assert_eq!((original.records, original.damage.is_some()), (2, true));
}
