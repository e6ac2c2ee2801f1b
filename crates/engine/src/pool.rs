//! The open engine: its first connection, and connections to run statements on.
//!
//! The first connection carries the data path and the server's bounds and stays open as long as the process. Every
//! other one belongs to a key (database, settings, rights), gets its settings by `SET` (which, unlike connection
//! arguments, refuses a name it does not know) and is thrown away after any error: an engine connection that failed can
//! put the failed statement's bytes in front of the next answer.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::{Connection, EngineError, Parameters};
use crate::ffi::{Library, LoadError};
use crate::limits::Limits;
use crate::statement::{quoted, quoted_name};

/// Idle connections kept. One costs about 40 kB and 2.4 ms to open; keys are few unless a client varies settings.
const IDLE_MAX: usize = 24;

/// Why the engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The data directory could not be made or entered.
    #[error("cannot use {path} as the engine's data directory: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "{path} is in use by another engine (its status file is locked); stop that one, or give another directory"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The engine refused; its reason is on stderr.
    #[error("the engine did not open {path}; its reason is above, on standard error")]
    Refused {
        /// The directory.
        path: PathBuf,
    },
    /// The engine opened and did not answer its first statement.
    #[error("the engine opened {path} but failed its first statement: {source}")]
    FirstStatement {
        /// The directory.
        path: PathBuf,
        /// The engine's words.
        source: EngineError,
    },
}

/// What distinguishes connections; two statements with equal keys may use the same one, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Key {
    /// Empty for the engine's default.
    pub(crate) database: String,
    /// Sorted by name.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) read_only: bool,
}

#[derive(Debug)]
pub(crate) struct Engine {
    library: &'static Library,
    path_argument: String,
    /// Held open so that the engine stays up between statements.
    first: Mutex<Option<Connection>>,
    idle: Mutex<VecDeque<(Key, Tagged)>>,
    next_tag: AtomicU64,
    /// Functions and table functions that a read-only client may not call, in lower case.
    forbidden: HashSet<String>,
    version: String,
    /// Held for as long as the process lives.
    _queue: File,
}

/// A connection with the `log_comment` by which its statement is found in `system.processes`.
#[derive(Debug)]
struct Tagged {
    connection: Connection,
    tag: String,
}

/// Table functions that read nothing outside the engine, nor a table that only their arguments name: `merge` would read
/// those of `system` that the gate keeps closed.
const HARMLESS_TABLE_FUNCTIONS: &[&str] = &[
    "format",
    "generate_series",
    "generaterandom",
    "generateseries",
    "mergetreeindex",
    "mergetreeprojection",
    "null",
    "numbers",
    "numbers_mt",
    "primes",
    "sqlstandardvalues",
    "values",
    "view",
    "viewifpermitted",
    "zeros",
    "zeros_mt",
];

/// Ordinary functions that read files, call out, write to the log, tell of the machine or hold one of the few places
/// asleep, `readonly` or not.
const HARMFUL_FUNCTIONS: &[&str] = &[
    "addresstoline",
    "addresstolinewithinlines",
    "addresstosymbol",
    "aiclassify",
    "aiembed",
    "aiextract",
    "aigenerate",
    "aitranslate",
    "catboostevaluate",
    "file",
    "filesystemavailable",
    "filesystemcapacity",
    "filesystemunreserved",
    "getmacro",
    "getserversetting",
    "logtrace",
    "showcertificate",
    "sleep",
    "sleepeachrow",
];

