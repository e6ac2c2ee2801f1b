//! The service under test: the real binary on free loopback ports with a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for any condition. Conditions come true within a second or two on idle cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_throughline");

/// Waits until `probe` gives a value; panics with `what` when it never does.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How to start a service.
#[derive(Default)]
pub(crate) struct Options {
    /// Keys of the root, a line each: they stand before any table.
    pub(crate) root: String,
    /// Keys of `[http]` beside the address and certificate, a line each.
    pub(crate) http: String,
    /// TOML beside what the harness sets.
    pub(crate) config: String,
    /// Serve https and gRPC over TLS with these PEM files.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Certificate and key, in PEM, that the harness shows the HTTP port.
    pub(crate) identity: Option<String>,
    /// Whether the engine's read-only port is open.
    pub(crate) public: bool,
}

/// The process, ended when dropped: also when a test fails between its start and the service that holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running service; ended when dropped.
pub(crate) struct Service {
    child: Option<Running>,
    directory: Arc<tempfile::TempDir>,
    config: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) log: Arc<Mutex<String>>,
    client: reqwest::blocking::Client,
}

/// A client that shows a certificate of its own, or none.
pub(crate) fn client(identity: Option<&str>) -> reqwest::blocking::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::blocking::Client::builder()
        .danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(30));
    if let Some(identity) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(identity.as_bytes()).expect("an identity"));
    }
    builder.build().expect("an HTTP client")
}

