//! Any sequence of appends, seals, reads, faults and crashes against a model: what was acknowledged comes back exactly
//! once until done, whole, in order, and a segment's id always means the same records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::disk::{Disk, Faults};
use super::options;
use crate::{Batch, Options, Sealed, Spool};

#[derive(Debug, Clone)]
enum Action {
    /// So many batches at once, of so many records, of so many bytes.
    Append {
        batches: usize,
        records: usize,
        bytes: usize,
    },
    Seal,
    Take,
    Done(usize),
    Return(usize),
    Kill,
    PowerFailure(u64),
    Close,
    Break(Faults),
    Fill(usize),
    Free,
}

fn action() -> impl Strategy<Value = Action> {
    let faults = (0..3u32, 0..3u32, 0..3u32, 0..3u32).prop_map(|(syncs, writes, renames, opens)| Faults {
        syncs,
        writes,
        renames,
        opens,
        ..Faults::default()
    });
    prop_oneof![
        8 => (1..5usize, 1..4usize, 0..200usize)
            .prop_map(|(batches, records, bytes)| Action::Append { batches, records, bytes }),
        3 => Just(Action::Seal),
        4 => Just(Action::Take),
        3 => any::<usize>().prop_map(Action::Done),
        1 => any::<usize>().prop_map(Action::Return),
        1 => Just(Action::Kill),
        2 => any::<u64>().prop_map(Action::PowerFailure),
        1 => Just(Action::Close),
        2 => faults.prop_map(Action::Break),
        1 => (0..2000usize).prop_map(Action::Fill),
        1 => Just(Action::Free),
    ]
}

fn small() -> Options {
    Options {
        segment_max_bytes: 2000,
        max_bytes: 1 << 20,
        segment_max_records: 20,
        io_pause: Duration::from_micros(100),
        ..options()
    }
}

/// What the outside world knows.
#[derive(Default)]
struct Model {
    next_batch: u64,
    records_of: BTreeMap<u64, usize>,
    /// Acknowledged and not yet done.
    owed: BTreeSet<u64>,
    done: BTreeSet<u64>,
    segment_of: BTreeMap<u64, [u8; 16]>,
    batches_of: BTreeMap<[u8; 16], Vec<u64>>,
}

impl Model {
    fn batch(&mut self, records: usize, bytes: usize) -> (u64, Batch) {
        let number = self.next_batch;
        self.next_batch += 1;
        self.records_of.insert(number, records);
        let mut batch = Batch::new();
        for index in 0..records {
            batch.push(format!("{number} {index} {:bytes$}", "").as_bytes());
        }
        (number, batch)
    }

    /// Reads a segment and holds it against everything seen before.
    async fn look(&mut self, sealed: &Sealed) -> Vec<u64> {
        let reader = sealed.read().await.unwrap();
        let mut batches: Vec<u64> = Vec::new();
        let mut records = reader.records().map(|record| {
            let text = std::str::from_utf8(record).unwrap();
            let mut words = text.split(' ');
            (words.next().unwrap().parse::<u64>().unwrap(), words.next().unwrap().parse::<usize>().unwrap())
        });
        while let Some((number, first)) = records.next() {
            assert_eq!(first, 0, "batch {number} is not whole");
            for index in 1..self.records_of[&number] {
                assert_eq!(records.next(), Some((number, index)), "batch {number} is not whole");
            }
            assert!(batches.last().is_none_or(|last| *last < number), "out of order: {batches:?} {number}");
            batches.push(number);
            assert!(!self.done.contains(&number), "batch {number} came back after done");
            let home = self.segment_of.entry(number).or_insert(sealed.id());
            assert_eq!(*home, sealed.id(), "batch {number} is in two segments");
        }
        let before = self.batches_of.entry(sealed.id()).or_insert_with(|| batches.clone());
        assert_eq!(*before, batches, "a segment changed");
        batches
    }
}

struct Run {
    disk: Disk,
    spool: Spool,
    held: Vec<(Sealed, Vec<u64>)>,
    model: Model,
}

impl Run {
    async fn step(&mut self, action: Action) {
        match action {
            Action::Append { batches, records, bytes } => {
                let (numbers, batches): (Vec<_>, Vec<_>) =
                    (0..batches).map(|_| self.model.batch(records, bytes)).unzip();
                let outcomes = join_all(batches.into_iter().map(|batch| self.spool.append(batch))).await;
                let acknowledged = numbers.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
                self.model.owed.extend(acknowledged.map(|(number, _)| number));
            }
            // Under faults it may fail; what matters is what comes back.
            Action::Seal => drop(self.spool.seal_now().await),
            Action::Take => {
                if self.spool.stats().sealed_waiting > 0 {
                    let sealed = self.spool.next_sealed().await.unwrap();
                    let batches = self.model.look(&sealed).await;
                    self.held.push((sealed, batches));
                }
            }
            Action::Done(which) if !self.held.is_empty() => {
                let (sealed, batches) = self.held.swap_remove(which % self.held.len());
                sealed.done().await.unwrap();
                for number in batches {
                    self.model.owed.remove(&number);
                    self.model.done.insert(number);
                }
            }
            Action::Return(which) if !self.held.is_empty() => {
                self.held.swap_remove(which % self.held.len());
            }
            Action::Done(_) | Action::Return(_) => {}
            Action::Kill => {
                self.disk.kill();
                self.reopen().await;
            }
            Action::PowerFailure(seed) => {
                self.disk.power_failure(seed);
                self.reopen().await;
            }
            Action::Close => {
                drop(self.spool.close().await);
                self.reopen().await;
            }
            Action::Break(faults) => self.disk.set_faults(faults),
            Action::Fill(room) => self.disk.set_room(Some(room)),
            Action::Free => self.disk.set_room(None),
        }
    }

    async fn reopen(&mut self) {
        self.held.clear();
        // A start on a sick disk is another story; `unusable` files wait for the next one.
        self.disk.set_faults(Faults::default());
        let (idle, _) = Spool::open_on(Disk::default().mount(), "/idle", small()).await.unwrap();
        drop(std::mem::replace(&mut self.spool, idle));
        let (spool, recovery) = Spool::open_on(self.disk.mount(), "/spool", small()).await.unwrap();
        assert_eq!(recovery.set_aside, [], "nothing here damages bytes");
        self.spool = spool;
    }

    async fn finish(mut self) {
        self.disk.set_room(None);
        self.reopen().await;
        let mut last = None;
        while self.spool.stats().sealed_waiting > 0 {
            let sealed = self.spool.next_sealed().await.unwrap();
            for number in self.model.look(&sealed).await {
                assert!(last.is_none_or(|last| last < number), "out of order");
                last = Some(number);
                self.model.owed.remove(&number);
                self.model.done.insert(number);
            }
            sealed.done().await.unwrap();
        }
        assert!(self.model.owed.is_empty(), "acknowledged and lost: {:?}", self.model.owed);
        assert_eq!(self.spool.stats().used_bytes, 0);
        assert_eq!(self.disk.names(), ["/spool/reserve"]);
    }
}

async fn run(actions: Vec<Action>) {
    let disk = Disk::default();
    let (spool, _) = Spool::open_on(disk.mount(), "/spool", small()).await.unwrap();
    let mut run = Run { disk, spool, held: Vec::new(), model: Model::default() };
    for action in actions {
        run.step(action).await;
    }
    run.finish().await;
}

proptest! {
    #[test]
    fn acknowledged_records_come_back_exactly_once_in_order(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(actions));
    }
}
