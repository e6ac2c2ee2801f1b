//! What the edge service costs a request in Viceroy, beside the floor: one client, one request at a time, the variants by turns
//! in short rows, so that a drift of the machine meets all of them. `scripts/bench-edge` builds both services, pins Viceroy to one core and
//! this client to another, and runs it; stdout is a table in Markdown.
//!
//! usage: edge-cost VICEROY EDGE_WASM FLOOR_WASM ROUNDS
#![allow(clippy::print_stdout, reason = "a table for a person")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chain::{Key, Stores, Viceroy, base64url, now_s};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.bench";
/// Requests of one variant in a row, so that each finds the processor's caches as a busy service does.
const BURST: usize = 24;
/// The first of them, which are not counted.
const WARM_UP: usize = 4;

/// One way of asking, with the times that it took.
struct Variant {
    name: &'static str,
    is_floor: bool,
    /// The whole head of the n-th request.
    head: Box<dyn Fn(usize) -> String>,
    wanted: u16,
    taken_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

/// What all threads of a process have computed so far, in microseconds: what a busy machine does not lengthen.
fn computed_us(process: u32) -> anyhow::Result<f64> {
    let mut all_ns = 0_u64;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        all_ns += text.split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or_default();
    }
    Ok(all_ns as f64 / 1000.0)
}

/// The one process below this one that has no children: Viceroy, whatever started it.
fn innermost(process: u32) -> anyhow::Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    match children.split_whitespace().next() {
        Some(child) => innermost(child.parse()?),
        None => Ok(process),
    }
}

/// One connection that is kept.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Asks and reads the whole answer; its status.
    fn ask(&mut self, head: &str) -> anyhow::Result<u16> {
        self.stream.write_all(head.as_bytes())?;
        self.buffer.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the connection was closed");
            self.buffer.extend_from_slice(&chunk[..read]);
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            let body = &self.buffer[end + 4..];
            let whole = match text.split("content-length: ").nth(1) {
                Some(rest) => {
                    body.len() >= rest.lines().next().unwrap_or_default().trim().parse::<usize>()?
                }
                None => body.ends_with(b"0\r\n\r\n"),
            };
            if whole {
                return text.split(' ').nth(1).context("no status")?.parse().context("no status");
            }
        }
    }
}

