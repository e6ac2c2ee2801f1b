//! One run: traffic on every lane, life after life of the service with its faults, and in the end a life without any.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::damage;
use super::file::Followed;
use super::lane::Lane;
use super::ledger::Ledger;
use super::rng::Rng;
use super::schedule::{Damage, End, Event, Life};
use super::senders::Sender;
use super::service::{Service, Start, Target};
use super::store_host::{StoreHost, Way};

/// How long what waits may take to reach the store once nothing fails any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(15);
/// Starts in a row that fail without a reason before the run is given up.
const FAILED_STARTS: u32 = 5;

/// Faults as they were injected, and what the service did by itself.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Faults {
    pub(super) lives: u64,
    pub(super) kills: u64,
    /// Of these, before it listened.
    pub(super) early_kills: u64,
    pub(super) engine_kills: u64,
    pub(super) drains: u64,
    pub(super) failing_disks: u64,
    pub(super) slow_stores: u64,
    pub(super) dead_stores: u64,
    pub(super) clock_steps: u64,
    pub(super) torn_segments: u64,
    pub(super) flipped_segments: u64,
    /// Ends that nobody asked for, with the last words.
    pub(super) unasked_ends: Vec<String>,
    /// Drains that did not end in order.
    pub(super) bad_drains: u64,
}

