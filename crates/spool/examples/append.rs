//! How fast appends become durable here: records and bytes a second, for batches of 1,000 and of 1, beside the floor
//! (the same bytes written and synced by hand on the same disk).
//!
//! `cargo run --release -p throughline-spool --example append -- [DIR] [SECONDS]`; DIR must be on the disk that
//! matters: `/tmp` may be memory.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spool::{Batch, Options, Spool};

const RECORD_BYTES: usize = 700;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target/spool-append"), PathBuf::from);
    let time = Duration::from_secs(args.next().map_or(Ok(5), |seconds| seconds.parse())?);
    std::fs::create_dir_all(&dir)?;
    say("what", "batch", "callers", 0, 0, 0, Duration::ZERO, 0.0)?;
    for batch_records in [1000, 1] {
        floor(&dir, batch_records, time)?;
        for callers in [1, 64] {
            spool_rate(&dir, batch_records, callers, time).await?;
        }
    }
    Ok(())
}

/// One thread, one file, write and fdatasync in turn: what the disk allows without group commit.
fn floor(dir: &Path, batch_records: usize, time: Duration) -> Result<(), Failure> {
    let path = dir.join("floor");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let bytes = vec![7; batch_records * (RECORD_BYTES + 4)];
    let (start, cpu, mut rounds) = (Instant::now(), cpu_time(), 0);
    while start.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        rounds += 1;
    }
    let records = rounds * batch_records as u64;
    say(
        "floor",
        &batch_records.to_string(),
        "1",
        records,
        bytes.len() as u64 * rounds,
        rounds,
        start.elapsed(),
        cpu_time() - cpu,
    )?;
    std::fs::remove_file(path)?;
    Ok(())
}

async fn spool_rate(dir: &Path, batch_records: usize, callers: usize, time: Duration) -> Result<(), Failure> {
    let at = dir.join("spool");
    let (spool, _) = Spool::open(&at, Options::default()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicU64::new(0));
    // Segments leave at once, as with a store that keeps up; reading checks every sum.
    let leaving = tokio::spawn({
        let (spool, read) = (spool.clone(), Arc::clone(&read));
        async move {
            while let Some(sealed) = spool.next_sealed().await {
                read.fetch_add(sealed.read().await?.records().count() as u64, Ordering::Relaxed);
                sealed.done().await?;
            }
            Ok::<(), Failure>(())
        }
    });
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (spool, stop) = (spool.clone(), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let record = [7; RECORD_BYTES];
            while !stop.load(Ordering::Relaxed) {
                let mut batch = Batch::with_capacity(batch_records * (RECORD_BYTES + 4));
                for _ in 0..batch_records {
                    batch.push(&record);
                }
                spool.append_when_room(batch).await?;
            }
            Ok::<(), Failure>(())
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    let stats = spool.stats();
    spool.close().await?;
    leaving.await??;
    if read.load(Ordering::Relaxed) != stats.appended_records {
        return Err("not every acknowledged record was read back".into());
    }
    let (batch, callers) = (batch_records.to_string(), callers.to_string());
    say("spool", &batch, &callers, stats.appended_records, stats.appended_bytes, stats.fsyncs, elapsed, cpu)?;
    drop(spool);
    std::fs::remove_dir_all(at)?;
    Ok(())
}

/// CPU seconds of this process, all threads, from the kernel's own account (in hundredths).
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[expect(clippy::too_many_arguments, reason = "one row of the table")]
fn say(
    what: &str,
    batch: &str,
    callers: &str,
    records: u64,
    bytes: u64,
    fsyncs: u64,
    elapsed: Duration,
    cpu_s: f64,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if elapsed.is_zero() {
        return writeln!(
            out,
            "{what:6} {batch:>6} {callers:>8} {:>11} {:>7} {:>8} {:>14}",
            "records/s", "MB/s", "fsyncs/s", "records/CPU-s"
        );
    }
    let each = |n: u64| n as f64 / elapsed.as_secs_f64();
    writeln!(
        out,
        "{what:6} {batch:>6} {callers:>8} {:>11.0} {:>7.1} {:>8.0} {:>14.0}",
        each(records),
        each(bytes) / 1e6,
        each(fsyncs),
        records as f64 / cpu_s.max(0.01)
    )
}