impl Service {
    /// Starts a service and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts a service with options and waits until it is ready.
    pub(crate) fn with(options: Options) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let config = directory.path().join("throughline.toml");
        let mut text = format!(
            "engine.public_listen = '{}'\n{}[http]\nlisten = '127.0.0.1:0'\n{}",
            if options.public { "127.0.0.1:0" } else { "" },
            options.root,
            options.http
        );
        let tls = |(cert, key): &(PathBuf, PathBuf)| {
            format!("tls_cert = '{}'\ntls_key = '{}'\n", cert.display(), key.display())
        };
        let tls = options.tls.as_ref().map(tls).unwrap_or_default();
        text += &format!("{tls}[grpc]\nlisten = '127.0.0.1:0'\n{tls}{}", options.config);
        std::fs::write(&config, text).expect("write the configuration");
        let mut service = Self::launch(directory, config);
        if let Some(identity) = options.identity {
            service.client = client(Some(&identity));
        }
        service.wait_ready();
        service
    }

    /// Starts a service on a data directory that `prepare` makes, with more lines of configuration.
    pub(crate) fn beginning(config: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let file = directory.path().join("throughline.toml");
        let text = "engine.public_listen = ''\nhttp.listen = '127.0.0.1:0'\ngrpc.listen = '127.0.0.1:0'\n";
        std::fs::write(&file, format!("{text}{config}")).expect("write the configuration");
        prepare(&directory.path().join("data"));
        let service = Self::launch(directory, file);
        service.wait_ready();
        service
    }

    fn launch(directory: Arc<tempfile::TempDir>, config: PathBuf) -> Self {
        let mut child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .env("THROUGHLINE_TELEMETRY_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .expect("start the service");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.0.stderr.take().expect("stderr is piped")).lines();
        let keep = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = |what: &str| {
            eventually(&format!("the service says where {what} listens"), || {
                let log = log.lock().unwrap();
                assert!(!log.contains("throughline: "), "the service did not start:\n{log}");
                let line = log.lines().find(|line| line.contains(&format!("{what} on ")))?;
                let (_, rest) = line.split_once("://")?;
                rest.split_whitespace().next()?.parse().ok()
            })
        };
        let (http, grpc) = (address("HTTP"), address("gRPC"));
        Self { child: Some(child), directory, config, http, grpc, log, client: client(None) }
    }

    fn wait_ready(&self) {
        eventually("the service is ready", || (self.get("/readyz").0 == 200).then_some(()));
    }

    /// `http://address`, or https where the service has a certificate.
    pub(crate) fn url(&self) -> String {
        let tls = std::fs::read_to_string(&self.config).is_ok_and(|config| config.contains("tls_cert"));
        format!("{}://{}", if tls { "https" } else { "http" }, self.http)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The test's own directory, outside of the data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Status and body of a GET; status 0 if nobody answered.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        match self.client.get(self.url() + path).send() {
            Ok(response) => (response.status().as_u16(), response.text().unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// Status of a HEAD.
    pub(crate) fn head(&self, path: &str) -> u16 {
        self.client.head(self.url() + path).send().map_or(0, |response| response.status().as_u16())
    }

    /// JSON of a GET that must succeed.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        // The log is shown when the service is dropped; to lock it here would poison it for that.
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Status and body of a POST with headers.
    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (u16, String) {
        let mut request = self.client.post(self.url() + path).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send() {
            Ok(response) => (response.status().as_u16(), response.text().unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Status, headers and body of a POST whose body is in this encoding; status 0 if nobody answered.
    pub(crate) fn post_encoded(
        &self,
        path: &str,
        encoding: &str,
        body: impl Into<Vec<u8>>,
    ) -> (u16, reqwest::header::HeaderMap, String) {
        let request = self.client.post(self.url() + path).header("content-encoding", encoding);
        match request.body(body.into()).send() {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                (status, headers, response.text().unwrap_or_default())
            }
            Err(error) => (0, reqwest::header::HeaderMap::new(), error.to_string()),
        }
    }

    /// Posts lines that must be accepted; the receipt.
    pub(crate) fn accept(&self, path: &str, body: impl Into<Vec<u8>>) -> Value {
        let (status, answer) = self.post(path, &[], body);
        assert_eq!(status, 200, "POST {path}: {answer}");
        serde_json::from_str(&answer).expect("a receipt")
    }

    /// Events in the store by the sources' counts.
    pub(crate) fn stored_events(&self) -> u64 {
        let (status, body) = self.get("/api/v1/sources");
        if status != 200 {
            return 0;
        }
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["sources"]
            .as_array()
            .expect("sources")
            .iter()
            .map(|source| source["events"].as_u64().unwrap())
            .sum()
    }

    /// Waits until exactly so many events are in the store.
    pub(crate) fn wait_stored(&self, events: u64) {
        eventually(&format!("{events} events are stored"), || {
            let stored = self.stored_events();
            assert!(stored <= events, "{stored} events are stored, {events} were sent");
            (stored == events).then_some(())
        });
    }

    /// Runs a subcommand against this service.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY)
            .args(arguments)
            .env("THROUGHLINE_URL", self.url())
            .env("THROUGHLINE_GRPC_URL", format!("http://{}", self.grpc))
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .output()
            .expect("run the CLI")
    }

    /// kill -9, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child = None;
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("a running service");
        let killed = Command::new("kill").arg(child.0.id().to_string()).status().expect("run kill");
        assert!(killed.success());
        child.0.wait().expect("reap the service")
    }

    /// Keeps the ports that it has now for all later starts, so that senders find it again.
    pub(crate) fn pin_ports(&mut self) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let (http, grpc) = (format!("'{}'", self.http), format!("'{}'", self.grpc));
        // The harness writes the HTTP port first.
        let pinned = text.replacen("'127.0.0.1:0'", &http, 1).replacen("'127.0.0.1:0'", &grpc, 1);
        std::fs::write(&self.config, pinned).expect("write the configuration");
    }

    /// Starts it again on the same directory, on new ports unless they are pinned.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "end it first");
        let fresh = Self::launch(Arc::clone(&self.directory), self.config.clone());
        fresh.wait_ready();
        *self = fresh;
    }

    /// As [`Self::restart`], for a store that is away: whoever is not prepared is not ready.
    pub(crate) fn restart_unready(&mut self) {
        assert!(self.child.is_none(), "end it first");
        *self = Self::launch(Arc::clone(&self.directory), self.config.clone());
    }

    /// Process id of the service.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running service").0.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            eprintln!("--- the service's log ---\n{log}");
        }
    }
}

/// A tool that set-up fetched: where `variable` says, else in the cache.
pub(crate) fn pinned_tool(variable: &str, place: &str) -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(given) = set(variable) {
        return given;
    }
    let cache = set("THROUGHLINE_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("throughline")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/throughline")))
        .expect("HOME is set");
    let tool = cache.join(place);
    assert!(tool.is_file(), "{} is missing: run scripts/setup-tests, or make test", tool.display());
    tool
}

/// A file of the captures or samples in the tree.
pub(crate) fn data(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
