//! Every step that changes the disk, broken once: it fails, or the process dies at it, or the power does. Whatever step it
//! was, what is acknowledged comes back once, whole, in order and under the id it had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::disk::Disk;
use super::steps::Steps;
use super::{batch, options};
use crate::{Options, Sealed, Spool};

const DIR: &str = "/spool";

/// What the outside world knows.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<u64>,
    /// Told to delete; gone for sure only where it answered.
    let_go: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    /// Batches whose bytes were damaged: nobody can bring them back.
    damaged: BTreeSet<u64>,
    segment_of: BTreeMap<u64, [u8; 16]>,
}

impl Known {
    async fn append(&mut self, spool: &Spool, number: u64) {
        let records = [format!("{number} 0"), format!("{number} 1"), format!("{number} 2")];
        if spool.append(batch(records)).await.is_ok() {
            self.acknowledged.insert(number);
        }
    }

    /// The batches of a segment; `None` where it cannot be read.
    async fn look(&mut self, sealed: &Sealed) -> Option<Vec<u64>> {
        let reader = sealed.read().await.ok()?;
        let texts: Vec<String> =
            reader.records().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect();
        let mut numbers: Vec<u64> = Vec::new();
        for whole in texts.chunks(3) {
            let number: u64 = whole[0].split(' ').next().unwrap().parse().unwrap();
            let wanted = [format!("{number} 0"), format!("{number} 1"), format!("{number} 2")];
            assert_eq!(whole, wanted, "a batch that is not whole");
            assert!(numbers.last().is_none_or(|last| *last < number), "out of order: {numbers:?}, {number}");
            let home = self.segment_of.entry(number).or_insert(sealed.id());
            assert_eq!(*home, sealed.id(), "batch {number} has moved to another segment");
            numbers.push(number);
        }
        Some(numbers)
    }

    async fn finish_one(&mut self, spool: &Spool) {
        if spool.stats().sealed_waiting == 0 {
            return;
        }
        let Some(sealed) = spool.next_sealed().await else { return };
        let Some(numbers) = self.look(&sealed).await else { return };
        self.let_go.extend(&numbers);
        if sealed.done().await.is_ok() {
            self.gone.extend(numbers);
        }
    }

    /// Holds everything that is still there against what is known.
    async fn check(&mut self, disk: &Disk, how: &str) {
        let (spool, recovery) = open(disk).await.expect("a sound disk");
        assert_eq!(recovery.unusable, [], "{how}");
        let mut found = BTreeSet::new();
        while spool.stats().sealed_waiting > 0 {
            let sealed = spool.next_sealed().await.unwrap();
            match self.look(&sealed).await {
                Some(numbers) => {
                    for number in numbers {
                        assert!(found.insert(number), "{how}: batch {number} is there twice");
                    }
                    sealed.done().await.unwrap();
                }
                None => {
                    assert!(!self.damaged.is_empty(), "{how}: a segment is damaged");
                    sealed.set_aside().await.unwrap();
                }
            }
        }
        let owed: Vec<_> = self.acknowledged.difference(&self.let_go).copied().collect();
        let lost: Vec<_> = owed.iter().filter(|number| !found.contains(number)).collect();
        assert!(
            lost.iter().all(|number| self.damaged.contains(number)),
            "{how}: {lost:?} of {owed:?} are lost"
        );
        let back: Vec<_> = found.intersection(&self.gone).collect();
        assert!(back.is_empty(), "{how}: {back:?} are back");
        assert_eq!(spool.stats().used_bytes, 0, "{how}");
        let aside = disk.names().iter().filter(|name| name.starts_with("/spool/corrupt/")).count();
        assert_eq!(aside > 0, !self.damaged.is_empty(), "{how}: originals are kept, and nothing else");
        assert_eq!(disk.names().len(), 1 + aside, "{how}: {:?}", disk.names());
    }
}

