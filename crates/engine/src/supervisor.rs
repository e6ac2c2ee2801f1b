//! The parent's side: starts the engine as a child, says where it listens, starts it again when it dies.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::credentials::random_secret;
use crate::serve::{Options, Ready, SECRET_VARIABLE, SERVICE_USER};

/// The first pause before a restart; it doubles with every crash in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A child that ran for so long had started well: the count of crashes in a row begins anew.
const SOUND_RUN: Duration = Duration::from_secs(120);
/// After so many crashes in a row the public port stays shut: outside queries may be what kills the engine.
const CRASHES_BEFORE_SUSPENSION: u32 = 3;
/// Opening loads every part's metadata: 0.3 s at 20 M rows. Beyond this the child hangs.
const READY_PATIENCE: Duration = Duration::from_secs(180);
/// The child drains for 10 s by itself; after this it is killed, which costs no acknowledged row.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long the last lines of a child that has ended are waited for; they are in the pipe already.
const WORDS_PATIENCE: Duration = Duration::from_secs(1);
/// Longer lines of the child's standard error are forwarded in pieces.
const LINE_MAX_BYTES: u64 = 8 << 10;
/// Lines kept to explain a failed start.
const LINES_KEPT: usize = 5;

/// Where the engine listens now.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Service port, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its user.
    pub user: String,
    /// Its secret, new with every start.
    pub secret: String,
    /// Read-only port, `address:port`; none while suspended or not configured.
    pub public: Option<String>,
    /// ClickHouse's version inside.
    pub version: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What the child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Started and not yet listening.
    Starting,
    /// Listening.
    Running {
        /// Process id.
        pid: u32,
    },
    /// Died; started again after this pause.
    Pausing {
        /// Length of the pause in milliseconds.
        pause_ms: u64,
    },
    /// Stopped on request.
    Stopped,
}

/// What is known of the child, for health answers and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Unasked ends since the supervisor started.
    pub crashes: u64,
    /// Unasked ends in a row, without two sound minutes between them.
    pub crashes_in_a_row: u32,
    /// The public port is kept shut because of them.
    pub public_suspended: bool,
    /// How the child ended last, with its last words.
    pub last_end: Option<String>,
}

/// Why the engine did not come up at the first start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be started.
    #[error("cannot start the engine process {program}: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended, or said nothing, before it listened.
    #[error("the engine did not come up: {reason}")]
    NotReady {
        /// How it ended, with its last words.
        reason: String,
    },
}

/// Runs the engine as a child for as long as it lives. Dropping it ends the child, gracefully, in the background.
#[derive(Debug)]
pub struct Supervisor {
    endpoint: watch::Receiver<Option<Endpoint>>,
    state: watch::Receiver<State>,
    stop: oneshot::Sender<()>,
    pauses: mpsc::Sender<oneshot::Sender<Paused>>,
    task: JoinHandle<()>,
}

/// While this lives the engine is ended in order, and its directory is nobody's. Dropping it starts the engine again.
#[derive(Debug)]
pub struct Paused {
    _over: oneshot::Sender<()>,
}

impl Supervisor {
    /// Starts `program arguments… <options as flags>` and waits until it listens.
    ///
    /// The program must end up in [`crate::run`] with [`Options::parse`]d flags. `options.secret` and `options.stay` are
    /// not used: the secret is made anew for every start.
    ///
    /// # Errors
    /// When the first start fails. Later failures show in [`Supervisor::state`] and are retried for ever.
    pub async fn start(
        program: PathBuf,
        arguments: Vec<String>,
        options: Options,
    ) -> Result<Self, StartError> {
        let starting = State {
            phase: Phase::Starting,
            crashes: 0,
            crashes_in_a_row: 0,
            public_suspended: false,
            last_end: None,
        };
        let (state_sender, state) = watch::channel(starting);
        let (endpoint_sender, endpoint) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let mut keeper =
            Keeper { program, arguments, options, state: state_sender, endpoint: endpoint_sender };
        let first = keeper.spawn().await?;
        let (pauses, mut asked) = mpsc::channel(1);
        let task = tokio::spawn(async move { keeper.keep(first, stopped, &mut asked).await });
        Ok(Self { endpoint, state, stop, pauses, task })
    }

