//! `throughline verify`: proves on this machine that nothing acknowledged is lost.
//!
//! It starts this program as a service in a directory of its own, sends over every transport, and injects faults, while
//! an oracle remembers each record that was acknowledged. In the end every table is held against that.
//!
//! | room | does |
//! |---|---|
//! | [`record`], [`lane`], [`body`], [`wire`] | the traffic: what follows from a number |
//! | [`senders`], [`mod@file`] | send it, and note what was acknowledged |
//! | [`ledger`] | remembers |
//! | [`schedule`], [`mod@run`], [`life`] | what happens when, and makes it happen |
//! | [`service`], [`store_host`] | the processes that are killed |
//! | [`damage`], [`failing_disk`], [`small_disk`] | what is done to segments and their disk |
//! | [`emptied`] | a store that restarts empty |
//! | [`audit`], [`check`], [`report`] | ask, judge, tell |

mod audit;
mod body;
mod check;
mod damage;
mod emptied;
mod failing_disk;
mod file;
mod lane;
mod ledger;
mod life;
mod record;
mod report;
mod rng;
mod run;
mod schedule;
mod senders;
mod service;
mod small_disk;
mod store_host;
mod wire;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use self::check::Verdict;
use self::ledger::{Books, Ledger};
use self::record::Origin;
use self::report::Report;
use self::run::Run;
use self::small_disk::SmallDisk;
use crate::config::{Settings, Written};
use crate::render::json_line;
use crate::service::Signals;

/// Room of the spool's own disk: above `spool.max_bytes`, with some for `corrupt/`.
const SMALL_DISK_MIB: u64 = 48;

/// Prove that nothing acknowledged is lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long to go on before everything is counted
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// Faults and traffic follow from it; default: a random one, which is printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Directory for everything, which must not exist; default: one of the system's temporary directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the directory also where nothing was found
    #[arg(long)]
    keep: bool,
    /// In the end, empty the store under the running service and send some more
    #[arg(long)]
    empty_store: bool,
    /// Give the spool a disk of its own that fills up, of 48 MiB; mounts a tmpfs, as root
    #[arg(long)]
    small_disk: bool,
    /// Send nothing: count once more what an earlier run left in DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["minutes", "seed", "dir", "keep"])]
    check: Option<PathBuf>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    /// libfaketime: steps the service's clock
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_FAKETIME")]
    faketime: Option<PathBuf>,
    /// Be the service, on a disk that fails as this seed says
    #[arg(long, value_name = "SEED", hide = true, requires = "config")]
    serve_on_failing_disk: Option<u64>,
    #[arg(long, hide = true)]
    config: Option<PathBuf>,
    #[arg(long, hide = true)]
    data_dir: Option<String>,
}

/// Runs the subcommand: 0 nothing lost, duplicated or corrupted, 1 something was.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    if let (Some(seed), Some(config)) = (arguments.serve_on_failing_disk, &arguments.config) {
        runtime.block_on(serve_on_failing_disk(seed, config, arguments.data_dir.as_deref()))?;
        return Ok(ExitCode::SUCCESS);
    }
    runtime.block_on(async {
        let mut signals = Signals::watch().context("watch for signals")?;
        tokio::select! {
            code = verify(&arguments) => code,
            // Whatever runs is killed as it is dropped.
            signal = signals.requested() => anyhow::bail!("stopped by {signal}; the directory is kept"),
        }
    })
}

