//! Hop events out of the store, by place.

use event::HopEvent;

use crate::batch::events::{FIELDS, take};
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::locator::Locator;
use crate::native::{Malformed, Reader};

/// A hop event as the store gives it back; fields that were not asked for are absent.
pub type EventRow = HopEvent<'static>;

/// Most events of one answer.
pub const MAX_EVENTS: usize = 10_000;

/// Which fields are read. The cost of a read grows with the number of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// What puts a request's events in order and says what happened.
    Waterfall,
    /// Every field.
    All,
}

/// What a waterfall does without.
const DETAILS: &[&str] = &[
    "source",
    "format",
    "request_id_reason",
    "scheme",
    "query",
    "upstream_path",
    "termination_details",
    "user_agent",
    "referer",
    "content_type",
    "request_header_bytes",
    "response_header_bytes",
    "forwarded_for",
    "downstream_local",
    "upstream_local",
    "tls_version",
    "tls_cipher",
    "ja3",
    "ja4",
    "country",
    "asn",
    "service_version",
    "workload_revision",
    "mesh_cluster",
    "policy_version",
    "issuer",
    "key_id",
    "attributes",
];

impl Columns {
    /// Positions in the table of fields.
    fn fields(self) -> Vec<usize> {
        let asked = |name: &str| self == Self::All || !DETAILS.contains(&name);
        (0..FIELDS.len()).filter(|&index| FIELDS.get(index).is_some_and(|field| asked(field.0))).collect()
    }

    /// The list for a `SELECT`.
    pub(super) fn sql(self) -> String {
        let names: Vec<_> =
            self.fields().into_iter().filter_map(|index| FIELDS.get(index)).map(|it| it.0).collect();
        names.join(", ")
    }

    /// Reads an answer in `RowBinary`.
    fn decode(self, answer: &[u8]) -> Result<Vec<EventRow>, Malformed> {
        let fields = self.fields();
        let mut reader = Reader::new(answer);
        let mut rows = Vec::new();
        while !reader.is_empty() {
            let mut event = EventRow::default();
            for &index in &fields {
                take(index, &mut event, &mut reader)?;
            }
            rows.push(event);
        }
        Ok(rows)
    }
}

impl Store {
    /// The events at `places`: those of the requests looked for; other requests' only by a 64-bit accident. An event that
    /// was delivered twice comes twice, in the order of receipt: whoever folds it says so. At most [`MAX_EVENTS`].
    pub async fn events_at(
        &self,
        tenant: &str,
        places: &[Locator],
        columns: Columns,
    ) -> Result<Vec<EventRow>, StoreError> {
        let (Some(first), Some(last)) = (
            places.iter().map(|place| place.bucket_s).min(),
            places.iter().map(|place| place.bucket_s).max(),
        ) else {
            return Ok(Vec::new());
        };
        // The range lets whole partitions be left out before the set is looked at.
        let sql = format!(
            "SELECT {} FROM events WHERE tenant = {{tenant:String}} \
             AND bucket BETWEEN toDateTime({{first:UInt32}}, 'UTC') AND toDateTime({{last:UInt32}}, 'UTC') \
             AND (bucket, locator) IN (SELECT toDateTime(place.1, 'UTC'), place.2 FROM \
             (SELECT arrayJoin(arrayZip({{buckets:Array(UInt32)}}, {{keys:Array(UInt64)}})) AS place)) \
             ORDER BY received_ns, event_key LIMIT {MAX_EVENTS}",
            columns.sql()
        );
        let query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", first)
            .param("last", last)
            .param("buckets", places.iter().map(|place| place.bucket_s).collect::<Vec<_>>())
            .param("keys", places.iter().map(|place| place.key).collect::<Vec<_>>());
        rows(query, columns, "read events").await
    }
}

/// Runs a query whose columns are `columns`.
pub(super) async fn rows(
    query: clickhouse::query::Query,
    columns: Columns,
    what: &'static str,
) -> Result<Vec<EventRow>, StoreError> {
    let mut cursor = query.fetch_bytes("RowBinary").map_err(failed(what))?;
    let answer = cursor.collect().await.map_err(failed(what))?;
    columns.decode(&answer).map_err(|source| StoreError::Answer { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waterfall_leaves_out_only_fields_that_exist() {
        for name in DETAILS {
            assert!(FIELDS.iter().any(|field| field.0 == *name), "{name}");
        }
        assert_eq!(Columns::Waterfall.fields().len() + DETAILS.len(), FIELDS.len());
    }
}
