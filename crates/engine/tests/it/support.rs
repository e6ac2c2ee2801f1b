//! Starts engines and talks to them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clickhouse::Client;
use engine::{Credentials, Options, Ready, SECRET_VARIABLE, SERVICE_USER};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_throughline-engine");
const SECRET: &str = "a secret of the tests";

/// The library, where `scripts/engine-lib` puts it.
pub(crate) fn library() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = from("THROUGHLINE_ENGINE_LIB").unwrap_or_else(|| {
        let cache = from("THROUGHLINE_CACHE_DIR")
            .or_else(|| from("XDG_CACHE_HOME").map(|root| root.join("throughline")))
            .or_else(|| from("HOME").map(|root| root.join(".cache/throughline")));
        cache.expect("a home directory").join("chdb-26.7.3-stable.1/libchdb.so")
    });
    assert!(
        path.is_file(),
        "{} is missing: run scripts/engine-lib, which fetches the engine library",
        path.display()
    );
    path
}

pub(crate) fn options(data: &Path) -> Options {
    let mut options = Options::new(library(), data);
    options.public_http = Some("127.0.0.1:0".parse().unwrap());
    options
}

/// An engine as a child of this process.
pub(crate) struct Engine {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) ready: Ready,
    _data: Option<TempDir>,
}

impl Engine {
    pub(crate) fn on(data: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(options(data).arguments())
            .env(SECRET_VARIABLE, SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("no ready line but {line:?}: {error}"));
        Self { input: child.stdin.take(), child, ready, _data: None }
    }

    pub(crate) fn fresh() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut engine = Self::on(data.path());
        engine._data = Some(data);
        engine
    }

    pub(crate) fn client(&self) -> Client {
        Client::default()
            .with_url(format!("http://{}", self.ready.listening))
            .with_user(SERVICE_USER)
            .with_password(SECRET)
    }

    /// Sends a statement to the service port.
    pub(crate) fn ask(&self, sql: &str) -> Answer {
        self.post("", sql.as_bytes())
    }

    pub(crate) fn post(&self, query: &str, body: &[u8]) -> Answer {
        request(
            &self.ready.listening,
            "POST",
            query,
            &Credentials { user: SERVICE_USER.into(), secret: SECRET.into() },
            body,
        )
    }

    pub(crate) fn get(&self, query: &str) -> Answer {
        request(
            &self.ready.listening,
            "GET",
            query,
            &Credentials { user: SERVICE_USER.into(), secret: SECRET.into() },
            b"",
        )
    }

    /// Sends a statement to the public port.
    pub(crate) fn ask_public(&self, query: &str, sql: &str) -> Answer {
        let file = self.ready.credentials.as_ref().unwrap();
        let credentials = Credentials::read_or_create(file).unwrap();
        request(self.ready.public.as_ref().unwrap(), "POST", query, &credentials, sql.as_bytes())
    }

    /// Runs a statement that must succeed, and gives its answer without the last newline.
    pub(crate) fn value(&self, sql: &str) -> String {
        let answer = self.ask(sql);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().trim_end().to_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// The engine that most tests share. It ends with this process, whose end closes its standard input.
pub(crate) fn shared() -> &'static Engine {
    static SHARED: OnceLock<Engine> = OnceLock::new();
    SHARED.get_or_init(|| {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared-engine");
        drop(std::fs::remove_dir_all(&data));
        Engine::on(&data)
    })
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(have, _)| *have == name))
            .map(|(_, value)| value)
    }
}

/// Opens a request and leaves the connection to the caller. HTTP/1.0, so that the answer comes in one piece to its end.
pub(crate) fn open(address: &str, method: &str, query: &str, who: &Credentials, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} /?{query} HTTP/1.0\r\nx-clickhouse-user: {}\r\nx-clickhouse-key: {}\r\ncontent-length: {}\r\n\r\n",
        who.user,
        who.secret,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    stream
}

pub(crate) fn request(address: &str, method: &str, query: &str, who: &Credentials, body: &[u8]) -> Answer {
    let mut bytes = Vec::new();
    open(address, method, query, who, body).read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes.split_off(end + 4) }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
