//! `throughline engine`: hosts `libchdb.so` behind ClickHouse's HTTP interface. `serve` starts it as its child; started
//! by hand with `--stay`, any ClickHouse client can look into a data directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::link::locate_library;

/// Options of the engine; the service passes the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data directory; one process at a time
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Where the full-rights port listens; its secret is told in the ready line
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Where the read-only port for people and dashboards listens
    #[arg(long, value_name = "ADDRESS")]
    public_http: Option<SocketAddr>,
    /// File with the read-only port's `user:secret`; made if missing
    #[arg(long, value_name = "FILE")]
    public_credentials: Option<PathBuf>,
    /// libchdb.so; default: where set-up puts it
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_ENGINE_LIB")]
    lib: Option<PathBuf>,
    /// Keep running when standard input ends
    #[arg(long)]
    stay: bool,
    /// Listen on other addresses than loopback although the ports speak no TLS
    #[arg(long)]
    insecure: bool,
    /// Memory of all statements together, bytes
    #[arg(long, value_name = "BYTES")]
    server_memory_bytes: Option<u64>,
    /// Memory of one statement on the read-only port, bytes
    #[arg(long, value_name = "BYTES")]
    public_query_memory_bytes: Option<u64>,
    /// Longest a statement on the read-only port may run
    #[arg(long, value_name = "SECONDS")]
    public_query_seconds: Option<u64>,
    /// Statements at once on the full-rights port
    #[arg(long, value_name = "N")]
    service_statements: Option<usize>,
    /// Statements at once on the read-only port
    #[arg(long, value_name = "N")]
    public_statements: Option<usize>,
    /// Threads that merge parts in the background
    #[arg(long, value_name = "N")]
    merge_threads: Option<u32>,
    /// Memory for marks of hot columns, bytes
    #[arg(long, value_name = "BYTES")]
    mark_cache_bytes: Option<u64>,
}

/// Runs the engine; ends the process itself when it is asked to stop.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut options = engine::Options::new(locate_library(arguments.lib.as_deref())?, arguments.path);
    options.http = arguments.http;
    options.public_http = arguments.public_http;
    options.public_credentials = arguments.public_credentials;
    options.secret = std::env::var(engine::SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty());
    options.stay = arguments.stay;
    options.insecure = arguments.insecure;
    let limits = &mut options.limits;
    set(&mut limits.server_memory_bytes, arguments.server_memory_bytes);
    set(&mut limits.public_query_memory_bytes, arguments.public_query_memory_bytes);
    set(&mut limits.public_query_seconds, arguments.public_query_seconds);
    set(&mut limits.service_statements, arguments.service_statements);
    set(&mut limits.public_statements, arguments.public_statements);
    set(&mut limits.merge_threads, arguments.merge_threads);
    set(&mut limits.mark_cache_bytes, arguments.mark_cache_bytes);
    // The service forwards these lines as its own; colours would be noise in them.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().init();
    match engine::run(options).context("run the engine")? {}
}

fn set<T>(limit: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *limit = given;
    }
}