    /// Where the engine listens; `None` while it is down. Changes with every restart.
    #[must_use]
    pub fn endpoint(&self) -> watch::Receiver<Option<Endpoint>> {
        self.endpoint.clone()
    }

    /// What is known of the child.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// How others may ask for a pause.
    #[must_use]
    pub fn pauses(&self) -> Pauses {
        Pauses { asked: self.pauses.clone() }
    }

    /// Ends the child: running statements get up to 10 s, then it is ended regardless.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        drop(self.task.await);
    }
}

/// Ends the engine for a while; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pauses {
    asked: mpsc::Sender<oneshot::Sender<Paused>>,
}

impl Pauses {
    /// Ends the engine in order and keeps it from starting until the answer is dropped. `None`: it is not running, or
    /// ends for good.
    pub async fn pause(&self) -> Option<Paused> {
        let (ended, answer) = oneshot::channel();
        self.asked.send(ended).await.ok()?;
        answer.await.ok()
    }
}

/// A child that listens.
struct Running {
    child: Child,
    /// Kept apart from `child`, whose `wait` would close it and so end the engine.
    input: Option<ChildStdin>,
    pid: u32,
    since: Instant,
    words: LastWords,
}

struct Keeper {
    program: PathBuf,
    arguments: Vec<String>,
    options: Options,
    state: watch::Sender<State>,
    endpoint: watch::Sender<Option<Endpoint>>,
}

type Lines = Arc<Mutex<VecDeque<String>>>;

/// The end of what the child wrote on its standard error.
struct LastWords {
    lines: Lines,
    reader: Option<JoinHandle<()>>,
}

