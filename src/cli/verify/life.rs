//! One life of the service: started, troubled, ended, and its remains damaged, as the schedule has it.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::sleep;

use super::damage;
use super::rng::Rng;
use super::run::Run;
use super::schedule::{Damage, End, Event, Life};
use super::service::{Service, Start};
use super::small_disk::SmallDisk;
use super::store_host::Way;

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
    pub(super) full_disks: u64,
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

impl Run {
    /// One life of the service, from its start to its end and what is done to its remains.
    pub(super) async fn live(&mut self, nth: u64) -> anyhow::Result<()> {
        let life = Life::new(self.seed, nth);
        let mut start = self.prepare(&life).await?;
        start.variables.extend(self.clock());
        self.faults.lives += 1;
        self.faults.failing_disks += u64::from(life.failing_disk.is_some());
        // What finds no room is read again.
        let retried = life.failing_disk.is_some() || self.disk.is_some();
        self.followed.life_begins(retried);
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
    pub(super) fn clock(&self) -> Vec<(String, OsString)> {
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
            Event::FillDisk => {
                if let Some(disk) = &self.disk {
                    self.faults.full_disks += 1;
                    disk.fill().context("fill the small disk")?;
                }
            }
            Event::FreeDisk => self.free_disk()?,
            Event::Clock(offset_s) if self.faketime.is_some() => {
                self.faults.clock_steps += 1;
                self.set_clock(offset_s)?;
            }
            Event::Clock(_) => {}
        }
        Ok(())
    }

    fn free_disk(&self) -> anyhow::Result<()> {
        self.disk.as_ref().map_or(Ok(()), SmallDisk::free).context("free the small disk")
    }

    /// After a life: nobody listens, what was committed is acknowledged, and its segments may be damaged.
    fn bury(&mut self, life: &Life, nth: u64) -> anyhow::Result<()> {
        self.whereabouts.send_replace(None);
        self.ledger.ended();
        self.followed.life_ended();
        self.free_disk()?;
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
}
