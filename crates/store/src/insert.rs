//! A segment's rows into the store, exactly once.
//!
//! One block per table, each with its own deduplication token (segment and table): repeating the call after any failure
//! completes what is missing and doubles nothing. The `shipped` row goes last, when all else is durable. Rows that the
//! store refuses for good are found by halving their block, under tokens of their own, and become rejects.

use std::borrow::Cow;

use bytes::Bytes;
use event::{Reject, RejectReason};

use crate::batch::ledger::Ledger;
use crate::batch::{Batch, put_reject, rejects_block};
use crate::client::{INSERT_TIMEOUT, Store, failed};
use crate::error::{Fault, InsertError, StoreError, fault};
use crate::migrate::SCHEMA;
use crate::native::{Block, Cell, Layout};

/// What an insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inserted {
    /// Events of the segment, refused ones left out.
    pub events: u64,
    /// Rejects of the segment, refused events included.
    pub rejects: u64,
    /// Events that the store refused for good.
    pub refused: u64,
}

impl Store {
    /// Inserts a batch under its segment's id, then marks the segment as shipped. `instance` names who shipped it.
    ///
    /// May be repeated with the same batch until it succeeds; cancelling it is like a failure.
    pub async fn insert(
        &self,
        batch: &Batch,
        segment: [u8; 16],
        instance: &str,
    ) -> Result<Inserted, InsertError> {
        let name = format!("{:032x}", u128::from_be_bytes(segment));
        let mut refused = Refused { rejects: rejects_block(), ledger: Ledger::default() };
        // Ids before events: whoever sees an event, in a count or a search, also finds it by its ids.
        self.insert_block("ids", &batch.ids, format!("{name}-ids")).await?;
        self.insert_bisecting("events", &batch.events, &name, &mut refused).await?;
        let rollup = batch.rollup.block();
        tokio::try_join!(
            self.insert_block("rejects", &batch.rejects, format!("{name}-rejects")),
            self.insert_block("rejects", &refused.rejects, format!("{name}-refused")),
            self.insert_block("rollup_minute", &rollup, format!("{name}-rollup_minute")),
            self.insert_block("recent", &batch.recent, format!("{name}-recent")),
        )?;
        let refused_rows = refused.rejects.rows;
        let inserted = Inserted {
            events: (batch.events.rows - refused_rows) as u64,
            rejects: (batch.rejects.rows + refused_rows) as u64,
            refused: refused_rows as u64,
        };
        // After the rows: whoever reads both while this goes on sees rows without an entry, never an entry without rows.
        let ledger = batch.ledger.block(&mut refused.ledger);
        self.insert_block("ledger", &ledger, format!("{name}-ledger")).await?;
        let shipped = shipped_block(batch, segment, instance, inserted);
        self.insert_block("shipped", &shipped, format!("{name}-shipped")).await?;
        Ok(inserted)
    }

    /// Whether a segment was inserted whole: a restarted instance need not ship it again.
    pub async fn was_shipped(&self, segment: [u8; 16]) -> Result<bool, StoreError> {
        let found: u64 = self
            .read("SELECT count() FROM shipped WHERE segment = unhex({segment:String})")
            .param("segment", format!("{:032x}", u128::from_be_bytes(segment)))
            .fetch_one()
            .await
            .map_err(failed("look for a shipped segment"))?;
        Ok(found > 0)
    }

    /// Inserts `block`, halving it where the store refuses its rows, and appends those it refuses one by one.
    ///
    /// However many are refused, it goes on: a refused row must not stall shipping. Only a live table that is not this
    /// build's stops it, before the first row is blamed.
    async fn insert_bisecting(
        &self,
        table: &'static str,
        block: &Block,
        segment: &str,
        refused: &mut Refused,
    ) -> Result<(), InsertError> {
        let Err(error) = self.insert_block(table, block, format!("{segment}-{table}")).await else {
            return Ok(());
        };
        if error.fault != Fault::Rows {
            return Err(error);
        }
        self.check_table(table, block, &error).await?;
        // Depth first, so that at most a logarithm of slices is alive; ranges name the tokens, so a repetition halves
        // the same way.
        let mut ranges = halves(0..block.rows);
        if block.rows == 1 {
            refuse(block, &error, refused);
        }
        while let Some(range) = ranges.pop() {
            let part = block.slice(range.clone());
            let token = format!("{segment}-{table}-{}-{}", range.start, range.end);
            match self.insert_block(table, &part, token).await {
                Ok(()) => {}
                Err(error) if error.fault == Fault::Rows && range.len() == 1 => {
                    refuse(&part, &error, refused);
                }
                Err(error) if error.fault == Fault::Rows => ranges.extend(halves(range)),
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(
            segment,
            rows = refused.rejects.rows,
            "the store refused rows for good; kept them as rejects"
        );
        Ok(())
    }

    /// Fails with [`Fault::Setup`] where the live table is not the one of this build: taking a foreign table for bad
    /// rows would turn good events into rejects. Where it is, the rows are to blame, and blocking on them would stall
    /// shipping for ever.
    async fn check_table(
        &self,
        table: &'static str,
        block: &Block,
        refusal: &InsertError,
    ) -> Result<(), InsertError> {
        let sql = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}";
        let live: Vec<(String, String)> = self
            .read(sql)
            .param("table", table)
            .fetch_all()
            .await
            .map_err(|source| InsertError { table, fault: fault(&source), source: Box::new(source) })?;
        let marker = format!("{{table:{table}}}");
        let expected: Vec<&str> = SCHEMA
            .iter()
            .filter(|file| file.sql.contains(&marker))
            .flat_map(|file| file.sql.lines())
            .map(|line| line.trim_start().trim_start_matches("ADD COLUMN IF NOT EXISTS "))
            .collect();
        for (name, wire_type) in block.all_columns() {
            let Some((_, live_type)) = live.iter().find(|(live_name, _)| live_name == name) else {
                return Err(setup(table, name, "the live table has no such column", refusal));
            };
            // The declaration stands in the schema as this build writes it, codecs and comments after it.
            if !expected.iter().any(|line| declares(line, name, live_type)) {
                let why = format!("the live column is {live_type}, sent as {wire_type}");
                return Err(setup(table, name, &why, refusal));
            }
        }
        Ok(())
    }

    /// Inserts one block under its token: a second insert under the same token adds nothing.
    pub(crate) async fn insert_block(
        &self,
        table: &'static str,
        block: &Block,
        token: String,
    ) -> Result<(), InsertError> {
        if block.rows == 0 {
            return Ok(());
        }
        let columns = block.names().collect::<Vec<_>>().join(", ");
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} ({columns}) FORMAT Native"))
            .with_timeouts(Some(INSERT_TIMEOUT), Some(INSERT_TIMEOUT))
            .with_setting("insert_deduplication_token", token)
            .with_setting("insert_deduplicate", "1")
            .with_setting("async_insert", "0");
        if self.endpoint.cluster.is_some() {
            // Otherwise a Distributed table answers before any shard has the rows.
            insert = insert.with_setting("distributed_foreground_insert", "1");
        }
        let sent = match insert.send(Bytes::from(block.encode())).await {
            Ok(()) => insert.end().await,
            Err(error) => Err(error),
        };
        sent.map_err(|source| InsertError { table, fault: fault(&source), source: Box::new(source) })
    }
}

