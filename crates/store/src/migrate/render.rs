//! The statements of `schemas/clickhouse` with their placeholders filled in.
//!
//! | placeholder | one server | cluster `c` |
//! |---|---|---|
//! | `{table:events}` | `events` | `events_local` |
//! | `{on_cluster}` | nothing | ``ON CLUSTER `c` `` |
//! | `{engine:MergeTree}`, with or without arguments | `MergeTree` | `ReplicatedMergeTree('…/{table}', '{replica}')` |
//! | `{cluster}` | not used | `` `c` `` |
//! | `{days:events}` | days of retention of the class | the same |
//! | `{hours:recent}` | hours that `recent` is kept | the same |
//! | `{fsync}` | `1` or `0`, by [`Setting::fsync`] | the same |
//! | `{dedup_window}` | [`DEDUP_WINDOW`] | the same |
//!
//! A file whose name ends in `_spread.sql` is for clusters only. The cluster's form is parsed by the engine in a test
//! and has not run on a cluster.

/// Inserts into one table after which a repeated one is no longer known. At one segment a second and table this is
/// almost three hours of everybody's inserts between the two attempts on one segment; each remembered token is about a
/// hundred bytes of memory.
pub const DEDUP_WINDOW: u32 = 10_000;

/// What the placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Name of the cluster; `None` for one server.
    pub cluster: Option<&'a str>,
    /// Whether an insert answers only after its part is fsynced. A setting of the tables, not of a statement, so it
    /// holds for tables made from then on.
    pub fsync: bool,
    /// How long rows are kept.
    pub retention: &'a Retention,
}

/// How long each class of rows is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Attributes of events: what the schema has no field for.
    pub attributes_days: u32,
    /// Hop events that went well.
    pub events_days: u32,
    /// Hop events that failed or were denied, and the id table that leads to them.
    pub errors_days: u32,
    /// Rejects.
    pub rejects_days: u32,
    /// Per-minute rollups.
    pub rollups_days: u32,
    /// Events in the form that correlation reads.
    pub recent_hours: u32,
}

impl Retention {
    /// A week to see what the schema missed, a month of requests, a quarter of failures, thirteen months of trends, and
    /// two hours in which a trace receiver may be away.
    pub const DEFAULT: Self = Self {
        attributes_days: 7,
        events_days: 30,
        errors_days: 90,
        rejects_days: 14,
        rollups_days: 400,
        recent_hours: 2,
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Fills in one statement. Unknown placeholders stay, and make the statement a syntax error.
pub fn render(sql: &str, setting: Setting<'_>) -> String {
    let mut out = String::with_capacity(sql.len() + 512);
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match value(name, setting) {
            Some(text) => out.push_str(&text),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn value(name: &str, setting: Setting<'_>) -> Option<String> {
    let Setting { cluster, fsync, retention } = setting;
    let quoted = cluster.map(|name| format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`")));
    let (kind, argument) = name.split_once(':').unwrap_or((name, ""));
    Some(match kind {
        "table" if cluster.is_some() => format!("{argument}_local"),
        "table" => argument.to_owned(),
        "on_cluster" => quoted.map(|name| format!("ON CLUSTER {name}")).unwrap_or_default(),
        "cluster" => quoted.unwrap_or_default(),
        "engine" if cluster.is_some() => replicated(argument),
        "engine" => argument.to_owned(),
        "fsync" => u8::from(fsync).to_string(),
        "dedup_window" => DEDUP_WINDOW.to_string(),
        "days" => match argument {
            "attributes" => retention.attributes_days,
            "events" => retention.events_days,
            "errors" => retention.errors_days,
            "rejects" => retention.rejects_days,
            "rollups" => retention.rollups_days,
            _ => return None,
        }
        .to_string(),
        "hours" if argument == "recent" => retention.recent_hours.to_string(),
        _ => return None,
    })
}

/// `SummingMergeTree(x)` to its replicated form; shard, database, table and replica are the server's own macros.
fn replicated(engine: &str) -> String {
    let (family, arguments) = match engine.split_once('(') {
        Some((family, rest)) => (family, format!(", {}", rest.strip_suffix(')').unwrap_or(rest))),
        None => (engine, String::new()),
    };
    format!(
        "Replicated{family}('/clickhouse/tables/{{shard}}/{{database}}/{{table}}', '{{replica}}'{arguments})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::files;

    fn setting(cluster: Option<&str>) -> Setting<'_> {
        const KEPT: &Retention = &Retention::DEFAULT;
        Setting { cluster, fsync: true, retention: KEPT }
    }

    #[test]
    fn no_placeholder_is_left_over() {
        for cluster in [None, Some("c")] {
            for file in files::in_order(cluster.is_some()) {
                let statement = render(file.sql, setting(cluster));
                let rest = ["{shard}", "{database}", "{table}", "{replica}"]
                    .iter()
                    .fold(statement, |text, allowed| text.replace(allowed, ""));
                assert!(!rest.contains('{'), "{}: {rest}", file.name);
            }
        }
    }

    #[test]
    fn a_cluster_gets_replicated_engines_with_their_arguments() {
        let sql = "CREATE TABLE {table:t} {on_cluster} ENGINE = {engine:SummingMergeTree((a, b))}";
        assert_eq!(
            render(sql, setting(Some("c"))),
            "CREATE TABLE t_local ON CLUSTER `c` ENGINE = ReplicatedSummingMergeTree(\
             '/clickhouse/tables/{shard}/{database}/{table}', '{replica}', (a, b))"
        );
        assert_eq!(render(sql, setting(None)), "CREATE TABLE t  ENGINE = SummingMergeTree((a, b))");
    }
}