/// Everything of a run that lies in its directory.
pub(super) struct Run {
    pub(super) directory: PathBuf,
    pub(super) ledger: Arc<Ledger>,
    pub(super) faults: Faults,
    pub(super) faketime: Option<OsString>,
    followed: Arc<Followed>,
    whereabouts: watch::Sender<Option<Target>>,
    store: StoreHost,
    flipped: BTreeSet<String>,
    seed: u64,
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
             spool.segment_bytes = '1MiB'\nspool.max_bytes = '64MiB'\ndrain.deadline = '10s'\n\
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
            directory,
            ledger,
            faketime,
        })
    }

    fn spool(&self) -> PathBuf {
        self.directory.join("data/spool")
    }

    /// Segments that were damaged: their originals must turn up in `corrupt/`.
    pub(super) fn flipped(&self) -> &BTreeSet<String> {
        &self.flipped
    }

    /// Drives traffic and faults until the time is over.
    pub(super) async fn drive(&mut self, time: Duration) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let mut lanes = JoinSet::new();
        for lane in Lane::ALL {
            if lane == Lane::File {
                lanes.spawn(Arc::clone(&self.followed).write(stop.clone()));
            } else {
                let sender = Sender::new(lane, Arc::clone(&self.ledger), self.whereabouts.subscribe())?;
                lanes.spawn(sender.run(stop.clone()));
            }
        }
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
        while let Some(lane) = lanes.join_next().await {
            lane.context("a sender was lost")??;
        }
        self.store.stop().await
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
        service.kill().await?;
        self.whereabouts.send_replace(None);
        self.ledger.ended();
        self.followed.life_ended();
        Ok(())
    }

    /// One life of the service, from its start to its end and what is done to its remains.
    async fn live(&mut self, nth: u64) -> anyhow::Result<()> {
        let life = Life::new(self.seed, nth);
        let mut start = self.prepare(&life).await?;
        start.variables.extend(self.clock());
        self.faults.lives += 1;
        self.faults.failing_disks += u64::from(life.failing_disk.is_some());
        self.followed.life_begins(life.failing_disk.is_some());
        self.ledger.started();
        let mut service = self.spawn(&start)?;
        if let Some(early_ms) = life.early_ms {
            sleep(Duration::from_millis(early_ms)).await;
            self.faults.early_kills += u64::from(service.listening.borrow().is_none());
            self.faults.kills += 1;
            service.kill().await?;
            return self.bury(&life, nth);
        }
        let Some(target) = service.wait_listening().await else {
            if life.failing_disk.is_none() {
                self.faults.unasked_ends.push(format!("life {nth}, at its start: {}", service.last_words()));
            }
            service.kill().await?;
            return self.bury(&life, nth);
        };
        self.whereabouts.send_replace(Some(target));
        let began = Instant::now();
        for (at_ms, event) in &life.events {
            sleep(Duration::from_millis(*at_ms).saturating_sub(began.elapsed())).await;
            self.happen(*event, &service, life.is_proxied).await?;
        }
        sleep(Duration::from_millis(life.run_ms).saturating_sub(began.elapsed())).await;
        if let Some(status) = service.ended() {
            let words = service.last_words();
            self.faults.unasked_ends.push(format!("life {nth}, {status}: {words}"));
        }
        if life.end == End::Terminate {
            self.faults.drains += 1;
            let in_order = service.terminate().await?;
            self.faults.bad_drains += u64::from(!in_order);
        } else {
            self.faults.kills += 1;
            service.kill().await?;
        }
        self.bury(&life, nth)
    }

    /// Brings up the store that the life wants; how to start the service.
    async fn prepare(&mut self, life: &Life) -> anyhow::Result<Start> {
        let mut start = Start { command: vec!["serve".into()], variables: Vec::new() };
        if let Some(seed) = life.failing_disk {
            start.command = vec!["verify".into(), "--serve-on-failing-disk".into(), seed.to_string().into()];
        }
        if life.is_proxied {
            start.variables.extend(self.store.start().await?);
            self.store.set_way(Way::Open);
        } else {
            self.store.stop().await?;
        }
        Ok(start)
    }

    /// The clock of the service is the machine's, off by what the file says.
    fn clock(&self) -> Vec<(String, OsString)> {
        let Some(library) = &self.faketime else { return Vec::new() };
        let file = self.directory.join("clock");
        let variable = |name: &str, value: OsString| (name.to_owned(), value);
        vec![
            variable("LD_PRELOAD", library.clone()),
            variable("FAKETIME_TIMESTAMP_FILE", file.into()),
            variable("FAKETIME_NO_CACHE", "1".into()),
            variable("DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Sets the service's clock off by so many seconds.
    pub(super) fn set_clock(&self, offset_s: i64) -> anyhow::Result<()> {
        // Renamed into place: it is read at every look at the clock.
        let (new, place) = (self.directory.join("clock.new"), self.directory.join("clock"));
        std::fs::write(&new, format!("{offset_s:+}s"))
            .and_then(|()| std::fs::rename(&new, &place))
            .context("set the clock")
    }

    async fn happen(&mut self, event: Event, service: &Service, is_proxied: bool) -> anyhow::Result<()> {
        match event {
            Event::KillEngine if is_proxied => {
                self.faults.engine_kills += u64::from(self.store.kill().await?);
                self.store.start().await?;
            }
            Event::KillEngine => self.faults.engine_kills += u64::from(service.kill_engine().await?),
            Event::Way(way) => {
                self.faults.slow_stores += u64::from(way == Way::Slow);
                self.faults.dead_stores += u64::from(way == Way::Dead);
                self.store.set_way(way);
            }
            Event::Clock(offset_s) if self.faketime.is_some() => {
                self.faults.clock_steps += 1;
                self.set_clock(offset_s)?;
            }
            Event::Clock(_) => {}
        }
        Ok(())
    }

    /// After a life: nobody listens, what was committed is acknowledged, and its segments may be damaged.
    fn bury(&mut self, life: &Life, nth: u64) -> anyhow::Result<()> {
        self.whereabouts.send_replace(None);
        self.ledger.ended();
        self.followed.life_ended();
        let mut rng = Rng::stream(self.seed, [4, nth]);
        let spool = self.spool();
        if !spool.is_dir() {
            return Ok(());
        }
        match life.damage {
            Damage::None => {}
            Damage::Tear => {
                let torn = damage::tear(&spool, &mut rng).context("tear a segment")?;
                self.faults.torn_segments += u64::from(torn);
            }
            Damage::Flip => {
                let flipped =
                    damage::flip(&spool, &mut rng, &self.flipped).context("flip a bit of a segment")?;
                if let Some(flipped) = flipped {
                    self.faults.flipped_segments += 1;
                    self.flipped.insert(flipped.segment);
                    self.ledger.damage(flipped.numbers);
                }
            }
        }
        Ok(())
    }

    fn spawn(&self, start: &Start) -> anyhow::Result<Service> {
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
