//! The service under test: a child process that is started, killed and started again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// What every variable of ours begins with.
const VARIABLE_PREFIX: &str = "THROUGHLINE_";
/// Of our variables, only these are handed on: a test must not depend on who runs it.
const HANDED_ON: [&str; 2] = ["THROUGHLINE_ENGINE_LIB", "THROUGHLINE_CACHE_DIR"];
/// Slower than any start seen; whoever takes longer hangs.
pub(super) const START_LIMIT: Duration = Duration::from_secs(120);
/// Longer than `drain.deadline` of the configuration, and than the engine's own end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Lines kept to say how a service ended that was not asked to.
const LINES_KEPT: usize = 3;

/// Where the service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    /// Read-only port of the embedded engine, where it was asked for.
    pub(super) public: Option<SocketAddr>,
}

/// How to start it.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// The subcommand and its first arguments.
    pub(super) command: Vec<OsString>,
    pub(super) variables: Vec<(String, OsString)>,
}

/// A running service; killed when dropped.
pub(super) struct Service {
    child: Child,
    /// Kills the service should this process be killed: it waits for the end of its input.
    guard: Child,
    pub(super) pid: u32,
    /// Where it listens, once it has said so.
    pub(super) listening: watch::Receiver<Option<Target>>,
    said: Arc<Mutex<Vec<String>>>,
}

/// This program with nothing of this machine's configuration.
pub(super) fn program() -> anyhow::Result<Command> {
    let path = std::env::current_exe().context("find this program, to start the service from it")?;
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLE_PREFIX)
            && !HANDED_ON.contains(&&*name.to_string_lossy())
        {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true).process_group(0).stdin(Stdio::null());
    Ok(command)
}

impl Service {
    /// Starts it; does not wait until it listens.
    pub(super) fn start(start: &Start, config: &Path, data: &Path, log: &Path) -> anyhow::Result<Self> {
        let mut command = program()?;
        command.args(&start.command).arg("--config").arg(config).arg("--data-dir").arg(data);
        command.envs(start.variables.iter().cloned()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the service")?;
        let pid = child.id().context("the service ended before it began")?;
        let guard = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\" 2>/dev/null", &pid.to_string()])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .context("start the guard of the service")?;
        let (heard, listening) = watch::channel(None);
        let said = Arc::<Mutex<Vec<String>>>::default();
        let file =
            OpenOptions::new().create(true).append(true).open(log).context("open the service's log")?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, file, heard, Arc::clone(&said)));
        }
        Ok(Self { child, guard, pid, listening, said })
    }

    /// Waits until it listens; `None` where it ended before, or did not within the limit.
    pub(super) async fn wait_listening(&mut self) -> Option<Target> {
        let heard = self.listening.wait_for(Option::is_some);
        tokio::select! {
            heard = timeout(START_LIMIT, heard) => heard.ok()?.ok().and_then(|target| *target),
            _ = self.child.wait() => None,
        }
    }

    /// How it ended, if it did without being asked.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its last lines.
    pub(super) fn last_words(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.join(" | ")
    }

    /// kill -9.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill the service")?;
        self.guard.kill().await.context("end the guard of the service")
    }

    /// SIGTERM; whether it ended in order.
    pub(super) async fn terminate(mut self) -> anyhow::Result<bool> {
        signal("TERM", self.pid).await?;
        let status = timeout(END_LIMIT, self.child.wait()).await;
        let in_order = matches!(&status, Ok(Ok(status)) if status.success());
        if status.is_err() {
            self.child.kill().await.context("kill a service that does not end")?;
        }
        self.guard.kill().await.context("end the guard of the service")?;
        Ok(in_order)
    }

    /// Kills the engine under it, if there is one.
    pub(super) async fn kill_engine(&self) -> anyhow::Result<bool> {
        let Some(engine) = child_of(self.pid) else { return Ok(false) };
        signal("KILL", engine).await?;
        Ok(true)
    }
}

/// Sends a signal to a process of ours.
async fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let mut command = Command::new("kill");
    command.args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null());
    command.status().await.context("run kill")?;
    Ok(())
}

/// The first child of any thread of a process.
fn child_of(parent: u32) -> Option<u32> {
    let tasks: PathBuf = format!("/proc/{parent}/task").into();
    let children = std::fs::read_dir(tasks).ok()?.flatten();
    let lists = children.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .find_map(|pid| pid.parse().ok())
}

/// Keeps what the service says, and tells where it listens.
async fn listen(
    stderr: ChildStderr,
    mut file: File,
    heard: watch::Sender<Option<Target>>,
    said: Arc<Mutex<Vec<String>>>,
) {
    let (mut http, mut grpc, mut public) = (None, None, None);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A log that cannot be kept only makes a finding harder to explain.
        let _ = writeln!(file, "{line}");
        public = public.or_else(|| address(&line, "ClickHouse, read-only, on "));
        http = http.or_else(|| address(&line, "HTTP on "));
        if grpc.is_none() {
            grpc = address(&line, "gRPC on ");
        }
        // The read-only port, where there is one, is told right after the others.
        if let (Some(http), Some(grpc)) = (http, grpc) {
            heard.send_if_modified(|target| {
                let now = Some(Target { http, grpc, public });
                let is_new = *target != now;
                *target = now;
                is_new
            });
        }
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == LINES_KEPT {
            said.remove(0);
        }
        said.push(line);
    }
}

fn address(line: &str, before: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(before)?;
    let (_, rest) = rest.split_once("://")?;
    rest.split([' ', ',']).next()?.parse().ok()
}
