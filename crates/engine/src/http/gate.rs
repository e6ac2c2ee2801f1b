//! What a client of the public port may run: statements that read, and read only inside the engine.
//!
//! `readonly=1` on the connection is not enough. With it the engine still runs `SELECT … INTO OUTFILE`, the ordinary
//! function `file('/etc/passwd')`, and `SELECT * FROM '/etc/passwd'` (its `default` database is laid over the file
//! system). So the engine's own parser is asked what the statement is made of, by `EXPLAIN AST`.
//!
//! Most tables of `system` stay closed: `processes` shows what others ask, `mutations` what was erased, `disks` and
//! `server_settings` the machine. Settings are let through by name, because some lift bounds (`max_untracked_memory`),
//! write to the disk (`max_bytes_before_external_sort`), name files (`format_schema`) or change the language (`dialect`).

use crate::connection::{Analysis, Connection, EngineError, Parameters};
use crate::http::request::Request;
use crate::pool::Engine;

/// What a statement may be, by the first node of its tree.
const KINDS: &[&str] = &[
    "DescribeQuery",
    "ExistsDatabaseQuery",
    "ExistsTableQuery",
    "ExistsViewQuery",
    "Explain",
    "SelectIntersectExceptQuery",
    "SelectQuery",
    "SelectWithUnionQuery",
    "ShowColumns",
    "ShowCreateDatabaseQuery",
    "ShowCreateTableQuery",
    "ShowCreateViewQuery",
    "ShowEngineQuery",
    "ShowFunctions",
    "ShowSetting",
    "ShowTables",
];

/// Tables of `system` that tell of tables and of the language, as tools ask for them, or make numbers.
const OPEN_SYSTEM_TABLES: &[&str] = &[
    "columns",
    "data_skipping_indices",
    "data_type_families",
    "databases",
    "formats",
    "functions",
    "keywords",
    "numbers",
    "numbers_mt",
    "one",
    "settings",
    "table_engines",
    "table_functions",
    "tables",
    "time_zones",
    "zeros",
    "zeros_mt",
];

/// Databases whose tables are named in full, so that the gate sees which.
const SYSTEM_DATABASES: &[&str] = &["system", "information_schema"];

/// Settings that a client may choose: bounds that it lowers for itself, and how answers look.
const OPEN_SETTINGS: &[&str] = &[
    "allow_ddl",
    "cast_keep_nullable",
    "count_distinct_implementation",
    "date_time_input_format",
    "date_time_output_format",
    "extremes",
    "final",
    "format_csv_delimiter",
    "group_by_use_nulls",
    "join_use_nulls",
    "max_execution_time",
    "max_memory_usage",
    "max_result_bytes",
    "max_result_rows",
    "max_bytes_to_read",
    "max_rows_to_read",
    "prefer_column_name_to_alias",
    "read_overflow_mode",
    "readonly",
    "result_overflow_mode",
    "session_timezone",
    "transform_null_in",
    "union_default_mode",
];

/// Refuses settings and databases that a client of the public port may not choose.
pub(crate) fn check_request(request: &Request) -> Result<(), EngineError> {
    if SYSTEM_DATABASES.contains(&request.database.to_ascii_lowercase().as_str()) {
        return Err(refused(
            "name tables of `system` in full, such as system.tables, instead of choosing it as database",
        ));
    }
    let open = |name: &str| OPEN_SETTINGS.contains(&name) || name.starts_with("output_format_");
    match request.settings.iter().find(|(name, _)| !open(name)) {
        Some((name, _)) => Err(refused(&format!("the setting {name} cannot be chosen on this port"))),
        None => Ok(()),
    }
}

pub(crate) fn refused(what: &str) -> EngineError {
    EngineError::new(164, "READONLY", what)
}

/// Refuses what is not one read-only statement, or reaches outside the engine.
pub(crate) fn check(
    engine: &Engine,
    connection: &mut Connection,
    analysis: Analysis,
    sql: &[u8],
    parameters: &Parameters,
) -> Result<(), EngineError> {
    // What does not parse gets the parser's own message below, and is refused even if that should find no fault.
    if analysis.statements > 0 && !analysis.is_read_only() {
        return Err(refused("this port only reads; use the service's own interface to change anything"));
    }
    let explain = [b"EXPLAIN AST ".as_slice(), sql].concat();
    let tree = connection.execute(&explain, "TSVRaw", parameters)?;
    let tree = String::from_utf8_lossy(&tree);
    let kind = tree.split_whitespace().next().unwrap_or_default();
    if !KINDS.contains(&kind) {
        return Err(refused(&format!("{kind} is not among the statements that this port runs")));
    }
    match tree.lines().find_map(|node| reaches_outside(engine, node)) {
        Some(what) => Err(refused(&what)),
        None if analysis.is_read_only() => Ok(()),
        None => Err(refused("this statement could not be told to be one that only reads")),
    }
}

/// Why a node of the tree is refused.
fn reaches_outside(engine: &Engine, node: &str) -> Option<String> {
    let node = node.trim_start();
    let (kind, rest) = node.split_once(' ').unwrap_or((node, ""));
    if kind == "Literal" {
        return None;
    }
    // `readonly` refuses the clause of the statement, not that of a subquery.
    if node == "Set" {
        return Some("a SETTINGS clause is not taken on this port".to_owned());
    }
    if kind == "Function" {
        let name = rest.split(' ').next().unwrap_or_default();
        return engine
            .forbids(name)
            .then(|| format!("{name}() reaches outside the engine; this port does not run it"));
    }
    if kind.ends_with("dentifier")
        && let Some(table) = rest.strip_prefix("system.")
        && let table = table.split(['.', ' ']).next().unwrap_or_default()
        && !OPEN_SYSTEM_TABLES.contains(&table)
    {
        return Some(format!(
            "system.{table} tells of other people's statements or of the machine; it is closed here"
        ));
    }
    let outside = node.starts_with('/')
        || (kind.ends_with("dentifier") || kind.ends_with("Query"))
            && rest.contains(['/', '\\', '*', '?', '{']);
    outside.then(|| format!("the name {rest:?} could be a file's; this port reads no files"))
}
