//! What a real Envoy says of itself against what came from it: nothing is missing while the service is there, and what
//! Envoy hands to nobody shows, although Envoy calls it written.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::sum;
use crate::app::{Options, Service, eventually};
use crate::envoy::{Envoy, EnvoyOptions};

/// A fixed address for the statistics of an Envoy that starts later: passes on what its admin interface answers, and
/// counts how often.
struct Statistics {
    address: SocketAddr,
    admin: Arc<Mutex<Option<SocketAddr>>>,
    passed: Arc<AtomicU64>,
}

impl Statistics {
    /// The thread ends with the test's process: it waits on its listener.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let admin = Arc::new(Mutex::new(None));
        let passed = Arc::new(AtomicU64::new(0));
        let (known, count) = (Arc::clone(&admin), Arc::clone(&passed));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let _ = reader.lines().map_while(Result::ok).find(|line| line.is_empty());
                let Some(admin) = *known.lock().unwrap() else { continue };
                let Ok(answer) = chain::get(admin, "/stats/prometheus", &[("host", "admin")]) else {
                    continue;
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.body.len()
                );
                if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer.body)).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { address, admin, passed }
    }

    /// Waits until whoever asks has been told what is true now.
    fn wait_told(&self) {
        let before = self.passed.load(Ordering::Relaxed);
        eventually("Envoy's statistics are read", || {
            (self.passed.load(Ordering::Relaxed) >= before + 2).then_some(())
        });
    }
}

fn wait_sender(service: &Service, expected: [u64; 2], missing: i64) -> Value {
    let mut last = Value::Null;
    let found = eventually(&format!("written and received are {expected:?}"), || {
        let (status, body) = service.get("/api/v1/ledger?source=mesh");
        last = serde_json::from_str(&body).unwrap_or_default();
        let line = sum(&last, "mesh");
        let counts =
            [&line["sender"]["written"], &line["received"]].map(|count| count.as_u64().unwrap_or_default());
        (status == 200 && counts == expected).then(|| line.clone())
    });
    assert_eq!(found["sender"]["missing"], missing, "{found}");
    assert_eq!(found["sender"]["dropped"], 0, "Envoy does not call it dropped: {found}");
    found
}

#[test]
fn what_envoy_hands_to_nobody_is_missing_in_the_books() {
    let statistics = Statistics::start();
    let stats = format!("http://{}/stats/prometheus", statistics.address);
    let mut service = Service::with(Options {
        config: format!(
            "[stats]\ninterval = '1s'\n[[source]]\nname = 'mesh'\nkind = 'als'\nstats = ['{stats}']\n"
        ),
        ..Options::default()
    });
    let logs = tempfile::tempdir().unwrap();
    let envoy = Envoy::start(EnvoyOptions {
        http_sink: service.http,
        grpc_sink: service.grpc,
        log_dir: logs.path().to_owned(),
    });
    *statistics.admin.lock().unwrap() = Some(envoy.admin());
    statistics.wait_told();
    for _ in 0..30 {
        envoy.request("/ok", &[]);
    }
    wait_sender(&service, [30, 30], 0);
    let metrics = service.get("/metrics").1;
    let written =
        "throughline_sender_records_total{tenant=\"default\",source=\"mesh\",outcome=\"written\"} 30";
    assert!(metrics.contains(written), "{metrics}");

    assert!(service.terminate().success());
    for _ in 0..20 {
        envoy.request("/ok", &[]);
    }
    // Flushed once a second, to nobody. The service comes back on another port, where this Envoy does not find it.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    service.restart();
    wait_sender(&service, [50, 30], 20);
    let output = service.cli(&["doctor"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("wrote 50 records, 20 (40.0%) more than were received"), "{shown}");
}
