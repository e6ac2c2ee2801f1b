//! What a client of the public port may run: statements that read, and read only inside the engine.
//!
//! `readonly=1` on the connection is not enough. With it the engine still runs `SELECT … INTO OUTFILE`, the ordinary
//! function `file('/etc/passwd')`, and `SELECT * FROM '/etc/passwd'` (its `default` database is laid over the file
//! system). So the engine's own parser is asked what the statement is made of, by `EXPLAIN AST`.

use crate::connection::{Analysis, Connection, EngineError, Parameters};
use crate::pool::Engine;

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
    match String::from_utf8_lossy(&tree).lines().find_map(|node| reaches_outside(engine, node)) {
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
    if kind == "Function" {
        let name = rest.split(' ').next().unwrap_or_default();
        return engine
            .forbids(name)
            .then(|| format!("{name}() reaches outside the engine; this port does not run it"));
    }
    let outside = node.starts_with('/')
        || (kind.ends_with("dentifier") || kind.ends_with("Query"))
            && rest.contains(['/', '\\', '*', '?', '{']);
    outside.then(|| format!("the name {rest:?} could be a file's; this port reads no files"))
}
