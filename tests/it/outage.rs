//! The store is away: what comes is taken to the budget, answers say what they cannot show, and afterwards it catches up
//! while more arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::app::{Options, Service, eventually};
use crate::durability::line;
use crate::store::{Proxy, Store};

/// Lines a delivery, and the pause between two: a steady 500 a second, which a debug build ships beside all other tests.
const LINES: u64 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the store is away: the shortened hours.
const AWAY: Duration = Duration::from_secs(8);

fn stored(store: &Store) -> u64 {
    store.run("SELECT count() FROM events FORMAT TSV").trim().parse().unwrap()
}

#[test]
fn after_an_outage_it_catches_up_faster_than_records_arrive_and_says_so_meanwhile() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    let proxy = Proxy::before(store.address);
    let service =
        Arc::new(Service::with(Options { config: store.config(proxy.address), ..Options::default() }));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let sender = std::thread::spawn({
        let (service, stop, sent) = (Arc::clone(&service), Arc::clone(&stop), Arc::clone(&sent));
        move || {
            while !stop.load(Ordering::Acquire) {
                let begun = Instant::now();
                let first = sent.load(Ordering::Acquire);
                service.accept("/v1/fastly", (1..=LINES).map(|n| line(first + n)).collect::<String>());
                sent.store(first + LINES, Ordering::Release);
                std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
            }
        }
    });
    eventually("records flow", || (stored(&store) > 0).then_some(()));
    let began = (Instant::now(), sent.load(Ordering::Acquire));
    proxy.take_down();
    std::thread::sleep(AWAY);

    let output = service.cli(&["trace", &format!("{:032x}", u128::MAX >> 1)]);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(talk.contains("not all is visible yet: records="), "{talk}");

    let (behind, from) = (sent.load(Ordering::Acquire) - stored(&store), stored(&store));
    assert!(behind > LINES * 30, "{behind} records wait");
    proxy.mend();
    let mended = (Instant::now(), sent.load(Ordering::Acquire));
    // Caught up: no more is missing than what a segment that is not sealed yet holds.
    eventually("it has caught up", || {
        (sent.load(Ordering::Acquire) - stored(&store) < 2 * LINES * 10).then_some(())
    });
    let took = mended.0.elapsed().as_secs_f64();
    let arrival = (mended.1 - began.1) as f64 / (mended.0 - began.0).as_secs_f64();
    let shipped = (stored(&store) - from) as f64 / took;
    eprintln!(
        "arrival {arrival:.0}/s, behind {behind}, caught up in {took:.1} s at {shipped:.0}/s: {:.1} x",
        shipped / arrival
    );
    assert!(shipped >= 2.0 * arrival, "{shipped} a second shipped, {arrival} a second arrive");
    stop.store(true, Ordering::Release);
    sender.join().unwrap();
    let all = sent.load(Ordering::Acquire);
    eventually("all is stored", || (stored(&store) == all).then_some(()));
    let distinct = store.run("SELECT uniqExact(event_key) FROM events FORMAT TSV");
    assert_eq!(distinct.trim(), all.to_string());
}

/// A file system of its own under the spool; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Only root may mount. Elsewhere the spool's own tests say the same of a disk in memory (crates/spool/src/tests/full.rs).
    fn mount(at: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(at)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn below_the_floor_of_a_small_disk_senders_are_put_off_and_nothing_acknowledged_is_lost() {
    let mut service = Service::with(Options {
        config: "[spool]\nmax_bytes = '8MiB'\nsegment_bytes = '8MiB'\nmin_free = '20MiB'\n".to_owned(),
        ..Options::default()
    });
    service.kill();
    let spool = service.data().join("spool");
    let Some(_disk) = SmallDisk::mount(&spool) else {
        eprintln!("only root can mount: crates/spool/src/tests/full.rs shows it on a disk in memory");
        return;
    };
    service.restart();
    service.accept("/v1/fastly", line(1));
    // Somebody else takes the room.
    let hog = spool.join("hog");
    std::fs::write(&hog, vec![1; 30 << 20]).unwrap();
    let (status, answer) = service.post("/v1/fastly", &[], line(2));
    assert_eq!(status, 503, "{answer}");
    assert!(service.get("/readyz").1.contains("spool.min_free"), "{}", service.get("/readyz").1);
    service.wait_stored(1);
    std::fs::remove_file(&hog).unwrap();
    eventually("it goes on by itself", || (service.post("/v1/fastly", &[], line(2)).0 == 200).then_some(()));
    service.wait_stored(2);
    service.kill();
}

#[test]
fn where_the_oldest_may_be_dropped_the_newest_are_taken_and_the_loss_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("engine"));
    let proxy = Proxy::before(store.address);
    let full = "[spool]\nmax_bytes = '9MiB'\nsegment_bytes = '8MiB'\nsegment_age = '100ms'\nwhen_full = 'drop_oldest'\n";
    let config = store.config(proxy.address) + full;
    let service = Service::with(Options { config, ..Options::default() });
    proxy.take_down();
    let mut sent = 0;
    let dropped = |what: &str| {
        let (_, text) = service.get("/metrics");
        let name = format!("throughline_spool_dropped_{what}_total ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok()).unwrap()
    };
    while dropped("segments") < 3 {
        service.accept("/v1/fastly", (1..=5000).map(|n| line(sent + n)).collect::<String>());
        sent += 5000;
        assert!(sent < 2_000_000, "the budget is never met");
    }
    let lost = dropped("records");
    assert!(service.log.lock().unwrap().contains("deleted acknowledged records"));
    proxy.mend();
    // What is in the segments but events: entries of the ledger.
    eventually("the rest is stored", || (stored(&store) + lost >= sent).then_some(()));
    assert!(
        stored(&store) <= sent && stored(&store) + lost <= sent + 100,
        "{} of {sent}, {lost} dropped",
        stored(&store)
    );
    let newest = service.json(&format!("/api/v1/traces/{sent:032x}"));
    assert_eq!(newest["spans"].as_array().unwrap().len(), 1, "{newest}");
}