impl LastWords {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let lines = Lines::default();
        let reader = stderr.map(|stderr| tokio::spawn(forward(stderr, Arc::clone(&lines))));
        Self { lines, reader }
    }

    /// What a child that has ended said last. Its end is often known before its last line is read.
    async fn told(self) -> String {
        if let Some(reader) = self.reader {
            // A child of the child may hold the pipe open; what is known by then must do.
            let _ = timeout(WORDS_PATIENCE, reader).await;
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

async fn ended(status: std::io::Result<ExitStatus>, words: LastWords) -> String {
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    format!("{how}; its last words: {}", words.told().await)
}

impl Keeper {
    async fn spawn(&mut self) -> Result<Running, StartError> {
        self.state.send_modify(|state| state.phase = Phase::Starting);
        let mut options = self.options.clone();
        if self.state.borrow().public_suspended {
            options.public_http = None;
        }
        let secret = random_secret();
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(options.arguments())
            .env(SECRET_VARIABLE, &secret)
            // The engine reads configuration from ~/.clickhouse-local; there is none in the data directory.
            .env("HOME", &options.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the parent, which still has rows to ship when it stops.
            .process_group(0);
        let spawn = |source| StartError::Spawn { program: self.program.clone(), source };
        let mut child = command.spawn().map_err(spawn)?;
        let pid = child.id().unwrap_or_default();
        let input = child.stdin.take();
        let words = LastWords::of(child.stderr.take());
        let mut line = String::new();
        let read = async {
            match child.stdout.take() {
                Some(stdout) => BufReader::new(stdout.take(LINE_MAX_BYTES)).read_line(&mut line).await,
                None => Ok(0),
            }
        };
        let ready = match timeout(READY_PATIENCE, read).await {
            Ok(Ok(_)) => serde_json::from_str::<Ready>(&line).ok(),
            _ => None,
        };
        let Some(ready) = ready else {
            // It has closed its standard output, so it is on its way out, or it hangs.
            let status = match timeout(Duration::from_secs(5), child.wait()).await {
                Ok(status) => ended(status, words).await,
                Err(_) => {
                    drop(child.kill().await);
                    format!(
                        "it did not listen within {READY_PATIENCE:?} and was killed; its last words: {}",
                        words.told().await
                    )
                }
            };
            return Err(StartError::NotReady { reason: status });
        };
        let endpoint = Endpoint {
            url: format!("http://{}", ready.listening),
            user: SERVICE_USER.to_owned(),
            secret,
            public: ready.public,
            version: ready.version,
        };
        tracing::info!(pid, url = %endpoint.url, public = endpoint.public, version = %endpoint.version, "the engine listens");
        self.endpoint.send_replace(Some(endpoint));
        self.state.send_modify(|state| state.phase = Phase::Running { pid });
        Ok(Running { child, input, pid, since: Instant::now(), words })
    }

    async fn keep(
        &mut self,
        first: Running,
        mut stopped: oneshot::Receiver<()>,
        pauses: &mut mpsc::Receiver<oneshot::Sender<Paused>>,
    ) {
        let mut running = Some(first);
        loop {
            let end = match running.take() {
                Some(mut child) => {
                    let status = tokio::select! {
                        status = child.child.wait() => status,
                        _ = &mut stopped => {
                            self.stop(child).await;
                            return;
                        }
                        Some(ended) = pauses.recv() => {
                            self.stop(child).await;
                            let (over, held) = oneshot::channel();
                            // Whoever asked may be gone; then the pause is over at once.
                            drop(ended.send(Paused { _over: over }));
                            tokio::select! {
                                _ = held => {}
                                _ = &mut stopped => return,
                            }
                            continue;
                        }
                    };
                    if child.since.elapsed() >= SOUND_RUN {
                        self.state.send_modify(|state| {
                            state.crashes_in_a_row = 0;
                            state.public_suspended = false;
                        });
                    }
                    ended(status, child.words).await
                }
                None => {
                    let spawned = tokio::select! {
                        spawned = self.spawn() => spawned,
                        // A child that does not come up must not hold up the end; its input ends here, and it with that.
                        _ = &mut stopped => {
                            self.state.send_modify(|state| state.phase = Phase::Stopped);
                            return;
                        }
                    };
                    match spawned {
                        Ok(child) => {
                            running = Some(child);
                            continue;
                        }
                        Err(error) => error.to_string(),
                    }
                }
            };
            self.endpoint.send_replace(None);
            let pause = self.count_crash(end);
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut stopped => {
                    self.state.send_modify(|state| state.phase = Phase::Stopped);
                    return;
                }
            }
        }
    }

    fn count_crash(&self, end: String) -> Duration {
        let mut pause = FIRST_PAUSE;
        self.state.send_modify(|state| {
            pause = FIRST_PAUSE.saturating_mul(1 << state.crashes_in_a_row.min(10)).min(LONGEST_PAUSE);
            state.crashes += 1;
            state.crashes_in_a_row += 1;
            state.public_suspended = state.crashes_in_a_row >= CRASHES_BEFORE_SUSPENSION;
            state.phase = Phase::Pausing { pause_ms: pause.as_millis() as u64 };
            tracing::error!(%end, crashes_in_a_row = state.crashes_in_a_row, ?pause, "the engine ended unasked; starting it again");
            state.last_end = Some(end);
        });
        pause
    }

    async fn stop(&self, mut running: Running) {
        self.endpoint.send_replace(None);
        // The end of its standard input is the child's signal.
        drop(running.input.take());
        if timeout(STOP_PATIENCE, running.child.wait()).await.is_err() {
            tracing::warn!(pid = running.pid, "the engine did not end within {STOP_PATIENCE:?}; killing it");
            drop(running.child.kill().await);
        }
        self.state.send_modify(|state| state.phase = Phase::Stopped);
    }
}

/// Passes the child's standard error on, line by line.
async fn forward(stderr: ChildStderr, words: Lines) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_MAX_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                tracing::info!(target: "engine", "{text}");
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                if words.len() == LINES_KEPT {
                    words.pop_front();
                }
                words.push_back(text);
            }
        }
    }
}
