//! `throughline serve` as a child process, with the embedded engine and nothing of this machine's own configuration.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::child::{Printed, Tied};
use crate::http::get;

/// A first start creates the schema and maps a 566 MB library from a cold disk: seconds are usual, minutes mean it hangs.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Every key can be set by a variable of this prefix; of those, only the engine's library is handed on.
const PREFIX: &str = "THROUGHLINE_";
const ENGINE_LIBRARY: &str = "THROUGHLINE_ENGINE_LIB";

/// A running service; drained and ended when dropped.
#[derive(Debug)]
pub struct Service {
    /// Takes the edge's logs and questions.
    pub http: SocketAddr,
    /// Takes ALS and OTLP.
    pub grpc: SocketAddr,
    printed: Printed,
    child: Tied,
}

impl Service {
    /// Starts `program` with its data in `directory`, on free ports of loopback, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not start or is not ready in two minutes, or `stop` became true; what it printed is in the message.
    pub fn start(
        program: &Path,
        directory: &Path,
        configuration: &str,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let file = directory.join("throughline.toml");
        fs::write(&file, format!("engine.public_listen = \"\"\n{configuration}"))
            .with_context(|| format!("write {}", file.display()))?;
        let mut arguments: Vec<OsString> = Vec::new();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(PREFIX) && name != ENGINE_LIBRARY {
                arguments.extend(["-u".into(), name]);
            }
        }
        // Where it listens stands in its log.
        arguments.push("THROUGHLINE_TELEMETRY_LOG=info".into());
        arguments.push(program.into());
        arguments.extend(
            ["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--config"].map(OsString::from),
        );
        arguments.extend([file.into(), "--data-dir".into(), directory.join("data").into()]);
        let mut child = Tied::start(Path::new("env"), arguments, true)?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { http: unknown, grpc: unknown, printed: child.printed(), child };
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let addresses = service.listens_on("HTTP on ").zip(service.listens_on("gRPC on "));
            if let Some((http, grpc)) = addresses
                && get(http, "/readyz", &[("host", "readyz")]).is_ok_and(|answer| answer.status == 200)
            {
                (service.http, service.grpc) = (http, grpc);
                return Ok(service);
            }
            let is_over = Instant::now() >= deadline || service.child.ended()?.is_some();
            if is_over || stop.load(Ordering::Relaxed) {
                bail!("{} is not ready; it said:\n{}", program.display(), service.printed.text());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn listens_on(&self, what: &str) -> Option<SocketAddr> {
        let printed = self.printed.text();
        let (_, rest) = printed.lines().find_map(|line| line.split_once(what))?;
        let (_, rest) = rest.split_once("://")?;
        rest.split_whitespace().next()?.parse().ok()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.printed.text()
    }
}
