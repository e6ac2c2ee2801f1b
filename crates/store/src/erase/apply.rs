//! Deleting what was found.

use clickhouse::Row;
use serde::Deserialize;

use super::Scope;
use super::find::{EXPORTS, REJECTS, scoped};
use crate::client::{Store, failed};
use crate::error::{InsertError, StoreError};
use crate::migrate::{Retention, Setting, render};
use crate::native::{Block, Cell, Reader};

/// Tables that rows are deleted from.
const TABLES: [&str; 6] = ["events", "ids", "rejects", "exports", "recent", "erasing"];
/// What tells rejects apart: they have no key.
const REJECT_KEY: &str = "sipHash128(source, received_ns, offset, bytes)";
/// Rows of one block of noted keys and ids.
const NOTED_AT_ONCE: usize = 500_000;
/// Longest one rewriting of a table's parts is waited for; the statement goes on in the store, and is asked for again.
const MUTATION_TIME_S: u32 = 1_800;
/// Places of one statement: parameters travel in the address.
const PLACES_AT_ONCE: usize = 1_000;

/// Events of one segment in the form that correlation reads, with their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentPart {
    /// Place among the rows of its segment.
    pub chunk: u32,
    /// How many events.
    pub events: u32,
    /// As `Batch::push_recent` was given them.
    pub packed: Vec<u8>,
}

#[derive(Row, Deserialize)]
struct Segment {
    segment: [u8; 16],
}

impl Store {
    /// Notes what an erasure takes, for the statements that follow. Repeating it adds nothing that matters.
    pub async fn note_erasing(&self, erasure: u128, keys: &[u64], ids: &[u128]) -> Result<(), InsertError> {
        let rows: Vec<(u64, u128)> =
            keys.iter().map(|key| (*key, 0)).chain(ids.iter().map(|id| (0, *id))).collect();
        for (at, part) in rows.chunks(NOTED_AT_ONCE).enumerate() {
            let mut block = Block::new([
                ("erasure", u128::TYPE, u128::LAYOUT),
                ("event_key", u64::TYPE, u64::LAYOUT),
                ("id", u128::TYPE, u128::LAYOUT),
            ]);
            for (key, id) in part {
                let mut columns = block.columns.iter_mut();
                if let (Some(own), Some(of_event), Some(of_id)) =
                    (columns.next(), columns.next(), columns.next())
                {
                    erasure.put(own);
                    key.put(of_event);
                    id.put(of_id);
                }
                block.rows += 1;
            }
            self.insert_block("erasing", &block, format!("{erasure:032x}-erasing-{at}")).await?;
        }
        Ok(())
    }

    /// Deletes the noted events, the places that lead only to them, decisions about them, and rejects with the value.
    /// How many such places there were, and are left.
    pub async fn erase(&self, scope: &Scope, erasure: u128) -> Result<(u64, u64), StoreError> {
        let range =
            "bucket >= toDateTime({first:UInt32}, 'UTC') AND bucket <= toDateTime({last:UInt32}, 'UTC')";
        let events = format!(
            "tenant = {{tenant:String}} AND {range} AND event_key IN \
             (SELECT event_key FROM erasing WHERE erasure = unhex({{erasure:String}}) AND event_key != 0)"
        );
        self.note_in_ledger("events", &events, scope, erasure).await?;
        self.delete("events", &events, scope, erasure).await?;
        // Rows of ids stand for a set of ids in a bucket; others' events may carry one of them, such as a trace id.
        let noted = "(SELECT id FROM erasing WHERE erasure = unhex({erasure:String}))";
        let own = |kind: &str| format!("if(kind = '{kind}', id, {kind})");
        let any = |name: &str| format!("{name} IN {noted}");
        let carried = ["correlation_id", "request_id", "edge_request_id", "trace_id"];
        let ids = format!(
            "tenant = {{tenant:String}} AND {range} AND ({} OR {}) AND (bucket, {}) NOT IN \
             (SELECT bucket, {} FROM events WHERE tenant = {{tenant:String}} AND {range} AND ({}))",
            any("id"),
            carried.map(any).join(" OR "),
            carried.map(own).join(", "),
            carried.join(", "),
            carried.map(any).join(" OR "),
        );
        let before = self.count("ids", &ids, scope, erasure).await?;
        self.delete("ids", &ids, scope, erasure).await?;
        let after = self.count("ids", &ids, scope, erasure).await?;
        self.delete("exports", EXPORTS, scope, erasure).await?;
        if !scope.pattern.is_empty() {
            self.erase_rejects(scope, erasure).await?;
        }
        Ok((before, after))
    }

