//! The store restarts empty under a running service: what is acknowledged from then on must be in the new one.
//!
//! What was shipped before is gone with the store that had it, so the spool is empty when it happens. The service takes
//! deliveries all the while; the schema is made anew at its next start, and what waited is shipped then.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::run::Run;
use super::service::Start;

/// How long is sent to a service whose store knows no table.
const SENDING: Duration = Duration::from_secs(4);

impl Run {
    /// Empties the store and sends; how many records each lane had before. To be followed by [`Run::settle`].
    pub(super) async fn empty_store(&mut self) -> anyhow::Result<Vec<u64>> {
        let before: Vec<u64> = Lane::ALL.iter().map(|lane| self.ledger.enter(*lane, 0)).collect();
        let store = self.store.start().await?;
        let start = Start { command: vec!["serve".into()], variables: store.into() };
        self.followed.life_begins(false);
        let mut service = self.spawn(&start)?;
        let Some(target) = service.wait_listening().await else {
            bail!("the service does not start: {}", service.last_words());
        };
        self.wait_ready(&service, target).await?;
        self.store.kill().await?;
        let engine = self.directory.join("data/engine");
        std::fs::rename(&engine, engine.with_extension("before")).context("take the store's data away")?;
        self.store.start().await?;
        let stop = CancellationToken::new();
        let lanes = self.traffic(&stop)?;
        self.whereabouts.send_replace(Some(target));
        sleep(SENDING).await;
        stop.cancel();
        Self::end_traffic(lanes).await?;
        service.kill().await?;
        self.whereabouts.send_replace(None);
        self.followed.life_ended();
        self.store.stop().await?;
        Ok(before)
    }
}
