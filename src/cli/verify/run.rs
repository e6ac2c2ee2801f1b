//! One run: traffic on every lane, life after life of the service, and in the end one without faults.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::damage;
use super::file::Followed;
use super::lane::Lane;
use super::ledger::Ledger;
use super::life::Faults;
use super::senders::Sender;
use super::service::{Service, Start, Target};
use super::small_disk::SmallDisk;
use super::store_host::StoreHost;

/// How long what waits may take to reach the store once nothing fails any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(15);
/// Starts in a row that fail without a reason before the run is given up.
const FAILED_STARTS: u32 = 5;

/// Everything of a run that lies in its directory.
pub(super) struct Run {
    pub(super) directory: PathBuf,
    pub(super) ledger: Arc<Ledger>,
    pub(super) faults: Faults,
    pub(super) faketime: Option<OsString>,
    pub(super) followed: Arc<Followed>,
    pub(super) whereabouts: watch::Sender<Option<Target>>,
    pub(super) store: StoreHost,
    pub(super) flipped: BTreeSet<String>,
    pub(super) disk: Option<SmallDisk>,
    pub(super) seed: u64,
}

impl Run {
    /// Makes the directory of a run.
    pub(super) fn new(
        directory: PathBuf,
        ledger: Ledger,
        faketime: Option<OsString>,
    ) -> anyhow::Result<Self> {
        let logs = directory.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        // Nobody listens there any more: a receiver of traces that is dead.
        let dead = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
        let config = format!(
            "http.listen = '127.0.0.1:0'\ngrpc.listen = '127.0.0.1:0'\nengine.public_listen = ''\n\
             spool.segment_bytes = '8MiB'\nspool.max_bytes = '32MiB'\ndrain.deadline = '10s'\n\
             export.mode = 'all'\nexport.endpoint = 'http://{}'\ntelemetry.log = 'info'\n\
             [[source]]\nname = 'followed'\nkind = 'file'\npaths = ['{}/access.log*']\n",
            dead.context("find a port where nobody listens")?,
            logs.display(),
        );
        let path = directory.join("throughline.toml");
        std::fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let (data, ledger) = (directory.join("data"), Arc::new(ledger));
        let positions = data.join("positions/followed.positions");
        Ok(Self {
            followed: Arc::new(Followed::new(logs, positions, Arc::clone(&ledger))),
            store: StoreHost::new(data.join("engine")),
            whereabouts: watch::channel(None).0,
            seed: ledger.origin().seed,
            faults: Faults::default(),
            flipped: BTreeSet::new(),
            disk: None,
            directory,
            ledger,
            faketime,
        })
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.directory.join("data/spool")
    }

    /// Segments that were damaged: their originals must turn up in `corrupt/`.
    pub(super) fn flipped(&self) -> &BTreeSet<String> {
        &self.flipped
    }

