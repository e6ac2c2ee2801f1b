//! Tests of the spool as a whole, on the real file system and on one that breaks to order.

mod append;
mod corrupt;
mod disk;
mod every_step;
mod faults;
mod full;
mod lies;
mod model;
mod steps;
mod survey;

use std::time::Duration;

use crate::{Batch, Options, Sealed, Spool};

/// Seals only when told, by size or by request, so that no test depends on how fast it runs.
fn options() -> Options {
    Options {
        segment_max_age: Duration::from_secs(3600),
        reserve_bytes: 4096,
        io_pause: Duration::ZERO,
        ..Options::default()
    }
}

fn batch<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.push(record.as_ref());
    }
    batch
}

async fn records(sealed: &Sealed) -> Vec<String> {
    let reader = sealed.read().await.unwrap();
    let records: Vec<_> = reader.records().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
    assert_eq!(records.len() as u64, sealed.records());
    records
}

/// Everything sealed, oldest first, read and done with.
async fn drain(spool: &Spool) -> Vec<String> {
    let mut all = Vec::new();
    while spool.stats().sealed_waiting > 0 {
        let sealed = spool.next_sealed().await.unwrap();
        all.extend(records(&sealed).await);
        sealed.done().await.unwrap();
    }
    all
}
