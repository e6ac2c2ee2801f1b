//! The end in order: nobody new, what came in is durable, what is durable is shipped if time allows.

use std::sync::Arc;
use std::time::Duration;

use spool::Spool;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::signals::Signals;
use crate::books::Books;
use crate::config::Settings;
use crate::ingest::als::Streams;
use crate::ingest::listen::Ending;

/// Share of the drain deadline that open connections get; the rest is for sealing and shipping.
const CONNECTIONS_SHARE: f64 = 0.4;
/// What streams that were answered still get when their connections had to be closed: their last fsync.
const LAST_APPENDS: Duration = Duration::from_secs(1);

/// Everything that runs, by its place in the end.
pub(super) struct Drain {
    deadline: Duration,
    delay: Duration,
    /// `/readyz` says 503 from here on.
    pub(super) leaving: CancellationToken,
    /// Streams, followers and correlation end from here on.
    pub(super) stopping: CancellationToken,
    pub(super) ending: Ending,
    read_on: TaskTracker,
    pub(super) servers: JoinSet<std::io::Result<()>>,
    pub(super) followers: JoinSet<()>,
    pub(super) shipping: JoinSet<()>,
    spool: Arc<Spool>,
    books: Arc<Books>,
}

impl Drain {
    pub(super) fn new(settings: &Settings, spool: Arc<Spool>, books: Arc<Books>) -> Self {
        Self {
            deadline: settings.drain_deadline,
            delay: settings.drain_delay,
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
            ending: Ending::default(),
            read_on: TaskTracker::new(),
            servers: JoinSet::new(),
            followers: JoinSet::new(),
            shipping: JoinSet::new(),
            spool,
            books,
        }
    }

    /// What streams of ALS have to know of the end.
    pub(super) fn streams(&self, age: Duration) -> Streams {
        Streams { stopping: self.stopping.clone(), read_on: self.read_on.clone(), age }
    }

    /// In the order of the data. A second signal cuts the delay short.
    pub(super) async fn run(&mut self, signals: &mut Signals) {
        self.leaving.cancel();
        // Whoever ends streams before the sender's balancer knows has them opened here again, and lost.
        let _ = timeout(self.delay, signals.requested()).await;
        self.stopping.cancel();
        let begun = Instant::now();
        self.ending.in_order.cancel();
        let until = begun + self.deadline.mul_f64(CONNECTIONS_SHARE);
        let is_over = timeout_at(until, async { while self.servers.join_next().await.is_some() {} }).await;
        if is_over.is_err() {
            tracing::info!("closing connections that did not end by themselves");
            self.ending.at_once.cancel();
            while self.servers.join_next().await.is_some() {}
        }
        self.read_on.close();
        if timeout_at(until + LAST_APPENDS, self.read_on.wait()).await.is_err() {
            tracing::error!("the spool did not take the last records of streams in time; they are lost");
        }
        while self.followers.join_next().await.is_some() {}
        self.books.write(&self.spool).await;
        if let Err(error) = self.spool.close().await {
            tracing::warn!(%error, "the last segment is not sealed; it is recovered at the next start");
        }
        let ship_out = async { while self.shipping.join_next().await.is_some() {} };
        if timeout_at(begun + self.deadline, ship_out).await.is_err() {
            tracing::info!("what is not shipped stays in the spool for the next start");
            self.shipping.shutdown().await;
        }
    }
}
