//! The statements of `schemas/clickhouse`, carried in the binary. To add one: write the file, add its line.

/// One file of the schema directory.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Directory and name, such as `0001_first/02_events.sql`.
    pub name: &'static str,
    /// Its statement, with placeholders.
    pub sql: &'static str,
}

impl File {
    /// Whether it runs again when its statement changes: it sets how long rows are kept, which follows the
    /// configuration, or defines a view, which holds no rows.
    pub(super) fn is_repeated(&self) -> bool {
        ["retention/", "views/"].iter().any(|directory| self.name.starts_with(directory))
    }

    /// Whether it sets how long rows are kept.
    pub(super) fn is_retention(&self) -> bool {
        self.name.starts_with("retention/")
    }
}

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(File { name: $name, sql: include_str!(concat!("../../../../schemas/clickhouse/", $name)) }),*]
    };
}

/// The schema, in the order it runs.
pub const SCHEMA: &[File] = files![
    "0001_first/01_migrations.sql",
    "0001_first/02_events.sql",
    "0001_first/03_ids.sql",
    "0001_first/04_rejects.sql",
    "0001_first/05_rollup_minute.sql",
    "0001_first/06_shipped.sql",
    "0001_first/07_events_spread.sql",
    "0001_first/08_ids_spread.sql",
    "0001_first/09_rejects_spread.sql",
    "0001_first/10_rollup_minute_spread.sql",
    "0001_first/11_shipped_spread.sql",
    "0001_first/12_migrations_spread.sql",
    "0002_correlate/01_recent.sql",
    "0002_correlate/02_exports.sql",
    "0002_correlate/03_correlate_terms.sql",
    "0002_correlate/04_correlate_progress.sql",
    "0002_correlate/05_skew.sql",
    "0002_correlate/06_recent_spread.sql",
    "0002_correlate/07_exports_spread.sql",
    "0002_correlate/08_correlate_terms_spread.sql",
    "0002_correlate/09_correlate_progress_spread.sql",
    "0002_correlate/10_skew_spread.sql",
    "0003_otel/01_ids_by_text.sql",
    "0003_otel/02_events_by_trace.sql",
    "0003_otel/03_events_by_start.sql",
    "0004_ledger/01_ledger.sql",
    "0004_ledger/02_ledger_spread.sql",
    "0005_erasures/01_erasures.sql",
    "0005_erasures/02_erasing.sql",
    "0005_erasures/03_erasures_spread.sql",
    "0005_erasures/04_erasing_spread.sql",
    "0006_rollup/01_rollup_minute.sql",
    "0006_rollup/02_rollup_minute_spread.sql",
];

/// How long rows are kept, after the schema.
pub const RETENTION: &[File] = files![
    "retention/01_events.sql",
    "retention/02_attributes.sql",
    "retention/03_ids.sql",
    "retention/04_rejects.sql",
    "retention/05_rollup_minute.sql",
    "retention/06_shipped.sql",
    "retention/07_recent.sql",
    "retention/08_exports.sql",
    "retention/09_skew.sql",
    "retention/10_ledger.sql",
];

/// Views in the shape of other schemas, last.
pub const VIEWS: &[File] =
    files!["views/01_otel_traces.sql", "views/02_otel_traces_trace_id_ts.sql", "views/03_otel_logs.sql",];

/// What runs on one server, or on a cluster.
pub(super) fn in_order(cluster: bool) -> impl Iterator<Item = &'static File> {
    all().filter(move |file| cluster || !file.name.ends_with("_spread.sql"))
}

fn all() -> impl Iterator<Item = &'static File> {
    SCHEMA.iter().chain(RETENTION).chain(VIEWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_directory_agree() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/clickhouse");
        let mut found = Vec::new();
        for directory in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
            for file in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
                let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
                found.push(format!("{}/{}", name(&directory), name(&file)));
            }
        }
        found.sort();
        let mut known: Vec<_> = all().map(|file| file.name.to_owned()).collect();
        assert!(known.is_sorted(), "statements run in the order of their names");
        known.sort();
        assert_eq!(known, found);
    }

    #[test]
    fn each_file_is_one_idempotent_statement_that_says_what_it_is_for() {
        for file in all() {
            assert!(file.sql.starts_with("-- "), "{}", file.name);
            assert!(!file.sql.contains(';'), "{}: one statement, no semicolon", file.name);
            let idempotent = ["IF NOT EXISTS", " MODIFY ", "CREATE OR REPLACE VIEW"];
            assert!(idempotent.iter().any(|words| file.sql.contains(words)), "{}", file.name);
        }
    }
}
