//! The chain under load while the provider rotates its keys and goes out of service, and while the edge's clock is wrong: whoever
//! has a valid token gets in, whoever has none does not.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chain::{Chain, Key, Programs, SHOP_HOST, get};
use serde_json::json;

use super::programs;

/// Clients at once. More of them only queue on a machine with two cores.
const CLIENTS: usize = 4;
/// Valid requests that each state of things must see; it then ends.
const REQUESTS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(120);

/// Requests by what things were like when they began, and what was answered.
type Seen = Mutex<BTreeMap<(&'static str, u16), usize>>;

/// Viceroy under a clock that runs as `offset` says, which may change while it runs.
fn shifted(programs: Programs, directory: &Path) -> Programs {
    let library = std::env::var("THROUGHLINE_FAKETIME")
        .unwrap_or_else(|_| "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1".to_owned());
    assert!(Path::new(&library).is_file(), "{library} is missing: run scripts/setup-tests, or make test");
    let wrapper = directory.join("viceroy");
    let text = format!(
        "#!/bin/sh\nexport LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1\n\
         exec {} \"$@\"\n",
        directory.join("offset").display(),
        programs.viceroy.display()
    );
    std::fs::write(&wrapper, text).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Programs { viceroy: wrapper, ..programs }
}

/// Written beside and renamed: it is read at every look at the clock.
fn shift(directory: &Path, offset: &str) {
    std::fs::write(directory.join("offset.new"), offset).unwrap();
    std::fs::rename(directory.join("offset.new"), directory.join("offset")).unwrap();
}

fn ask(chain: &Chain, token: &str) -> u16 {
    let headers = [("host", SHOP_HOST), ("authorization", &format!("Bearer {token}"))];
    get(chain.edge, "/shop/ok", &headers).expect("the edge answers").status
}

#[test]
fn no_valid_request_is_refused_through_rotation_outage_and_wrong_clocks() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    shift(directory, "+0s");
    // Bound and never accepted from: nobody wants the logs here.
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink_at = sink.local_addr().unwrap();
    let chain =
        Chain::start(&shifted(programs(), directory), directory, sink_at, sink_at).expect("the chain");

    let now = Mutex::new("as always");
    let (valid, forged) = (Seen::default(), Seen::default());
    let stop = AtomicBool::new(false);
    let mut offsets_s = Vec::new();
    let count = |seen: &Seen, state, status| *seen.lock().unwrap().entry((state, status)).or_default() += 1;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (chain, now, valid, stop) = (&chain, &now, &valid, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let state = *now.lock().unwrap();
                    // Each is new to the edge, so that each is verified.
                    let token = chain.token(&json!({ "jti": format!("{client}-{number}") }));
                    count(valid, state, ask(chain, &token));
                }
            });
        }
        scope.spawn(|| {
            // Another's signature under the provider's newest key id, and one whose time is over.
            while !stop.load(Ordering::SeqCst) {
                let state = *now.lock().unwrap();
                let kid = chain.provider.kid();
                let claims = json!({ "iss": "https://login.example.com", "aud": "shop-api", "sub": "ada",
                    "iat": chain::now_s(), "exp": chain::now_s() + 300 });
                count(&forged, state, ask(&chain, &Key::es256(&kid).token(&claims)));
                let over = chain.token(&json!({ "iat": chain::now_s() - 900, "exp": chain::now_s() - 200 }));
                count(&forged, state, ask(&chain, &over));
            }
        });

        // A state ends when enough requests began and ended in it.
        let during = |state: &'static str, change: &dyn Fn()| {
            change();
            *now.lock().unwrap() = state;
            let deadline = Instant::now() + PATIENCE;
            let so_far = || {
                valid
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|((own, _), _)| *own == state)
                    .map(|(_, n)| n)
                    .sum::<usize>()
            };
            while so_far() < REQUESTS && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
        };
        let provider = &chain.provider;
        let keys: Vec<Arc<Key>> =
            ["login-2", "login-3", "login-4"].map(|kid| Arc::new(Key::es256(kid))).into();
        during("as always", &|| {});
        during("a new key signs, the old one is published", &|| {
            provider.rotate(Arc::clone(&keys[0]), &[&keys[1]]);
        });
        during("the next key signs, the old one is withdrawn", &|| {
            provider.rotate(Arc::clone(&keys[1]), &[]);
        });
        during("the provider is out", &|| provider.set_out(true));
        during("it is back with another key", &|| {
            provider.rotate(Arc::clone(&keys[2]), &[&keys[1]]);
            provider.set_out(false);
        });
        // How far the edge's own log is from our clock, to the second.
        let is_off_by_s = || {
            let line = chain.edge_lines().pop().expect("the edge logs");
            i64::try_from(line["ts_us"].as_u64().unwrap() / 1_000_000).unwrap()
                - i64::try_from(chain::now_s()).unwrap()
        };
        for (state, offset_s) in [
            ("the edge's clock is 50 s ahead", 50),
            ("the edge's clock is 50 s behind", -50),
            ("the clock is right again", 0),
        ] {
            during(state, &|| shift(directory, &format!("{offset_s:+}s")));
            offsets_s.push((offset_s, is_off_by_s()));
        }
        stop.store(true, Ordering::SeqCst);
    });

    let (valid, forged) = (valid.into_inner().unwrap(), forged.into_inner().unwrap());
    println!("valid: {valid:#?}\nforged: {forged:#?}\nkey set asked for {} times", chain.provider.asked());
    let output = || chain.edge_output();
    assert!(
        valid.keys().all(|(_, status)| *status == 200),
        "a valid request was refused: {valid:#?}\n{}",
        output()
    );
    assert_eq!(valid.len(), 8, "every state saw requests: {valid:#?}");
    assert!(forged.keys().all(|(_, status)| [401, 503].contains(status)), "somebody got in: {forged:#?}");
    let is_as_set = |(set, felt): &(i64, i64)| (set - 20..=set + 5).contains(felt);
    assert!(offsets_s.iter().all(is_as_set), "the edge did not feel its clock shifted: {offsets_s:?}");
    // Once at the start, once for each of the three new keys, and what the outage and the jumps of the clock add.
    assert!(chain.provider.asked() <= 24, "{} fetches of the key set", chain.provider.asked());
}