async fn verify(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &arguments.check {
        return check_again(directory, arguments.json).await;
    }
    let random = || uuid::Uuid::new_v4().as_u128() as u64 >> 32;
    let seed = arguments.seed.unwrap_or_else(random);
    let directory = match &arguments.dir {
        Some(directory) => directory.clone(),
        None => std::env::temp_dir().join(format!("throughline-verify-{}-{seed}", std::process::id())),
    };
    anyhow::ensure!(!directory.exists(), "{} exists: give --dir one that does not", directory.display());
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let directory = directory.canonicalize().context("name the directory in full")?;
    talk(&format!("seed {seed}, in {}", directory.display()));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let origin = Origin { seed, start_ms: since.as_millis() as u64 };
    let faketime = arguments.faketime.as_ref().map(|library| library.clone().into_os_string());
    let mut run = Run::new(directory.clone(), Ledger::new(origin), faketime)?;
    run.set_clock(0)?;
    if arguments.small_disk {
        run.disk = Some(SmallDisk::mount(&run.spool(), SMALL_DISK_MIB).await?);
    }
    let began = Instant::now();
    let time = Duration::from_secs_f64(60.0 * arguments.minutes.max(0.0));
    let judged = judge(&mut run, time, arguments.empty_store).await;
    let in_directory = || format!("everything is kept in {}", directory.display());
    let (verdict, emptied) = judged.with_context(in_directory)?;
    let report = Report {
        seed,
        seconds: began.elapsed().as_secs(),
        verdict,
        emptied,
        faults: run.faults,
        traffic: run.ledger.tally(),
        clock_steps_possible: run.faketime.is_some(),
        is_disk_small: run.disk.is_some(),
    };
    if report.is_clean() && !arguments.keep {
        if let Some(disk) = run.disk {
            disk.unmount().await?;
        }
        std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    } else {
        talk(&in_directory());
    }
    tell(&report, arguments.json)
}

/// Drives the run and holds the store against its books; a second time where the store is emptied in the end.
async fn judge(
    run: &mut Run,
    time: Duration,
    empty_store: bool,
) -> anyhow::Result<(Verdict, Option<Verdict>)> {
    let driven = run.drive(time).await;
    // Before anything else can fail: with it the run can be counted again.
    keep(run, &[])?;
    driven?;
    talk("no more faults; waiting until everything is stored");
    let verdict = count(run, &[]).await?;
    if !empty_store || !verdict.is_clean() {
        return Ok((verdict, None));
    }
    talk("the store restarts empty");
    let from = run.empty_store().await?;
    let emptied = count(run, &from).await?;
    Ok((verdict, Some(emptied)))
}

/// Waits until all is stored and counts it.
async fn count(run: &mut Run, from: &[u64]) -> anyhow::Result<Verdict> {
    let settled = run.settle().await;
    keep(run, from)?;
    let (service, target) = settled?;
    let verdict = audit::audit(&run.directory, target, &run.ledger.books(), run.flipped(), from).await?;
    run.faults.bad_drains += u64::from(!service.terminate().await?);
    Ok(verdict)
}

fn tell(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    if json { json_line(&mut stdout, report) } else { report.print(&mut stdout) }
        .context("print the result")?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What an audit needs besides the data directory.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    books: Books,
    flipped: BTreeSet<String>,
    from: Vec<u64>,
}

fn kept_file(directory: &Path) -> PathBuf {
    directory.join("ledger.json")
}

fn keep(run: &Run, from: &[u64]) -> anyhow::Result<()> {
    let kept = Kept { books: run.ledger.books(), flipped: run.flipped().clone(), from: from.to_vec() };
    let path = kept_file(&run.directory);
    let text = serde_json::to_vec(&kept).context("write down what was acknowledged")?;
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Counts what a kept run left.
async fn check_again(directory: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let path = kept_file(directory);
    let text = std::fs::read(&path)
        .with_context(|| format!("read {}: is this the directory of a run with --keep?", path.display()))?;
    let kept: Kept = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not of this version", path.display()))?;
    let directory = directory.canonicalize().context("name the directory in full")?;
    let (service, target) = run::settle(&directory, || (), || true).await?;
    let verdict = audit::audit(&directory, target, &kept.books, &kept.flipped, &kept.from).await?;
    service.terminate().await?;
    let report = Report {
        seed: kept.books.origin.seed,
        seconds: 0,
        verdict,
        faults: life::Faults::default(),
        traffic: ledger::Tally::default(),
        clock_steps_possible: true,
        is_disk_small: true,
        emptied: None,
    };
    tell(&report, json)
}

/// The service as `serve` runs it, but for its disk.
async fn serve_on_failing_disk(seed: u64, config: &Path, data_dir: Option<&str>) -> anyhow::Result<()> {
    let mut written = Written::defaults();
    written.add_file(config)?;
    written.add_environment(std::env::vars())?;
    written.add_flag("data-dir", "data_dir", data_dir.map(str::to_owned))?;
    let settings = Settings::from_written(&written)?;
    crate::service::run_on(settings, Arc::new(failing_disk::FailingDisk::new(seed))).await
}

/// Progress, for the person at the keyboard.
fn talk(text: &str) {
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "verify: {text}");
}
