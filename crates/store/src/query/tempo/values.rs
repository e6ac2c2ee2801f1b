//! Which values an attribute has lately, and which unmapped fields there are.

use super::column::Column;
use super::filter::{Filter, Operand, Parameters};
use super::search::Range;
use crate::client::{Store, failed};
use crate::error::StoreError;

/// How far back values are looked for where no range is given, by receipt.
const LOOK_BACK_S: u32 = 6 * 3_600;
/// Different values counted at most: of an attribute with more, such as a path, some are shown.
const MOST_GROUPS: u32 = 100_000;
/// Records whose unmapped fields are read: enough to meet every format.
const SAMPLED_RECORDS: u32 = 100_000;

impl Store {
    /// Values of `operand` among the records that fit, as text, most frequent first, at most `limit`. Looks at the last
    /// six hours of receipt where the range has no beginning.
    pub async fn values_of(
        &self,
        tenant: &str,
        operand: &Operand,
        filter: &Filter,
        range: Range,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let Some((oldest_s, newest_s)) = self.received_range(tenant).await? else { return Ok(Vec::new()) };
        let mut parameters = Parameters::new();
        let value = match operand {
            Operand::Column(column) => column.text(),
            Operand::Attribute(name) => {
                parameters.push(("p0".to_owned(), name.clone()));
                Column::attribute("{p0:String}").text()
            }
        };
        let (range_sql, filter) = (range.sql(&mut parameters), filter.sql(&mut parameters));
        let sql = format!(
            "SELECT {value} AS value FROM events WHERE tenant = {{tenant:String}} \
             AND bucket >= toDateTime({{first:UInt32}}, 'UTC') AND {range_sql} AND {filter} AND value != '' \
             GROUP BY value ORDER BY count() DESC, value LIMIT {{limit:UInt64}} \
             SETTINGS max_rows_to_group_by = {MOST_GROUPS}, group_by_overflow_mode = 'any'"
        );
        let mut query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", first_bucket_s(range, oldest_s, newest_s))
            .param("limit", limit as u64);
        for (name, value) in parameters {
            query = query.param(&name, value);
        }
        query.fetch_all().await.map_err(failed("read values of an attribute"))
    }

    /// Names of unmapped fields among recent records, most frequent first, at most `limit`.
    pub async fn attribute_names(
        &self,
        tenant: &str,
        range: Range,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let Some((oldest_s, newest_s)) = self.received_range(tenant).await? else { return Ok(Vec::new()) };
        let mut parameters = Parameters::new();
        let range_sql = range.sql(&mut parameters);
        let sql = format!(
            "SELECT toString(arrayJoin(names)) AS name FROM (SELECT mapKeys(attributes) AS names FROM events \
             WHERE tenant = {{tenant:String}} AND bucket >= toDateTime({{first:UInt32}}, 'UTC') AND {range_sql} \
             AND notEmpty(names) LIMIT {SAMPLED_RECORDS}) GROUP BY name ORDER BY count() DESC, name LIMIT {{limit:UInt64}}"
        );
        let mut query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", first_bucket_s(range, oldest_s, newest_s))
            .param("limit", limit as u64);
        for (name, value) in parameters {
            query = query.param(&name, value);
        }
        query.fetch_all().await.map_err(failed("read names of attributes"))
    }
}

/// The first bucket of receipt to read.
fn first_bucket_s(range: Range, oldest_s: u32, newest_s: u32) -> u32 {
    match range.from_ns {
        Some(_) => range.oldest_bucket_s(oldest_s),
        None => newest_s.saturating_sub(LOOK_BACK_S).max(oldest_s),
    }
}
