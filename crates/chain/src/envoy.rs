//! A running Envoy with any bootstrap.
//!
//! It flushes ALS and OTLP once a second and loses the unflushed batch when it ends: wait for what was logged, then drop it.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::child::Tied;
use crate::http::get;

/// Envoy answers its admin port 0.1-0.35 s after exec on an idle core; a loaded CI machine gets sixty times that.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Lines of Envoy's own log that are shown when it does not start.
const LINES_SHOWN: usize = 30;

/// Without `--disable-hot-restart` a second Envoy on the machine would talk to the first one's shared memory.
const OPTIONS: [&str; 7] = [
    "--disable-hot-restart",
    "--concurrency",
    "1",
    "--log-level",
    "warning",
    "--file-flush-interval-msec",
    "200",
];

/// A running Envoy process; ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Tied,
    admin: SocketAddr,
    own_log: PathBuf,
}

impl Proxy {
    /// Starts Envoy with a bootstrap file and returns once it is live. Its own log lies beside the bootstrap.
    ///
    /// # Errors
    ///
    /// It does not start, or is not live within [`READY_LIMIT`]; the end of its log is in the message.
    pub fn start(program: &Path, bootstrap: &Path) -> anyhow::Result<Self> {
        let own_log = bootstrap.with_extension("envoy-log");
        let admin_file = bootstrap.with_extension("envoy-admin");
        // From an earlier run in the same directory, or not there.
        let _ = fs::remove_file(&admin_file);
        let mut arguments = vec![
            "--config-path".as_ref(),
            bootstrap.as_os_str(),
            "--log-path".as_ref(),
            own_log.as_os_str(),
            "--admin-address-path".as_ref(),
            admin_file.as_os_str(),
        ];
        arguments.extend(OPTIONS.map(OsStr::new));
        let child = Tied::start(program, arguments, false)?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut proxy = Self { child, admin, own_log };
        proxy.admin = proxy.until_ready(|_| {
            let admin = fs::read_to_string(&admin_file).ok()?.trim().parse().ok()?;
            let answer = get(admin, "/ready", &[("host", "admin")]);
            answer.is_ok_and(|answer| answer.status == 200).then_some(admin)
        })?;
        Ok(proxy)
    }

    /// Writes a bootstrap to a file and starts Envoy with it.
    ///
    /// # Errors
    ///
    /// As [`Proxy::start`], and if the file cannot be written.
    pub fn start_with(program: &Path, bootstrap: &serde_json::Value, file: &Path) -> anyhow::Result<Self> {
        fs::write(file, bootstrap.to_string()).with_context(|| format!("write {}", file.display()))?;
        Self::start(program, file)
    }

    /// Where the listener of this name listens.
    ///
    /// # Errors
    ///
    /// It does not listen within [`READY_LIMIT`].
    pub fn listener(&mut self, name: &str) -> anyhow::Result<SocketAddr> {
        let prefix = format!("{name}::");
        // `/listeners` answers `NAME::ADDRESS` a line.
        self.until_ready(|proxy| {
            let listeners = get(proxy.admin, "/listeners", &[("host", "admin")]).ok()?;
            let text = String::from_utf8_lossy(&listeners.body).into_owned();
            text.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok())
        })
    }

    fn until_ready<T>(&mut self, mut probe: impl FnMut(&Self) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Some(status) = self.child.ended()? {
                bail!("Envoy ended with {status}:\n{}", self.end_of_log());
            }
            if let Some(found) = probe(self) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("Envoy was not ready in {READY_LIMIT:?}:\n{}", self.end_of_log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines that Envoy wrote about itself.
    pub fn end_of_log(&self) -> String {
        let text = fs::read_to_string(&self.own_log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }
}