fn small() -> Options {
    // A batch takes 41 bytes: three of them in a segment.
    Options { segment_max_bytes: 64 + 48 + 3 * 41, max_bytes: 1 << 20, ..options() }
}

async fn open(disk: &Disk) -> Result<(Spool, crate::Recovery), crate::OpenError> {
    Spool::open_on(disk.mount(), DIR, small()).await
}

/// A first start, segments that fill, that are sealed on request, shipped, deleted; the end, a second life and its end.
async fn a_common_life(disk: &Disk, known: &mut Known) {
    for life in 0..2 {
        let Ok((spool, _)) = open(disk).await else { return };
        for number in 1..=5 {
            known.append(&spool, 10 * life + number).await;
        }
        known.finish_one(&spool).await;
        let _ = spool.seal_now().await;
        known.finish_one(&spool).await;
        known.append(&spool, 10 * life + 6).await;
        let _ = spool.close().await;
        known.finish_one(&spool).await;
    }
}

/// What a kill left, with a batch torn off and one damaged in the middle, is opened; a sealed segment turns out damaged, too.
async fn a_damaged_legacy(disk: &Disk, known: &mut Known) {
    let Ok((spool, _)) = open(disk).await else { return };
    while spool.stats().sealed_waiting > 0 {
        let Some(sealed) = spool.next_sealed().await else { return };
        let Some(numbers) = known.look(&sealed).await else {
            if sealed.set_aside().await.is_err() {
                // Back in the queue; the next start does it.
                return;
            }
            continue;
        };
        known.let_go.extend(&numbers);
        if sealed.done().await.is_ok() {
            known.gone.extend(numbers);
        }
    }
    known.append(&spool, 20).await;
    let _ = spool.close().await;
}

/// A disk as a kill leaves it, and two bits of it wrong.
async fn legacy() -> (Disk, Known) {
    let (disk, mut known) = (Disk::default(), Known::default());
    let (spool, _) = open(&disk).await.unwrap();
    for number in 1..=6 {
        known.append(&spool, number).await;
    }
    disk.kill();
    drop(spool);
    // The middle batch of each.
    for name in ["00000000000000000001.sealed", "00000000000000000002.open"] {
        disk.flip_bit(&Path::new(DIR).join(name), 64 + 41 + 25);
    }
    known.damaged = [2, 5].into();
    (disk, known)
}

/// Runs `life` once for each of its steps and each way in which that can break; returns how many steps there are.
async fn break_every_step(
    first: impl AsyncFn() -> (Disk, Known),
    life: impl AsyncFn(&Disk, &mut Known),
) -> u64 {
    for nth in 1.. {
        // Failing, dying, and the power failing with seven throws of the dice.
        for way in 0..9 {
            let (disk, mut known) = first().await;
            disk.set_steps(if way == 0 { Steps::failing(nth) } else { Steps::dying(nth) });
            life(&disk, &mut known).await;
            if !disk.has_broken() {
                return nth - 1;
            }
            match way {
                0 => {}
                1 => disk.kill(),
                seed => disk.power_failure(seed),
            }
            let how = format!(
                "step {nth}, {}",
                ["it fails", "the process dies", "the power fails"][way.min(2) as usize]
            );
            known.check(&disk, &how).await;
            // Nothing is left for a second start.
            let (_, again) = open(&disk).await.unwrap();
            assert_eq!((again.segments, again.set_aside.len(), again.torn_bytes), (0, 0, 0), "{how}");
        }
    }
    unreachable!("a life ends")
}

#[tokio::test]
async fn a_common_life_breaks_at_every_step() {
    let steps = break_every_step(async || (Disk::default(), Known::default()), a_common_life).await;
    assert!(steps > 60, "{steps}");
}

#[tokio::test]
async fn the_repair_of_damage_breaks_at_every_step() {
    let steps = break_every_step(legacy, a_damaged_legacy).await;
    assert!(steps > 25, "{steps}");
}
