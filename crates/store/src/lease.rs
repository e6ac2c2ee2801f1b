//! One correlator at a time, without DDL and without a second system: terms taken by a deduplication token.
//!
//! A term is a number. Whoever finds the newest term's holder gone inserts the next number under the token of that
//! number; the store keeps the first such block and drops the others, and reading the row back tells who won. A holder
//! writes a sign of life every [`RENEW_EVERY`] with how far it came; one that is silent for [`DEAD_AFTER`], by the store's
//! clock, counts as dead. A holder that cannot write acts no longer than [`ACT_FOR`] after its last sign, by its own
//! monotonic clock: less than others wait, so at most one acts at any time, as long as clocks run at about one speed.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::native::{Block, Cell, Layout};

/// Between two signs of life.
pub const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long after its last sign of life a holder may act.
pub const ACT_FOR: Duration = Duration::from_secs(4);
/// After so long a silence a holder counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);

/// A term that is ours until somebody takes the next.
#[derive(Debug)]
pub struct Term {
    number: u64,
    holder: String,
    /// Everything shipped until then was decided when the term was taken, unix microseconds by the store's clock.
    pub through_us: i64,
    /// Before the last sign of life was sent.
    alive: Instant,
}

impl Term {
    /// Its number; every later term has a higher one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Until when its holder may act: so lately it has been heard of that nobody else has taken over.
    pub fn act_until(&self) -> Instant {
        self.alive + ACT_FOR
    }

    /// Whether its holder may act now.
    pub fn may_act(&self) -> bool {
        Instant::now() < self.act_until()
    }
}

/// The newest term.
#[derive(Row, Deserialize)]
struct Taken {
    term: u64,
    holder: String,
    taken_us: i64,
}

/// The newest progress. It may be of an older term: the holder of the newest died before its first sign of life.
#[derive(Row, Deserialize)]
struct Progress {
    term: u64,
    released: bool,
    through_us: i64,
    written_us: i64,
}

/// What stands in the store.
struct State {
    newest: Option<Taken>,
    progress: Option<Progress>,
    now_us: i64,
}

impl State {
    /// Whether `holder` may take the next term.
    fn is_free_for(&self, holder: &str) -> bool {
        let Some(newest) = &self.newest else { return true };
        let progress = self.progress.as_ref().filter(|progress| progress.term == newest.term);
        let heard_us = progress.map_or(newest.taken_us, |progress| progress.written_us);
        newest.holder == holder
            || progress.is_some_and(|progress| progress.released)
            || self.now_us.saturating_sub(heard_us) > DEAD_AFTER.as_micros() as i64
    }
}

impl Store {
    /// Takes the next term, if nobody holds the newest. `holder` must be this instance's alone: its own term, left by a
    /// crash, it takes over at once.
    pub async fn contend(&self, holder: &str) -> Result<Option<Term>, StoreError> {
        let state = self.lease_state().await?;
        if !state.is_free_for(holder) {
            return Ok(None);
        }
        let number = state.newest.map_or(1, |newest| newest.term + 1);
        let alive = Instant::now();
        let mut block = Block::new([("term", u64::TYPE, u64::LAYOUT), ("holder", "String", Layout::Text)]);
        let mut columns = block.columns.iter_mut();
        if let (Some(term), Some(name)) = (columns.next(), columns.next()) {
            number.put(term);
            Cow::Borrowed(holder).put(name);
        }
        block.rows = 1;
        self.insert_block("correlate_terms", &block, format!("term-{number}")).await.map_err(|error| {
            StoreError::Statement { what: "take the lease of correlation", source: error.source }
        })?;
        let winner: String = self
            .read("SELECT holder FROM correlate_terms WHERE term = {term:UInt64} ORDER BY taken_at LIMIT 1")
            .param("term", number)
            .fetch_one()
            .await
            .map_err(failed("read who took the lease of correlation"))?;
        if winner != holder {
            return Ok(None);
        }
        // Without any progress correlation begins now: what was shipped before was not asked for.
        let through_us = state.progress.map_or(state.now_us, |progress| progress.through_us);
        let mut term = Term { number, holder: holder.to_owned(), through_us, alive };
        Ok(self.renew(&mut term, through_us).await?.then_some(term))
    }

    /// Gives a sign of life and says how far correlation came; `false` if somebody else took over.
    pub async fn renew(&self, term: &mut Term, through_us: i64) -> Result<bool, StoreError> {
        self.progress(term, through_us, false).await
    }

    /// Gives the term up, so that nobody waits for this instance.
    pub async fn release(&self, mut term: Term, through_us: i64) -> Result<(), StoreError> {
        self.progress(&mut term, through_us, true).await.map(drop)
    }

    async fn progress(&self, term: &mut Term, through_us: i64, released: bool) -> Result<bool, StoreError> {
        let sent = Instant::now();
        let newest: u64 = self
            .read("SELECT max(term) FROM correlate_terms")
            .fetch_one()
            .await
            .map_err(failed("look whether the lease of correlation still holds"))?;
        if newest != term.number {
            return Ok(false);
        }
        self.client
            .query_raw(
                "INSERT INTO correlate_progress (term, holder, through, released) SELECT {term:UInt64}, \
                 {holder:String}, fromUnixTimestamp64Micro({through:Int64}, 'UTC'), {released:Bool}",
            )
            .with_setting("max_execution_time", ACT_FOR.as_secs().to_string())
            .param("term", term.number)
            .param("holder", &term.holder)
            .param("through", through_us)
            .param("released", released)
            .execute()
            .await
            .map_err(failed("write the progress of correlation"))?;
        term.alive = sent;
        term.through_us = through_us;
        Ok(true)
    }

    async fn lease_state(&self) -> Result<State, StoreError> {
        let what = "look who correlates";
        let newest = "SELECT term, holder, toUnixTimestamp64Micro(taken_at) AS taken_us FROM correlate_terms \
                      ORDER BY term DESC, taken_at LIMIT 1";
        let newest: Option<Taken> = self.read(newest).fetch_optional().await.map_err(failed(what))?;
        let progress = "SELECT term, released, toUnixTimestamp64Micro(through) AS through_us, \
                        toUnixTimestamp64Micro(written_at) AS written_us FROM correlate_progress \
                        ORDER BY term DESC, written_at DESC LIMIT 1";
        let progress: Option<Progress> = self.read(progress).fetch_optional().await.map_err(failed(what))?;
        let now_us: i64 =
            self.read("SELECT toUnixTimestamp64Micro(now64(6))").fetch_one().await.map_err(failed(what))?;
        Ok(State { newest, progress, now_us })
    }
}
