//! The embedded ClickHouse engine behind its HTTP interface, as a supervised child.
//!
//! [`run`] is the child: it loads `libchdb.so`, opens a data directory and serves ClickHouse's HTTP interface, so that
//! the official client, dashboards and a remote ClickHouse server are all one code path. [`Supervisor`] is the parent's
//! side: it starts the child, says where it listens, and starts it again when it dies.
//!
//! The engine runs in a process of its own because a crash in it must not take the receiver down, because it serves one
//! data directory per process, and because the ordinary way out of a process crashes while it is loaded. This is the
//! only crate with `unsafe`, in `ffi` and `connection`.
//!
//! # Traps of the engine that this crate keeps away from its users
//! - An `INSERT` with inline binary data is cut at the first blank line: data always goes through the insert stream.
//! - After an error the next answer on the same connection can begin with the failed one's bytes: such a connection is
//!   thrown away.
//! - Chunks of a streamed answer repeat the format's prefix: it is cut.
//! - Unknown connection arguments are ignored: settings go by `SET`, which refuses them.
//! - `readonly` does not stop reading and writing files: the public port asks the engine's parser what a statement is
//!   made of.
//!
//! One `INSERT` beyond 1,048,449 rows is more than one block and no longer all or nothing. `fsync_after_insert` and
//! `fsync_part_directory` are settings of a table, not of a statement: give them in `CREATE TABLE … SETTINGS`.

mod connection;
mod credentials;
mod ffi;
mod flags;
mod http;
mod lexer;
mod limits;
mod pool;
mod serve;
mod statement;
mod supervisor;

pub use connection::EngineError;
pub use credentials::{Credentials, CredentialsError};
pub use ffi::LoadError;
pub use flags::FlagError;
pub use limits::Limits;
pub use pool::OpenError;
pub use serve::{Options, Ready, RunError, SECRET_VARIABLE, SERVICE_USER, run};
pub use supervisor::{Endpoint, Paused, Pauses, Phase, StartError, State, Supervisor};