    /// Drives traffic and faults until the time is over.
    pub(super) async fn drive(&mut self, time: Duration) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let lanes = self.traffic(&stop)?;
        self.prepare_schema().await.context("prepare the store's schema")?;
        let until = Instant::now() + time;
        let (mut told, mut failed_starts) = (Instant::now(), 0);
        for nth in 0.. {
            if Instant::now() >= until {
                break;
            }
            let unasked = self.faults.unasked_ends.len();
            self.live(nth).await.with_context(|| format!("life {nth} of the service"))?;
            failed_starts = if self.faults.unasked_ends.len() > unasked { failed_starts + 1 } else { 0 };
            if failed_starts == FAILED_STARTS {
                bail!(
                    "the service ended {FAILED_STARTS} times in a row by itself: {:?}",
                    self.faults.unasked_ends.last()
                );
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                let (sent, acknowledged) = self.ledger.totals();
                super::talk(&format!(
                    "{} lives, {} kills, {sent} records sent, {acknowledged} acknowledged",
                    self.faults.lives, self.faults.kills
                ));
            }
        }
        stop.cancel();
        Self::end_traffic(lanes).await?;
        self.store.stop().await
    }

    /// Starts a sender on every lane.
    pub(super) fn traffic(&self, stop: &CancellationToken) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let mut lanes = JoinSet::new();
        for lane in Lane::ALL {
            if lane == Lane::File {
                lanes.spawn(Arc::clone(&self.followed).write(stop.clone()));
            } else {
                let sender = Sender::new(lane, Arc::clone(&self.ledger), self.whereabouts.subscribe())?;
                lanes.spawn(sender.run(stop.clone()));
            }
        }
        Ok(lanes)
    }

    /// Waits for senders that were told to stop.
    pub(super) async fn end_traffic(mut lanes: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
        while let Some(lane) = lanes.join_next().await {
            lane.context("a sender was lost")??;
        }
        Ok(())
    }

    /// A life until the schema is there. A start that is killed while it makes the schema leaves a lock for 20 s, in which
    /// nothing is shipped: were every start killed, no kill would ever hit an insert.
    async fn prepare_schema(&mut self) -> anyhow::Result<()> {
        let mut start = Start { command: vec!["serve".into()], variables: Vec::new() };
        start.variables.extend(self.clock());
        self.followed.life_begins(false);
        self.ledger.started();
        let mut service = self.spawn(&start)?;
        let Some(target) = service.wait_listening().await else {
            bail!("the service does not start: {}", service.last_words());
        };
        self.whereabouts.send_replace(Some(target));
        self.wait_ready(&service, target).await?;
        service.kill().await?;
        self.whereabouts.send_replace(None);
        self.ledger.ended();
        self.followed.life_ended();
        Ok(())
    }

    /// Waits until its store is ready, too.
    pub(super) async fn wait_ready(&self, service: &Service, target: Target) -> anyhow::Result<()> {
        let until = Instant::now() + SETTLE_LIMIT;
        let is_ready = async || {
            let answer = reqwest::get(format!("http://{}/readyz", target.http)).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_ready().await {
            if Instant::now() > until {
                bail!("it is not ready after {} s: {}", SETTLE_LIMIT.as_secs(), service.last_words());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    pub(super) fn spawn(&self, start: &Start) -> anyhow::Result<Service> {
        let file = |name| self.directory.join(name);
        Service::start(start, &file("throughline.toml"), &file("data"), &file("service.log"))
    }

    /// A last life without faults: waits until everything is in the store; the service, and where it listens.
    pub(super) async fn settle(&mut self) -> anyhow::Result<(Service, Target)> {
        settle(&self.directory, || self.followed.life_begins(false), || self.followed.is_committed()).await
    }
}

/// Starts the service of a directory with a read-only port and waits until its spool is empty.
pub(super) async fn settle(
    directory: &Path,
    begin: impl FnOnce(),
    is_committed: impl Fn() -> bool,
) -> anyhow::Result<(Service, Target)> {
    let public = ("THROUGHLINE_ENGINE_PUBLIC_LISTEN".to_owned(), OsString::from("127.0.0.1:0"));
    let start = Start { command: vec!["serve".into()], variables: vec![public] };
    begin();
    let file = |name| directory.join(name);
    let mut service = Service::start(&start, &file("throughline.toml"), &file("data"), &file("service.log"))?;
    if service.wait_listening().await.is_none() {
        bail!("the service does not start: {}", service.last_words());
    }
    let until = Instant::now() + SETTLE_LIMIT;
    let spool = directory.join("data/spool");
    loop {
        let waiting = damage::segments(&spool, "open")?.len() + damage::segments(&spool, "sealed")?.len();
        let target = *service.listening.borrow();
        if let Some(target) = target
            && target.public.is_some()
            && waiting == 0
            && is_committed()
        {
            return Ok((service, target));
        }
        if let Some(status) = service.ended() {
            bail!("the service ended by itself ({status}): {}", service.last_words());
        }
        if Instant::now() > until {
            bail!("after {} s {waiting} segments still wait in {}", SETTLE_LIMIT.as_secs(), spool.display());
        }
        sleep(LOOK_EVERY).await;
    }
}