fn head(target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("GET {target} HTTP/1.1\r\nhost: shop.bench\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// Answers everything with two bytes; `/jwks` with the key set.
fn origin(jwks: String) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let jwks = jwks.clone();
            thread::spawn(move || {
                let mut head = [0; 16 * 1024];
                while let Ok(read) = stream.read(&mut head) {
                    let is_jwks = head.starts_with(b"GET /jwks");
                    let body = if is_jwks { jwks.as_str() } else { "ok" };
                    let length = body.len();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    if read == 0 || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn item() -> Value {
    let forward = json!({ "forward": { "backend": "origin" } });
    json!({
        "version": 1, "policy_version": "bench", "plain_http": true,
        "issuers": [{ "name": "idp", "iss": ISSUER, "jwks": { "backend": "origin", "path": "/jwks" },
            "audiences": ["orders"], "algorithms": ["ES256", "EdDSA", "RS256"] }],
        "routes": [
            { "name": "public", "match": { "path_prefix": "/public" }, "auth": "public", "action": forward },
            { "name": "checked", "match": { "path": "/checked" }, "action": { "redirect": { "to": "/there" } } },
            { "name": "open", "match": { "path": "/open" }, "auth": "public", "action": { "redirect": { "to": "/there" } } },
            { "name": "api", "match": { "path_prefix": "/api" }, "action": forward }
        ]
    })
}

/// The item with an edge token, which is minted for every request that is forwarded.
fn minting_item(kid: &str) -> Value {
    let mut item = item();
    item["edge_token"] = json!({ "issuer": "https://edge.bench", "audience": "mesh", "keys": [{ "kid": kid, "secret": kid }] });
    item
}

fn token(key: &Key, number: usize) -> String {
    key.token(&json!({ "iss": ISSUER, "aud": "orders", "sub": "ada", "iat": now_s(), "exp": now_s() + 3600,
        "scope": "read", "jti": number.to_string() }))
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [viceroy, edge, floor, rounds] = &arguments[..] else {
        bail!("usage: edge-cost VICEROY EDGE_WASM FLOOR_WASM ROUNDS");
    };
    let (viceroy, edge, floor) = (PathBuf::from(viceroy), PathBuf::from(edge), PathBuf::from(floor));
    let rounds: usize = rounds.parse().context("ROUNDS is a number")?;

    let keys = [Key::rs256("rs"), Key::es256("es"), Key::eddsa("ed")];
    let origin = origin(json!({ "keys": keys.each_ref().map(Key::jwk) }).to_string())?;
    let secrets: Vec<_> =
        keys[1..].iter().filter_map(|key| Some((key.kid.clone(), key.private_jwk()?))).collect();
    let start = |wasm: &PathBuf, config: Value| {
        let directory = tempfile::tempdir()?;
        let backends = [("origin".to_owned(), json!({ "url": format!("http://{origin}") }))].into();
        let stores = Stores { config, secrets: secrets.iter().cloned().collect(), backends };
        Viceroy::start(&viceroy, wasm, &stores, directory.path()).map(|running| (running, directory))
    };
    let services = [
        start(&floor, json!({}))?,
        start(&edge, item())?,
        start(&edge, minting_item("es"))?,
        start(&edge, minting_item("ed"))?,
    ];
    let mut clients = Vec::new();
    let mut processes = Vec::new();
    for (running, _) in &services {
        clients.push(Client::connect(running.address)?);
        processes.push(innermost(running.process_id())?);
    }

    let mut variants: Vec<(usize, Variant)> = Vec::new();
    let mut add = |service: usize, name, wanted, head: Box<dyn Fn(usize) -> String>| {
        variants.push((
            service,
            Variant { name, is_floor: service == 0, head, wanted, taken_us: Vec::new(), cpu_us: Vec::new() },
        ));
    };
    add(0, "empty", 200, Box::new(|_| head("/empty", &[])));
    add(0, "pass", 200, Box::new(|_| head("/pass", &[])));
    let public: [(&Key, String); 3] = {
        let raw = |key: &Key| -> anyhow::Result<String> {
            let jwk = key.jwk();
            let bytes = |name: &str| -> anyhow::Result<Vec<u8>> {
                Ok(BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or_default())?)
            };
            Ok(base64url(match key.alg() {
                "RS256" => bytes("n")?,
                "ES256" => [vec![4], bytes("x")?, bytes("y")?].concat(),
                _ => bytes("x")?,
            }))
        };
        [(&keys[0], raw(&keys[0])?), (&keys[1], raw(&keys[1])?), (&keys[2], raw(&keys[2])?)]
    };
    let names = [
        ("check RS256", "fresh RS256", "/check/rs256"),
        ("check ES256", "fresh ES256", "/check/es256"),
        ("check EdDSA", "fresh EdDSA", "/check/eddsa"),
    ];
    for ((key, raw), (bare, fresh, path)) in public.iter().zip(names) {
        let one = token(key, 0);
        let bare_head = head(path, &[("key", raw), ("token", &one)]);
        add(0, bare, 200, Box::new(move |_| bare_head.clone()));
        let tokens: Vec<String> = (0..rounds * BURST).map(|number| token(key, number)).collect();
        add(
            1,
            fresh,
            302,
            Box::new(move |round| {
                head("/checked", &[("authorization", &format!("Bearer {}", tokens[round]))])
            }),
        );
    }
    for (bare, path, kid) in [("sign ES256", "/sign/es256", 1), ("sign EdDSA", "/sign/eddsa", 2)] {
        let key: Value = serde_json::from_str(&keys[kid].private_jwk().context("a key that signs")?)?;
        let private = key["d"].as_str().unwrap_or_default().to_owned();
        let one = token(&keys[kid], 0);
        let bare_head = head(path, &[("key", &private), ("token", &one)]);
        add(0, bare, 200, Box::new(move |_| bare_head.clone()));
    }
    add(1, "answer of its own", 302, Box::new(|_| head("/open", &[])));
    add(1, "public", 200, Box::new(|_| head("/public", &[])));
    for (service, name) in [(1, "seen"), (2, "seen, ES256 minted"), (3, "seen, EdDSA minted")] {
        let again =
            head("/api", &[("authorization", &format!("Bearer {}", token(&keys[1], rounds * BURST)))]);
        add(service, name, 200, Box::new(move |_| again.clone()));
    }

    for round in 0..rounds {
        for (service, variant) in &mut variants {
            let mut before_us = 0.0;
            for number in 0..BURST {
                if number == WARM_UP {
                    before_us = computed_us(processes[*service])?;
                }
                let head = (variant.head)(round * BURST + number);
                let begin = Instant::now();
                let status = clients[*service].ask(&head).with_context(|| variant.name)?;
                let taken = begin.elapsed();
                ensure!(status == variant.wanted, "{} answered {status}", variant.name);
                if number >= WARM_UP {
                    variant.taken_us.push(taken.as_secs_f64() * 1e6);
                }
            }
            // The service writes its last log line and ends that instance after the answer.
            thread::sleep(Duration::from_millis(2));
            let counted = (BURST - WARM_UP) as f64;
            variant.cpu_us.push((computed_us(processes[*service])? - before_us) / counted);
        }
    }

    println!("| service | request | wall p50 us | CPU p50 us |\n|---|---|---:|---:|");
    for (_, variant) in &variants {
        let service = if variant.is_floor { "floor" } else { "edge" };
        let (wall, cpu) = (median(&variant.taken_us), median(&variant.cpu_us));
        println!("| {service} | {} | {wall:.0} | {cpu:.0} |", variant.name);
    }
    println!("\n| promise | by | allowed us | measured us | held |\n|---|---|---:|---:|---|");
    for by in ["wall", "CPU"] {
        let of = |name: &str| {
            let found = variants.iter().find(|(_, variant)| variant.name == name);
            let times =
                found.map(|(_, variant)| if by == "CPU" { &variant.cpu_us } else { &variant.taken_us });
            times.map(|times| median(times)).unwrap_or_default()
        };
        let line = |what: &str, allowed: f64, measured: f64| {
            let held = if measured <= allowed { "yes" } else { "**no**" };
            println!("| {what} | {by} | {allowed:.0} | {measured:.0} | {held} |");
        };
        for (bare, fresh, _) in names {
            line(&format!("{fresh}: 1.15 x bare check + 100"), 1.15 * of(bare) + 100.0, of(fresh));
        }
        line("seen token: 1.3 x pass-through", 1.3 * of("pass"), of("seen"));
        for (bare, minted) in [("sign ES256", "seen, ES256 minted"), ("sign EdDSA", "seen, EdDSA minted")] {
            let allowed = 1.15 * (of(bare) - of("empty")) + 100.0;
            let what = format!("{minted}, beyond seen: 1.15 x bare signature + 100");
            line(&what, allowed, of(minted) - of("seen"));
        }
    }
    Ok(())
}
