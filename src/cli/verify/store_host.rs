//! A store of its own for the service: the engine as a process that can be killed, behind a proxy that can stall and cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::service::{START_LIMIT, program};

/// Pause of a slow store before each piece that it lets through.
const SLOW: Duration = Duration::from_millis(150);
/// How often a connection looks whether it is to be cut.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The engine closes its tables when its input ends.
const END_LIMIT: Duration = Duration::from_secs(30);

/// What the way to the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Way {
    Open = 0,
    /// Every piece of every answer and question comes late.
    Slow = 1,
    /// Connections are cut, those under way too.
    Dead = 2,
}

/// A TCP proxy on loopback.
#[derive(Debug)]
struct Proxy {
    address: SocketAddr,
    way: Arc<AtomicU8>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the store's proxy")?;
        let address = listener.local_addr().context("tell where the store's proxy listens")?;
        let way = Arc::new(AtomicU8::new(Way::Open as u8));
        let of_connections = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let way = Arc::clone(&of_connections);
                tokio::spawn(async move {
                    if way.load(Ordering::Relaxed) == Way::Dead as u8 {
                        return;
                    }
                    let Ok(to) = TcpStream::connect(to).await else { return };
                    let ((from_in, from_out), (to_in, to_out)) = (from.into_split(), to.into_split());
                    // The first end of either direction ends both.
                    tokio::select! {
                        () = pass(from_in, to_out, &way) => {}
                        () = pass(to_in, from_out, &way) => {}
                    }
                });
            }
        });
        Ok(Self { address, way })
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    way: &AtomicU8,
) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let got = loop {
            match timeout(LOOK_EVERY, from.read(&mut piece)).await {
                Ok(Ok(got)) => break got,
                Ok(Err(_)) => return,
                Err(_) if way.load(Ordering::Relaxed) == Way::Dead as u8 => return,
                Err(_) => {}
            }
        };
        match way.load(Ordering::Relaxed) {
            way if way == Way::Dead as u8 => return,
            way if way == Way::Slow as u8 => sleep(SLOW).await,
            _ => {}
        }
        if got == 0 || to.write_all(&piece[..got]).await.is_err() {
            return;
        }
    }
}

/// The engine as a store of its own.
pub(super) struct StoreHost {
    data: PathBuf,
    secret: String,
    engine: Option<Child>,
    /// Fixed at the first start, so that the proxy finds it again.
    engine_address: Option<SocketAddr>,
    proxy: Option<Proxy>,
}

impl StoreHost {
    /// A store in the engine's part of the service's own data directory.
    pub(super) fn new(data: PathBuf) -> Self {
        let secret = uuid::Uuid::new_v4().simple().to_string();
        Self { data, secret, engine: None, engine_address: None, proxy: None }
    }

    /// Starts the engine where it is not running; the URL, user and password for the service.
    pub(super) async fn start(&mut self) -> anyhow::Result<[(String, std::ffi::OsString); 3]> {
        if self.engine.is_none() {
            self.spawn().await?;
        }
        let address = self.engine_address.context("the engine has told no address")?;
        let proxy = match self.proxy.take() {
            Some(proxy) => proxy,
            None => Proxy::start(address).await?,
        };
        let url = format!("http://{}", proxy.address);
        self.proxy = Some(proxy);
        Ok([
            ("THROUGHLINE_STORE_URL".to_owned(), url.into()),
            ("THROUGHLINE_STORE_USER".to_owned(), "throughline".into()),
            ("THROUGHLINE_STORE_PASSWORD".to_owned(), self.secret.clone().into()),
        ])
    }

    async fn spawn(&mut self) -> anyhow::Result<()> {
        let mut command: Command = program()?;
        let listen = self.engine_address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        command.arg("engine").arg("--path").arg(&self.data).arg("--http").arg(listen.to_string());
        command.env("THROUGHLINE_ENGINE_SECRET", &self.secret);
        // Its input ends with this process, and the engine with its input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("start the engine")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout);
            let read = timeout(START_LIMIT, stdout.read_line(&mut line)).await;
            read.context("the engine does not start")?.context("read where the engine listens")?;
        }
        let ready: engine::Ready = serde_json::from_str(&line).context("the engine did not come up")?;
        self.engine_address = Some(ready.listening.parse().context("read where the engine listens")?);
        self.engine = Some(child);
        Ok(())
    }

    /// What the way to the store does from now on.
    pub(super) fn set_way(&self, way: Way) {
        if let Some(proxy) = &self.proxy {
            proxy.way.store(way as u8, Ordering::Relaxed);
        }
    }

    /// kill -9.
    pub(super) async fn kill(&mut self) -> anyhow::Result<bool> {
        let Some(mut engine) = self.engine.take() else { return Ok(false) };
        engine.kill().await.context("kill the engine")?;
        Ok(true)
    }

    /// Ends it in order, so that an engine under the service finds the directory free.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        drop(engine.stdin.take());
        if timeout(END_LIMIT, engine.wait()).await.is_err() {
            engine.kill().await.context("kill an engine that does not end")?;
        }
        Ok(())
    }
}
