//! Viceroy, Fastly's local Compute server, as a child process: the edge service's wasm with its stores and backends.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::child::{Printed, Tied};

/// Compiling the module takes a second on an idle core; a loaded machine gets sixty times that.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What Viceroy puts before a line of the endpoint that the configuration of these tests names.
const LOG_PREFIX: &str = "edge-logs :: ";
/// What the service finds at the platform.
#[derive(Debug, Clone, Default)]
pub struct Stores {
    /// The configuration item.
    pub config: Value,
    /// Values of the secret store.
    pub secrets: BTreeMap<String, String>,
    /// Backends by name, each a table of Viceroy's manifest: `url`, and what TLS needs.
    pub backends: BTreeMap<String, Value>,
}

impl Stores {
    /// Viceroy's manifest. A JSON string of these characters is a TOML string, and its tables are inline tables.
    fn manifest(&self) -> String {
        let mut text = String::from(
            "manifest_version = 3\nname = \"edge\"\nlanguage = \"rust\"\n[local_server.config_stores.edge_config]\n\
             format = \"inline-toml\"\n[[local_server.kv_stores.edge_keys]]\nkey = \"none\"\ndata = \"\"\n",
        );
        let item = json!(self.config.to_string());
        let _ = writeln!(text, "[local_server.config_stores.edge_config.contents]\nconfig = {item}");
        for (name, value) in &self.secrets {
            let _ = writeln!(
                text,
                "[[local_server.secret_stores.edge_secrets]]\nkey = {}\ndata = {}",
                json!(name),
                json!(value)
            );
        }
        for (name, backend) in &self.backends {
            let _ = writeln!(text, "[local_server.backends.{name}]");
            for (key, value) in backend.as_object().into_iter().flatten() {
                let _ = writeln!(text, "{key} = {}", inline(value));
            }
        }
        text
    }
}

/// JSON as a TOML value.
fn inline(value: &Value) -> String {
    let Some(members) = value.as_object() else { return value.to_string() };
    let members: Vec<_> = members.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
    format!("{{ {} }}", members.join(", "))
}

/// A running edge; ended when dropped.
#[derive(Debug)]
pub struct Viceroy {
    /// Where it listens.
    pub address: SocketAddr,
    printed: Printed,
    child: Tied,
}

impl Viceroy {
    /// Starts `program` with the service `wasm` and waits until it listens. The manifest goes to `directory`.
    ///
    /// # Errors
    ///
    /// The program does not start or does not listen within a minute; what it printed is in the message.
    pub fn start(program: &Path, wasm: &Path, stores: &Stores, directory: &Path) -> anyhow::Result<Self> {
        let manifest = directory.join("fastly.toml");
        fs::write(&manifest, stores.manifest()).with_context(|| format!("write {}", manifest.display()))?;
        let arguments = ["serve", "--addr", "127.0.0.1:0", "-v", "-C"].map(OsStr::new);
        let arguments = arguments.into_iter().chain([manifest.as_os_str(), wasm.as_os_str()]);
        let mut child = Tied::start(program, arguments, true)?;
        let printed = child.printed();
        // Made before waiting, so that a failure ends the child.
        let mut viceroy = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), printed, child };
        viceroy.address = viceroy.listening()?;
        Ok(viceroy)
    }

    fn listening(&mut self) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let printed = self.printed();
            if let Some((_, rest)) = printed.split_once("Listening on http://") {
                let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
                if let Ok(address) = rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].parse() {
                    return Ok(address);
                }
            }
            if Instant::now() >= deadline || self.child.ended()?.is_some() {
                bail!("Viceroy did not listen within {READY_LIMIT:?}; it said:\n{printed}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything that it has printed, the service's log lines among it.
    pub fn printed(&self) -> String {
        self.printed.text()
    }

    /// The lines that the service has logged so far, from the given one on.
    pub fn lines_from(&self, first: usize) -> Vec<String> {
        let printed = self.printed.lines();
        printed
            .iter()
            .filter_map(|line| line.strip_prefix(LOG_PREFIX))
            .skip(first)
            .map(str::to_owned)
            .collect()
    }

    /// The process, for whoever measures it: a shell whose one child is Viceroy.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

/// The file that an environment variable names.
///
/// # Errors
///
/// The variable is unset or names no file.
pub fn given(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
    path.with_context(|| {
        format!("{name} must name a file; `make test` sets it, or eval the output of scripts/setup-tests")
    })
}
