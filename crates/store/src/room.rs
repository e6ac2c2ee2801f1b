//! Room in the store: what its tables take, and which of their oldest partitions go when that is too much.
//!
//! Whole partitions, because deleting rows needs room first. Sums by minute and the ledger stay: they are small, and say what
//! there was.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// Tables whose old partitions may go, and the days that one of them covers.
const DROPPED: [(&str, u16); 5] = [("events", 1), ("rejects", 1), ("ids", 7), ("shipped", 7), ("exports", 7)];

/// Active parts of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct Partition {
    /// Its table.
    pub table: String,
    /// ClickHouse's name of it, for a day `20261122`.
    pub id: String,
    /// The first day in it, in days since 1970-01-01; 0 where it is not by days.
    pub first_day: u16,
    /// Rows, before rows of equal keys collapse.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Partition {
    /// The first day after it, if it may be dropped at all.
    fn ends(&self) -> Option<u16> {
        let (_, days) = DROPPED.iter().find(|(table, _)| *table == self.table)?;
        (self.first_day > 0).then(|| self.first_day.saturating_add(*days))
    }
}

/// What the store takes, on a server of its own. A cluster is not looked at: each of its servers has a disk of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Every partition of every table of ours.
    pub partitions: Vec<Partition>,
    /// The store's day, UTC, in days since 1970-01-01.
    pub today: u16,
}

impl Room {
    /// Bytes on disk of all tables. Parts that merges have replaced, which lie there for minutes more, do not count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes).sum()
    }

    /// The oldest partitions without which no more than `max_bytes` are left, as far as there are any: what was received
    /// today is never among them.
    pub fn beyond(&self, max_bytes: u64) -> impl Iterator<Item = &Partition> {
        let mut old: Vec<(u16, &Partition)> = self
            .partitions
            .iter()
            .filter_map(|partition| Some((partition.ends()?, partition)))
            .filter(|(ends, _)| *ends <= self.today)
            .collect();
        old.sort_by_key(|(ends, partition)| (*ends, std::cmp::Reverse(partition.bytes)));
        let mut left = self.bytes();
        old.into_iter().map_while(move |(_, partition)| {
            (left > max_bytes).then(|| {
                left -= partition.bytes;
                partition
            })
        })
    }
}

impl Store {
    /// What the tables take on this server.
    pub async fn room(&self) -> Result<Room, StoreError> {
        let sql = "SELECT table, partition_id AS id, toUInt16(toDateOrZero(any(partition))) AS first_day, \
                   sum(rows) AS rows, sum(bytes_on_disk) AS bytes \
                   FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition_id \
                   ORDER BY table, partition_id";
        let partitions = self.read(sql).fetch_all().await.map_err(failed("read what the tables take"))?;
        let today = "SELECT toUInt16(toDate(now(), 'UTC'))";
        let today = self.read(today).fetch_one().await.map_err(failed("read the store's day"))?;
        Ok(Room { partitions, today })
    }

    /// Deletes a partition of [`Room::beyond`], for good. A second time is no error.
    pub async fn drop_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        let Partition { table, id, .. } = partition;
        debug_assert!(id.bytes().all(|byte| byte.is_ascii_digit()), "{id} is no partition by days");
        self.run(&format!("ALTER TABLE {table} DROP PARTITION ID '{id}'"), "drop an old partition").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(partitions: &[(&str, u16, u64)]) -> Room {
        let partition = |&(table, first_day, bytes): &(&str, u16, u64)| Partition {
            table: table.to_owned(),
            id: first_day.to_string(),
            first_day,
            rows: 1,
            bytes,
        };
        Room { partitions: partitions.iter().map(partition).collect(), today: 100 }
    }

    fn gone(room: &Room, max_bytes: u64) -> Vec<(&str, u16)> {
        room.beyond(max_bytes).map(|partition| (partition.table.as_str(), partition.first_day)).collect()
    }

    #[test]
    fn the_oldest_go_until_it_fits_and_today_stays() {
        let room = room(&[
            ("events", 98, 50),
            ("events", 99, 50),
            ("events", 100, 50),
            ("ids", 93, 20),
            ("ids", 94, 20),
            ("rejects", 98, 5),
            ("rollup_minute", 70, 10),
            ("recent", 0, 10),
        ]);
        assert_eq!(room.bytes(), 215);
        assert_eq!(gone(&room, 215), []);
        assert_eq!(gone(&room, 214), [("events", 98)]);
        assert_eq!(gone(&room, 161), [("events", 98), ("rejects", 98)]);
        // The week that ended yesterday goes with its last day; the one that holds today stays, and so do the sums.
        let all = [("events", 98), ("rejects", 98), ("events", 99), ("ids", 93)];
        assert_eq!(gone(&room, 0), all);
    }

    #[test]
    fn a_store_of_one_day_has_nothing_to_give() {
        assert_eq!(gone(&room(&[("events", 100, 50), ("ids", 94, 20)]), 1), []);
    }
}