/// The file that our processes lock before they open a directory.
const QUEUE: &str = "throughline.lock";
/// How often a lock is tried.
const LOCK_POLL: Duration = Duration::from_millis(50);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens `path`, waiting up to `patience` for another process to let go of it. Blocks.
    pub(crate) fn open(
        library: &Path,
        path: &Path,
        limits: &Limits,
        patience: Duration,
    ) -> Result<Self, OpenError> {
        let directory = |source| OpenError::Directory { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(directory)?;
        let path = path.canonicalize().map_err(directory)?;
        let name = path.to_str().ok_or_else(|| {
            directory(std::io::Error::new(std::io::ErrorKind::InvalidInput, "its name is not UTF-8"))
        })?;
        let library = Library::load(library)?;
        let deadline = Instant::now() + patience;
        let queue = wait_in_queue(&path, deadline)?;
        wait_for_lock(&path, deadline)?;
        let path_argument = format!("--path={name}");
        let mut arguments = vec![path_argument.clone()];
        arguments.extend(limits.arguments());
        let mut first =
            Connection::open(library, &arguments).ok_or_else(|| OpenError::Refused { path: path.clone() })?;
        let failed = |source| OpenError::FirstStatement { path: path.clone(), source };
        let mut lines = |sql: &str| -> Result<Vec<String>, OpenError> {
            let bytes = first.execute(sql.as_bytes(), "TSVRaw", &Parameters::new()).map_err(failed)?;
            Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_ascii_lowercase).collect())
        };
        let mut forbidden: HashSet<String> =
            lines("SELECT name FROM system.table_functions")?.into_iter().collect();
        forbidden.retain(|name| !HARMLESS_TABLE_FUNCTIONS.contains(&name.as_str()));
        forbidden.extend(HARMFUL_FUNCTIONS.iter().map(|name| (*name).to_owned()));
        let version = lines("SELECT version()")?.into_iter().next().unwrap_or_default();
        Ok(Self {
            library,
            path_argument,
            first: Mutex::new(Some(first)),
            idle: Mutex::new(VecDeque::new()),
            next_tag: AtomicU64::new(0),
            forbidden,
            version,
            _queue: queue,
        })
    }

    /// The ClickHouse version inside, such as `26.7.2.1`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The library's own version.
    pub(crate) fn library_version(&self) -> String {
        self.library.version()
    }

    /// Whether a read-only client is kept from this function or table function.
    pub(crate) fn forbids(&self, function: &str) -> bool {
        self.forbidden.contains(&function.to_ascii_lowercase())
    }

    /// A connection for a key: an idle one, else a new one. Blocks for about 3 ms in the second case.
    pub(crate) fn lease(self: &Arc<Self>, key: Key) -> Result<Lease, EngineError> {
        let mut idle = locked(&self.idle);
        let found = idle.iter().rposition(|(have, _)| *have == key).and_then(|at| idle.remove(at));
        drop(idle);
        let tagged = match found {
            Some((_, tagged)) => tagged,
            None => self.connect(&key)?,
        };
        let tag = tagged.tag.clone();
        Ok(Lease {
            engine: Arc::clone(self),
            key,
            tagged: Some(tagged),
            tag,
            fate: Arc::default(),
            reusable: false,
        })
    }

    fn connect(&self, key: &Key) -> Result<Tagged, EngineError> {
        let closed =
            || EngineError::new(210, "NETWORK_ERROR", "the engine is closing; try again in a few seconds");
        let mut connection = {
            // Held while connecting, so that closing cannot slip in between and leave this one open.
            let first = locked(&self.first);
            if first.is_none() {
                return Err(closed());
            }
            Connection::open(self.library, std::slice::from_ref(&self.path_argument)).ok_or_else(closed)?
        };
        let tag = format!("throughline-{}", self.next_tag.fetch_add(1, Ordering::Relaxed));
        let mut run = |sql: String| connection.execute(sql.as_bytes(), "Null", &Parameters::new()).map(drop);
        if !key.database.is_empty() {
            run(format!("USE {}", quoted_name(&key.database)))?;
        }
        let mut list: Vec<String> =
            key.settings.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        list.push(format!("log_comment = {}", quoted(&tag)));
        if key.read_only {
            // Last, because nothing can be set after it.
            list.push("readonly = 1".to_owned());
        }
        run(format!("SET {}", list.join(", ")))?;
        Ok(Tagged { connection, tag })
    }

    fn give_back(&self, key: Key, tagged: Tagged) {
        if locked(&self.first).is_none() {
            return;
        }
        let mut idle = locked(&self.idle);
        idle.push_back((key, tagged));
        let spare = if idle.len() > IDLE_MAX { idle.pop_front() } else { None };
        drop(idle);
        drop(spare);
    }

    fn kill(self: &Arc<Self>, tag: &str) -> Result<(), EngineError> {
        let mut lease = self.lease(Key::default())?;
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = {} ASYNC", quoted(tag));
        lease.connection()?.execute(sql.as_bytes(), "Null", &Parameters::new())?;
        lease.keep();
        Ok(())
    }

    /// Closes every connection that is not in use; no new one opens afterwards. Blocks.
    pub(crate) fn close(&self) {
        let first = locked(&self.first).take();
        let idle = std::mem::take(&mut *locked(&self.idle));
        drop(idle);
        drop(first);
    }
}