    /// Notes the rejects first: a statement that deletes stays on the disk as text, and must not hold the value.
    async fn erase_rejects(&self, scope: &Scope, erasure: u128) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO erasing (erasure, event_key, id) SELECT toFixedString(unhex({{erasure:String}}), 16), 0, \
             {REJECT_KEY} FROM rejects WHERE {REJECTS}"
        );
        let query = scoped(self.client.query_raw(&sql), scope)
            .param("erasure", format!("{erasure:032x}"))
            .param("pattern", &scope.pattern);
        query.execute().await.map_err(failed("note the rejects of an erasure"))?;
        let noted = format!(
            "tenant = {{tenant:String}} AND {REJECT_KEY} IN \
             (SELECT id FROM erasing WHERE erasure = unhex({{erasure:String}}) AND event_key = 0)"
        );
        self.note_in_ledger("rejects", &noted, scope, erasure).await?;
        self.delete("rejects", &noted, scope, erasure).await
    }

    /// What was received and is erased is not missing. A process that dies between this and the deletion counts the rows
    /// twice, and the ledger then says that it lacks entries, never that rows are lost.
    async fn note_in_ledger(
        &self,
        table: &str,
        condition: &str,
        scope: &Scope,
        erasure: u128,
    ) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO ledger (tenant, minute, source, counter, total) SELECT tenant, \
             toStartOfMinute(toDateTime(received_ns, 'UTC')), source, {{counter:String}}, count() FROM {table} \
             WHERE {condition} GROUP BY tenant, toStartOfMinute(toDateTime(received_ns, 'UTC')), source"
        );
        let query = scoped(self.client.query_raw(&sql), scope)
            // Two erasures that take as many rows are two.
            .with_setting("insert_deduplicate", "0")
            .param("counter", crate::batch::ledger::ERASED)
            .param("erasure", format!("{erasure:032x}"));
        query.execute().await.map_err(failed("note in the ledger what is erased"))
    }

    async fn count(
        &self,
        table: &str,
        condition: &str,
        scope: &Scope,
        erasure: u128,
    ) -> Result<u64, StoreError> {
        let sql = format!("SELECT count() FROM {table} WHERE {condition}");
        let query = scoped(self.client.query_raw(&sql), scope).param("erasure", format!("{erasure:032x}"));
        query.fetch_one().await.map_err(failed("count the rows of an erasure"))
    }

    /// Rows of events and of decisions that are left of what is noted.
    pub async fn left_of(&self, scope: &Scope, erasure: u128) -> Result<(u64, u64), StoreError> {
        let events = "tenant = {tenant:String} AND event_key IN \
                      (SELECT event_key FROM erasing WHERE erasure = unhex({erasure:String}) AND event_key != 0)";
        let events = self.count("events", events, scope, erasure).await?;
        Ok((events, self.count("exports", EXPORTS, scope, erasure).await?))
    }

    /// Forgets what was noted.
    pub async fn forget_erasing(&self, erasure: u128) -> Result<(), StoreError> {
        let sql = self.rendered("ALTER TABLE {table:erasing} {on_cluster} DROP PARTITION {erasure:String}");
        // The key of a partition is the value of the column: sixteen bytes, written as an expression.
        let sql =
            sql.replace("{erasure:String}", &format!("tuple(toFixedString(unhex('{erasure:032x}'), 16))"));
        self.run(&sql, "forget what an erasure noted").await
    }

    /// Segments, still kept for correlation, whose receipt overlaps these moments (unix nanoseconds).
    pub async fn recent_segments(&self, first_ns: i64, last_ns: i64) -> Result<Vec<[u8; 16]>, StoreError> {
        let sql = "SELECT DISTINCT segment FROM recent WHERE segment NOT IN (SELECT segment FROM shipped \
                   WHERE last_received_ns < fromUnixTimestamp64Nano({first:Int64}, 'UTC') \
                   OR first_received_ns > fromUnixTimestamp64Nano({last:Int64}, 'UTC'))";
        let query = self.read(sql).param("first", first_ns).param("last", last_ns);
        let rows: Vec<Segment> = query.fetch_all().await.map_err(failed("find recent segments"))?;
        Ok(rows.into_iter().map(|row| row.segment).collect())
    }

    /// Everything kept of one segment for correlation.
    pub async fn recent_parts(&self, segment: [u8; 16]) -> Result<Vec<RecentPart>, StoreError> {
        let what = "read recent events";
        let sql = "SELECT chunk, events, bytes FROM recent WHERE segment = unhex({segment:String}) \
                   ORDER BY chunk LIMIT 1 BY chunk";
        let query = self.read(sql).param("segment", format!("{:032x}", u128::from_be_bytes(segment)));
        let mut cursor = query.fetch_bytes("RowBinary").map_err(failed(what))?;
        let answer = cursor.collect().await.map_err(failed(what))?;
        let mut reader = Reader::new(&answer);
        let mut parts = Vec::new();
        let mut read = || {
            while !reader.is_empty() {
                let (chunk, events) = (Cell::take(&mut reader)?, Cell::take(&mut reader)?);
                parts.push(RecentPart { chunk, events, packed: reader.bytes()?.to_vec() });
            }
            Ok(())
        };
        read().map_err(|source| StoreError::Answer { what, source })?;
        Ok(parts)
    }

    /// Adds the rows that stand in for others, and then deletes those, as (segment, chunk). Until both are done events
    /// are there twice, which correlation folds.
    pub async fn replace_recent(
        &self,
        erasure: u128,
        segment: [u8; 16],
        instead: &[RecentPart],
    ) -> Result<(), InsertError> {
        let mut batch = crate::batch::recent_block();
        for part in instead {
            crate::batch::put_recent(&mut batch, segment, part.chunk, part.events, &part.packed);
        }
        let of = u128::from_be_bytes(segment);
        self.insert_block("recent", &batch, format!("{erasure:032x}-{of:032x}-recent")).await
    }

    /// Deletes rows of `recent` by segment and chunk.
    pub async fn delete_recent(&self, places: &[([u8; 16], u32)]) -> Result<(), StoreError> {
        let name =
            |(segment, chunk): &([u8; 16], u32)| format!("{:032X}-{chunk}", u128::from_be_bytes(*segment));
        let condition = "has({places:Array(String)}, concat(hex(segment), '-', toString(chunk)))";
        for part in places.chunks(PLACES_AT_ONCE) {
            let places: Vec<String> = part.iter().map(name).collect();
            self.mutation("recent", condition)
                .param("places", places)
                .execute()
                .await
                .map_err(failed("delete recent events"))?;
        }
        Ok(())
    }

    /// Until [`Self::end_erasing`]: old parts go at once, and merges are fsynced.
    pub async fn begin_erasing(&self) -> Result<(), StoreError> {
        self.settings("MODIFY SETTING old_parts_lifetime = 1, min_rows_to_fsync_after_merge = 1").await
    }

    /// How many old parts with rows are still on the disk. Those without are what is left where all rows were deleted.
    pub async fn old_parts(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND NOT active AND rows > 0 \
                   AND has({tables:Array(String)}, replaceRegexpOne(table, '_local$', ''))";
        let query = self.read(sql).param("tables", TABLES.map(str::to_owned).to_vec());
        query.fetch_one().await.map_err(failed("look for old parts"))
    }

    /// Sets the tables back to what they were.
    pub async fn end_erasing(&self) -> Result<(), StoreError> {
        self.settings("RESET SETTING old_parts_lifetime, min_rows_to_fsync_after_merge").await
    }

    async fn settings(&self, change: &str) -> Result<(), StoreError> {
        for table in TABLES {
            let sql = self.rendered(&format!("ALTER TABLE {{table:{table}}} {{on_cluster}} {change}"));
            self.run(&sql, "set how long old parts stay").await?;
        }
        Ok(())
    }

    async fn delete(
        &self,
        table: &str,
        condition: &str,
        scope: &Scope,
        erasure: u128,
    ) -> Result<(), StoreError> {
        let query = scoped(self.mutation(table, condition), scope)
            .with_setting("max_execution_time", MUTATION_TIME_S.to_string())
            .param("erasure", format!("{erasure:032x}"));
        query.execute().await.map_err(failed("delete rows of an erasure"))
    }

    fn mutation(&self, table: &str, condition: &str) -> clickhouse::query::Query {
        let head = self.rendered(&format!("ALTER TABLE {{table:{table}}} {{on_cluster}} DELETE WHERE "));
        self.client
            .query_raw(&(head + condition))
            .with_setting("mutations_sync", "2")
            .with_setting("allow_nondeterministic_mutations", "1")
    }

    fn rendered(&self, sql: &str) -> String {
        let (cluster, retention) = (self.endpoint.cluster.as_deref(), &Retention::DEFAULT);
        render(sql, Setting { cluster, fsync: self.endpoint.fsync, retention })
    }
}
