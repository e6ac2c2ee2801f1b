//! Rejects, for a person who asks why a line is not there.

use std::borrow::Cow;

use event::{Reject, RejectReason};

use super::events::MAX_EVENTS;
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::native::{Cell, Malformed, Reader};

/// Which rejects; absent means any.
#[derive(Debug, Clone, Default)]
pub struct RejectFilter {
    /// The configured input.
    pub source: Option<String>,
    /// Why.
    pub reason: Option<RejectReason>,
    /// Received before, unix nanoseconds: where the page before ended.
    pub before_ns: Option<i64>,
    /// Most to return, at most [`MAX_EVENTS`]; 0 for 100.
    pub limit: usize,
}

impl Store {
    /// Rejects that fit, newest first.
    pub async fn rejects(
        &self,
        tenant: &str,
        filter: &RejectFilter,
    ) -> Result<Vec<Reject<'static>>, StoreError> {
        let what = "read rejects";
        let mut sql = String::from(
            "SELECT received_ns, tenant, source, format, reason, detail, offset, length, bytes FROM rejects \
             WHERE tenant = {tenant:String}",
        );
        if filter.source.is_some() {
            sql.push_str(" AND source = {source:String}");
        }
        if filter.reason.is_some() {
            sql.push_str(" AND reason = {reason:String}");
        }
        if filter.before_ns.is_some() {
            sql.push_str(" AND received_ns < fromUnixTimestamp64Nano({before:Int64}, 'UTC')");
        }
        sql.push_str(" ORDER BY received_ns DESC LIMIT {limit:UInt32}");
        let limit = if filter.limit == 0 { 100 } else { filter.limit.min(MAX_EVENTS) };
        let mut query = self.read(&sql).param("tenant", tenant).param("limit", limit as u32);
        if let Some(source) = &filter.source {
            query = query.param("source", source);
        }
        if let Some(reason) = filter.reason {
            query = query.param("reason", reason.name());
        }
        if let Some(before) = filter.before_ns {
            query = query.param("before", before);
        }
        let mut cursor = query.fetch_bytes("RowBinary").map_err(failed(what))?;
        let answer = cursor.collect().await.map_err(failed(what))?;
        decode(&answer).map_err(|source| StoreError::Answer { what, source })
    }
}

fn decode(answer: &[u8]) -> Result<Vec<Reject<'static>>, Malformed> {
    let mut reader = Reader::new(answer);
    let mut rows = Vec::new();
    while !reader.is_empty() {
        let bytes: fn(&mut Reader<'_>) -> Result<Cow<'static, [u8]>, Malformed> = Cell::take;
        rows.push(Reject {
            received_ns: Cell::take(&mut reader)?,
            tenant: Cell::take(&mut reader)?,
            source: Cell::take(&mut reader)?,
            format: Cell::take(&mut reader)?,
            reason: Cell::take(&mut reader)?,
            detail: Cell::take(&mut reader)?,
            offset: Cell::take(&mut reader)?,
            length: Cell::take(&mut reader)?,
            bytes: bytes(&mut reader)?,
        });
    }
    Ok(rows)
}