/// A connection for the length of one statement. Dropped without [`Lease::keep`], the connection is closed.
#[derive(Debug)]
pub(crate) struct Lease {
    engine: Arc<Engine>,
    key: Key,
    tagged: Option<Tagged>,
    tag: String,
    fate: Arc<Mutex<Fate>>,
    reusable: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Running,
    Killed,
    Over,
}

impl Lease {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, EngineError> {
        match &mut self.tagged {
            Some(tagged) => Ok(&mut tagged.connection),
            None => Err(EngineError::new(1002, "UNKNOWN_EXCEPTION", "the connection is gone")),
        }
    }

    /// Says that the statement ended well, so that the connection may serve another.
    pub(crate) fn keep(mut self) {
        self.reusable = true;
    }

    /// A handle that stops the statement from elsewhere.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { engine: Arc::clone(&self.engine), tag: self.tag.clone(), fate: Arc::clone(&self.fate) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut fate = locked(&self.fate);
        let killed = *fate == Fate::Killed;
        *fate = Fate::Over;
        drop(fate);
        if let Some(tagged) = self.tagged.take()
            && self.reusable
            && !killed
        {
            self.engine.give_back(std::mem::take(&mut self.key), tagged);
        }
    }
}

/// Stops a running statement when dropped; does nothing once the statement is over.
///
/// A statement that computes for long before its first row cannot notice by itself that its client has gone.
#[derive(Debug)]
pub(crate) struct Stopper {
    engine: Arc<Engine>,
    tag: String,
    fate: Arc<Mutex<Fate>>,
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let mut fate = locked(&self.fate);
        if *fate != Fate::Running {
            return;
        }
        // From here on the connection is not reused, so the kill can only meet this statement.
        *fate = Fate::Killed;
        drop(fate);
        let (engine, tag) = (Arc::clone(&self.engine), std::mem::take(&mut self.tag));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                if let Err(error) = engine.kill(&tag) {
                    tracing::debug!(%error, "could not stop an abandoned statement; it runs to its end");
                }
            });
        }
    }
}

/// Our processes come one after the other: a file of our own is locked before anything is tried and for as long as the
/// process lives. The engine does not wait for its lock, so of two that saw it free (the orphan of a killed service and
/// the child of the next, say) one would fail, and a look at it alone makes another's opening fail.
fn wait_in_queue(path: &Path, deadline: Instant) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: path.to_owned(), source };
    let place = path.join(QUEUE);
    let file = File::options().create(true).truncate(false).write(true).open(&place).map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(_) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(_) => return Err(OpenError::Locked { path: path.to_owned() }),
        }
    }
}

/// The engine locks `status` with flock(2), which the kernel frees with the process, kill -9 included. A dying process
/// may hold it for a moment longer, and one that is not ours for as long as it runs, so this waits.
fn wait_for_lock(path: &Path, deadline: Instant) -> Result<(), OpenError> {
    loop {
        let Ok(status) = File::open(path.join("status")) else { return Ok(()) };
        match status.try_lock() {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(_) => return Err(OpenError::Locked { path: path.to_owned() }),
        }
    }
}
