//! What can go wrong with the store, whose fault it is, and whether waiting helps.

use crate::native::Malformed;

/// Whose fault a failure is, which says what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store is away, busy or out of memory: the same call later may work.
    Transient,
    /// Access, schema or configuration: a person must act; the same call works once they have.
    Setup,
    /// The rows themselves: the same bytes will be refused for ever.
    Rows,
}

/// A statement that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer, or answered with an error.
    #[error("{what} in ClickHouse: {source}")]
    Statement {
        /// What was being done, as a verb phrase.
        what: &'static str,
        /// The client's error; a server's text starts with `Code: `.
        source: Box<clickhouse::error::Error>,
    },
    /// The answer could not be read.
    #[error("{what} in ClickHouse: {source}; check that schema and program have the same version")]
    Answer {
        /// What was being done, as a verb phrase.
        what: &'static str,
        /// Why not.
        source: Malformed,
    },
    /// The schema is not the one of this build.
    #[error(
        "the database lacks {missing} of {total} schema statements of this build (first: {first}); run once with --migrate=auto"
    )]
    Schema {
        /// How many are missing.
        missing: usize,
        /// How many there are.
        total: usize,
        /// The name of the first that is missing.
        first: &'static str,
    },
    /// Another instance holds the migration lock.
    #[error(
        "another instance has been migrating the schema for {waited_s} s; if none is running, DROP TABLE migration_lock"
    )]
    Locked {
        /// How long this instance waited, in seconds.
        waited_s: u64,
    },
}

impl StoreError {
    /// ClickHouse's error code, where the server gave one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Statement { source, .. } => code(source),
            _ => None,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Statement { source, .. } => fault(source),
            Self::Answer { .. } | Self::Schema { .. } => Fault::Setup,
            Self::Locked { .. } => Fault::Transient,
        }
    }

    /// Whether the same call can succeed later without anybody acting.
    pub fn retryable(&self) -> bool {
        self.fault() == Fault::Transient
    }
}

/// A segment that could not be inserted whole. What was inserted of it stays; the same call completes it.
#[derive(Debug, thiserror::Error)]
#[error("insert into {table}: {source}")]
pub struct InsertError {
    /// The table that failed.
    pub table: &'static str,
    /// Whose fault it is. `Rows` does not come out of here: such rows become rejects.
    pub fault: Fault,
    /// The client's error.
    pub source: Box<clickhouse::error::Error>,
}

impl InsertError {
    /// Whether the same call can succeed later without anybody acting.
    pub fn retryable(&self) -> bool {
        self.fault == Fault::Transient
    }
}

/// ClickHouse's error code, where the server gave one.
pub(crate) fn code(error: &clickhouse::error::Error) -> Option<u32> {
    let clickhouse::error::Error::BadResponse(text) = error else { return None };
    // Without a text the client gives the bare number; "502 Bad Gateway" is a status and no code.
    match text.strip_prefix("Code: ") {
        Some(rest) => rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok(),
        None => text.parse().ok(),
    }
}

/// Whose fault an error of the client is.
///
/// Only codes that name the value itself count against the rows: taking a broken setup for bad rows would turn good
/// events into rejects. Unknown codes wait.
pub(crate) fn fault(error: &clickhouse::error::Error) -> Fault {
    use clickhouse::error::Error as E;
    match error {
        E::Network(_) | E::TimedOut | E::Decompression(_) => return Fault::Transient,
        E::BadResponse(text) if !text.starts_with("Code: ") && code(error).is_none() => {
            return Fault::Transient;
        }
        E::BadResponse(_) => {}
        _ => return Fault::Setup,
    }
    match code(error) {
        // Cannot parse or convert, out of range, too large, constraint violated, null where none may be.
        Some(
            6 | 26 | 27 | 33 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 128 | 131 | 190 | 321 | 349 | 441 | 469
            | 675 | 676 | 691,
        ) => Fault::Rows,
        // No such column, table, database, setting; syntax; types; access; authentication.
        Some(
            10 | 16 | 36 | 43 | 46 | 47 | 48 | 50 | 57 | 60 | 62 | 80 | 81 | 115 | 164 | 192 | 193 | 194
            | 291 | 386 | 497 | 516,
        ) => Fault::Setup,
        _ => Fault::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Fault {
        fault(&clickhouse::error::Error::BadResponse(text.into()))
    }

    #[test]
    fn faults_follow_the_code() {
        assert_eq!(server("Code: 241. DB::Exception: Memory limit exceeded"), Fault::Transient);
        assert_eq!(server("Code: 159. DB::Exception: Timeout exceeded"), Fault::Transient);
        assert_eq!(server("Code: 252. DB::Exception: Too many parts"), Fault::Transient);
        assert_eq!(server("Code: 60. DB::Exception: Table does not exist"), Fault::Setup);
        assert_eq!(server("Code: 469. DB::Exception: Constraint violated"), Fault::Rows);
        assert_eq!(server("502 Bad Gateway"), Fault::Transient);
        assert_eq!(server("upstream connect error"), Fault::Transient);
        assert_eq!(fault(&clickhouse::error::Error::TimedOut), Fault::Transient);
    }
}