/// Events that the store refused for good.
struct Refused {
    /// As rejects.
    rejects: Block,
    /// As entries of the ledger.
    ledger: Ledger,
}

/// Whether a line of the schema declares this column with this type.
fn declares(line: &str, name: &str, type_name: &str) -> bool {
    let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    let Some(after) = rest.and_then(|rest| rest.strip_prefix(type_name)) else { return false };
    after.is_empty() || after.starts_with([',', ' '])
}

/// A refusal that the schema is to blame for.
fn setup(table: &'static str, column: &str, why: &str, refusal: &InsertError) -> InsertError {
    let text =
        format!("column {column}: {why}; migrate the schema, then shipping goes on ({})", refusal.source);
    InsertError { table, fault: Fault::Setup, source: Box::new(clickhouse::error::Error::BadResponse(text)) }
}

/// Both halves of a range, the first last: it is popped first. Nothing for one row.
fn halves(range: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    let middle = range.start + range.len() / 2;
    if range.len() < 2 { Vec::new() } else { vec![middle..range.end, range.start..middle] }
}

/// Turns the only row of `part` into a reject: its text values by name, for a person to read.
fn refuse(part: &Block, error: &InsertError, refused: &mut Refused) {
    let (mut tenant, mut source, mut format) = Default::default();
    let mut bytes = String::new();
    for (name, text) in part.texts_of_row(0) {
        bytes.push_str(name);
        bytes.push('=');
        bytes.push_str(&text);
        bytes.push('\n');
        match name {
            "tenant" => tenant = Cow::Owned(text),
            "source" => source = Cow::Owned(text),
            "format" => format = Cow::Owned(text),
            _ => {}
        }
    }
    let length = bytes.len() as u64;
    let mut bytes = bytes.into_bytes();
    bytes.truncate(Reject::MAX_BYTES);
    let detail = error.source.to_string().chars().take(1000).collect::<String>();
    let reject = Reject {
        received_ns: part.i64_of_row("received_ns", 0),
        tenant,
        source,
        format,
        reason: RejectReason::StoreRefused,
        detail: Cow::Owned(detail),
        offset: 0,
        length,
        bytes: Cow::Owned(bytes),
    };
    refused.ledger.refuse(&reject.tenant, &reject.source, reject.received_ns);
    put_reject(&mut refused.rejects, &reject);
}

fn shipped_block(batch: &Batch, segment: [u8; 16], instance: &str, inserted: Inserted) -> Block {
    let mut block = Block::new([
        ("segment", u128::TYPE, u128::LAYOUT),
        ("instance", "String", Layout::Text),
        ("first_received_ns", i64::TYPE, i64::LAYOUT),
        ("last_received_ns", i64::TYPE, i64::LAYOUT),
        ("events", u64::TYPE, u64::LAYOUT),
        ("rejects", u64::TYPE, u64::LAYOUT),
    ]);
    let (first, last) = batch.received_ns.unwrap_or_default();
    let mut columns = block.columns.iter_mut();
    let mut put = |cell: &dyn Fn(&mut crate::native::Column)| {
        if let Some(column) = columns.next() {
            cell(column);
        }
    };
    put(&|column| u128::from_be_bytes(segment).put(column));
    put(&|column| Cow::Borrowed(instance).put(column));
    put(&|column| first.put(column));
    put(&|column| last.put(column));
    put(&|column| inserted.events.put(column));
    put(&|column| inserted.rejects.put(column));
    block.rows = 1;
    block
}
