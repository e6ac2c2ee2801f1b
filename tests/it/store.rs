//! A store beside the service: the engine as a process of its own, with full rights, and a way to it that breaks to order.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::app::BINARY;

/// The engine, started by hand; ended when dropped.
pub(crate) struct Store {
    engine: Child,
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
}

impl Store {
    /// Starts the engine on a directory and waits until it listens.
    pub(crate) fn open(directory: &Path) -> Self {
        let mut engine = Command::new(BINARY)
            .args(["engine", "--path"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the engine");
        let mut line = String::new();
        let stdout = engine.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the ready line");
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { engine, address: text("listening").parse().unwrap(), secret: text("secret") }
    }

    /// The lines of a configuration that point a service at it, by way of `address`.
    pub(crate) fn config(&self, address: SocketAddr) -> String {
        format!("[store]\nurl = 'http://{address}'\nuser = 'throughline'\npassword = '{}'\n", self.secret)
    }

    /// The answer to a statement in the service's database.
    pub(crate) fn run(&self, statement: &str) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::new();
        let url = format!("http://{}/?database=throughline", self.address);
        let request = client.post(url).basic_auth("throughline", Some(&self.secret));
        let response = request.body(statement.to_owned()).send().expect("the engine answers");
        let (status, text) = (response.status(), response.text().unwrap());
        assert!(status.is_success(), "{statement}: {text}");
        text
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.engine.stdin.take());
        // Fails only for a process that has ended.
        let _ = self.engine.wait();
    }
}

/// Which half of an insert is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The store does not see it.
    Request,
    /// The store has done it, and nobody hears.
    Answer,
}

#[derive(Default)]
struct Way {
    /// Inserts of segments seen since it was last set up.
    inserts: AtomicU64,
    /// The insert at which it breaks; 0 for none.
    breaks_at: AtomicU64,
    loses_answer: AtomicBool,
    is_down: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// A proxy before a store. It breaks at the insert it is told to, and then lets nothing through until it is mended.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    way: Arc<Way>,
}

impl Proxy {
    pub(crate) fn before(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way::default());
        let shared = Arc::clone(&way);
        // Ends with the test's process: it holds nothing but sockets.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let way = Arc::clone(&shared);
                std::thread::spawn(move || pass(&client, store, &way));
            }
        });
        Self { address, way }
    }

    /// Breaks at the `nth` insert of a segment from now on, counted from 1.
    pub(crate) fn break_at(&self, nth: u64, lost: Lost) {
        self.way.inserts.store(0, Ordering::SeqCst);
        self.way.loses_answer.store(lost == Lost::Answer, Ordering::SeqCst);
        self.way.breaks_at.store(nth, Ordering::SeqCst);
    }

    /// Lets nothing through.
    pub(crate) fn take_down(&self) {
        self.way.go_down();
    }

    pub(crate) fn is_down(&self) -> bool {
        self.way.is_down.load(Ordering::SeqCst)
    }

    /// Lets everything through.
    pub(crate) fn mend(&self) {
        self.way.breaks_at.store(0, Ordering::SeqCst);
        self.way.is_down.store(false, Ordering::SeqCst);
    }
}

impl Way {
    fn go_down(&self) {
        self.is_down.store(true, Ordering::SeqCst);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Whether a request inserts rows of a segment.
fn is_of_a_segment(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(4096)]).into_owned();
    let tables = ["ids", "events", "rejects", "rollup_minute", "recent", "shipped", "ledger"];
    let inserts = |table: &&str| {
        text.contains(&format!("INSERT+INTO+{table}+"))
            || text.contains(&format!("INSERT%20INTO%20{table}%20"))
    };
    text.starts_with("POST ") && tables.iter().any(inserts)
}

/// One connection. A request begins at the front of a read: the client awaits the answer before it sends the next.
fn pass(client: &TcpStream, store: SocketAddr, way: &Arc<Way>) {
    if way.is_down.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(store) else { return };
    {
        let mut connections = way.connections.lock().unwrap();
        connections.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    }
    let swallows = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (back, swallowing) = (Arc::clone(way), Arc::clone(&swallows));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if swallowing.load(Ordering::SeqCst) {
                back.go_down();
                return;
            }
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (client, &server);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if is_of_a_segment(&buffer[..n])
            && way.inserts.fetch_add(1, Ordering::SeqCst) + 1 == way.breaks_at.load(Ordering::SeqCst)
        {
            if way.loses_answer.load(Ordering::SeqCst) {
                swallows.store(true, Ordering::SeqCst);
            } else {
                return way.go_down();
            }
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}
