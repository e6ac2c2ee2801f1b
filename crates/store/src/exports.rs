//! What was decided about settled requests: written once per decision, asked again when late records come and after a
//! restart.

use std::borrow::Cow;

use clickhouse::Row;
use correlation::IdKind;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::{InsertError, StoreError};
use crate::native::{Block, Cell, Column, Layout};
use crate::query::hex_list;

/// Most decisions of one id that are read: more than so many late deliveries of one request are an attack or a loop.
const MAX_ROWS_PER_ID: usize = 100;

/// What was decided about a request. Stored as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The receiver has its spans.
    Exported,
    /// No rule keeps it.
    LeftOut,
    /// The receiver refused its spans for good.
    Refused,
    /// It has not ended: its last record is periodic. The final one will be looked at again.
    Running,
    /// It is an export request of ours.
    Own,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 5] = [Self::Exported, Self::LeftOut, Self::Refused, Self::Running, Self::Own];

    /// Its word in columns and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::LeftOut => "left_out",
            Self::Refused => "refused",
            Self::Running => "running",
            Self::Own => "own",
        }
    }
}

/// One decision about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Whose request.
    pub tenant: String,
    /// Its canonical id; `None` if no record carries an id.
    pub id: Option<(IdKind, u128)>,
    /// The trace id it has in the receiver.
    pub trace_id: u128,
    /// What was decided.
    pub decision: Decision,
    /// What decided: a rule's name, or the receiver's word.
    pub rule: String,
    /// Spans sent.
    pub spans: u32,
    /// The events that the decision covers.
    pub event_keys: Vec<u64>,
}

#[derive(Row, Deserialize)]
struct Wire {
    id: [u8; 16],
    kind: i8,
    trace_id: [u8; 16],
    decision: String,
    rule: String,
    spans: u32,
    event_keys: Vec<u64>,
}

#[derive(Row, Deserialize)]
struct Known {
    id: [u8; 16],
    event_keys: Vec<u64>,
}

impl Store {
    /// Writes decisions, as one block under `token`: repeating it with the same rows adds nothing.
    pub async fn note_decisions(&self, decided: &[Decided], token: u128) -> Result<(), InsertError> {
        let mut block = Block::new([
            ("tenant", "String", Layout::Text),
            ("id", u128::TYPE, u128::LAYOUT),
            ("kind", "Int8", u8::LAYOUT),
            ("trace_id", u128::TYPE, u128::LAYOUT),
            ("decision", "String", Layout::Text),
            ("rule", "String", Layout::Text),
            ("spans", u32::TYPE, u32::LAYOUT),
            ("event_keys", Vec::<u64>::TYPE, Vec::<u64>::LAYOUT),
        ]);
        for one in decided {
            let mut columns = block.columns.iter_mut();
            put(&mut columns, &Cow::Borrowed(one.tenant.as_str()));
            put(&mut columns, &one.id.map_or(one.trace_id, |(_, id)| id));
            put(&mut columns, &one.id.map_or(0, |(kind, _)| kind as u8));
            put(&mut columns, &one.trace_id);
            put(&mut columns, &Cow::Borrowed(one.decision.name()));
            put(&mut columns, &Cow::Borrowed(one.rule.as_str()));
            put(&mut columns, &one.spans);
            put(&mut columns, &one.event_keys);
            block.rows += 1;
        }
        self.insert_block("exports", &block, format!("{token:032x}-exports")).await
    }

    /// What was decided about requests whose canonical id was one of `ids`, oldest first.
    pub async fn decisions_of(&self, tenant: &str, ids: &[u128]) -> Result<Vec<Decided>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT id, kind, trace_id, decision, rule, spans, event_keys FROM exports \
             WHERE tenant = {{tenant:String}} AND id IN \
             (SELECT toFixedString(unhex(arrayJoin({{ids:Array(String)}})), 16)) \
             ORDER BY decided_at LIMIT {MAX_ROWS_PER_ID} BY id"
        );
        let rows: Vec<Wire> = self
            .read(&sql)
            .param("tenant", tenant)
            .param("ids", hex_list(ids))
            .fetch_all()
            .await
            .map_err(failed("read decisions about requests"))?;
        let known = |row: Wire| {
            let word = Decision::ALL.into_iter().find(|decision| decision.name() == row.decision)?;
            let id = u128::from_be_bytes(row.id);
            Some(Decided {
                tenant: tenant.to_owned(),
                id: IdKind::ALL.into_iter().find(|kind| *kind as i8 == row.kind).map(|kind| (kind, id)),
                trace_id: u128::from_be_bytes(row.trace_id),
                decision: word,
                rule: row.rule,
                spans: row.spans,
                event_keys: row.event_keys,
            })
        };
        // A newer version's word is passed over: its requests are decided again, with equal span ids.
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// Hands the ids and event keys of the newest decisions since a moment (unix microseconds by the store's clock) to
    /// `each`, newest first, at most `limit` decisions; how many there were.
    pub async fn decided_since(
        &self,
        since_us: i64,
        limit: u32,
        mut each: impl FnMut(u128, &[u64]),
    ) -> Result<u64, StoreError> {
        let what = "read recent decisions";
        let sql = "SELECT id, event_keys FROM exports \
                   WHERE decided_at > fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
                   ORDER BY decided_at DESC LIMIT {limit:UInt32}";
        let query = self.read(sql).param("since", since_us).param("limit", limit);
        let mut rows = query.fetch::<Known>().map_err(failed(what))?;
        let mut count = 0;
        while let Some(row) = rows.next().await.map_err(failed(what))? {
            each(u128::from_be_bytes(row.id), &row.event_keys);
            count += 1;
        }
        Ok(count)
    }

    /// The events of which something was decided since a moment, ascending, at most `limit`.
    pub async fn keys_decided_since(&self, since_us: i64, limit: u32) -> Result<Vec<u64>, StoreError> {
        let what = "read which events are decided";
        let sql = "SELECT arrayJoin(event_keys) FROM exports \
                   WHERE decided_at > fromUnixTimestamp64Micro({since:Int64}, 'UTC') LIMIT {limit:UInt32}";
        let query = self.read(sql).param("since", since_us).param("limit", limit);
        let mut keys: Vec<u64> = query.fetch_all().await.map_err(failed(what))?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// Puts the next column's value.
fn put<'c, T: Cell>(columns: &mut impl Iterator<Item = &'c mut Column>, value: &T) {
    if let Some(column) = columns.next() {
        value.put(column);
    }
}
