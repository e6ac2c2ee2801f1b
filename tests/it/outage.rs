//! The store is away: what comes is taken to the budget, answers say what they cannot show, and afterwards it catches up
//! while more arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::app::{Options, Service, eventually};
use crate::durability::line;
use crate::store::{Proxy, Store};

/// The pause between two deliveries.
const PAUSE: Duration = Duration::from_millis(100);

/// Lines a delivery: a steady 500 a second, which a debug build ships beside all other tests.
/// `OUTAGE_LINES` measures another rate.
fn lines_a_delivery() -> u64 {
    set("OUTAGE_LINES").unwrap_or(50)
}

/// How long the store is away: the shortened hours. `OUTAGE_S` measures longer ones.
fn away() -> Duration {
    Duration::from_secs(set("OUTAGE_S").unwrap_or(8))
}

fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn stored(store: &Store) -> u64 {
    store.run("SELECT count() FROM events FORMAT TSV").trim().parse().unwrap()
}

#[test]
fn after_an_outage_it_catches_up_faster_than_records_arrive_and_says_so_meanwhile() {
    let lines = lines_a_delivery();
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
                service.accept("/v1/fastly", (1..=lines).map(|n| line(first + n)).collect::<String>());
                sent.store(first + lines, Ordering::Release);
                std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
            }
        }
    });
    eventually("records flow", || (stored(&store) > 0).then_some(()));
    let began = (Instant::now(), sent.load(Ordering::Acquire));
    proxy.take_down();
    std::thread::sleep(away());

    let output = service.cli(&["trace", &format!("{:032x}", u128::MAX >> 1)]);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(talk.contains("not all is visible yet: records="), "{talk}");

    let (behind, from) = (sent.load(Ordering::Acquire) - stored(&store), stored(&store));
    assert!(behind > lines * 30, "{behind} records wait");
    proxy.mend();
    let mended = (Instant::now(), sent.load(Ordering::Acquire));
    // Caught up: no more is missing than what a segment that is not sealed yet holds.
    eventually("it has caught up", || {
        (sent.load(Ordering::Acquire) - stored(&store) < 2 * lines * 10).then_some(())
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

/// Bytes that are free on the disk of a directory.
fn free_bytes(directory: &std::path::Path) -> u64 {
    let df =
        std::process::Command::new("df").args(["--output=avail", "-B1"]).arg(directory).output().unwrap();
    String::from_utf8(df.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn below_the_floor_of_free_disk_senders_are_put_off_and_nothing_acknowledged_is_lost() {
    // Half a floor above, half a floor below: what other tests write meanwhile does not matter.
    let free = free_bytes(&std::env::temp_dir());
    let mut service = Service::with(Options {
        config: format!(
            "[spool]\nmax_bytes = '8MiB'\nsegment_bytes = '8MiB'\nmin_free = '{}'\n",
            free - free / 8
        ),
        ..Options::default()
    });
    service.accept("/v1/fastly", line(1));
    // Somebody else takes the room.
    let hog = service.data().join("hog");
    let allocated =
        std::process::Command::new("fallocate").args(["-l", &(free / 4).to_string()]).arg(&hog).status();
    assert!(
        allocated.unwrap().success(),
        "fallocate (Debian: util-linux) cannot allocate {} bytes",
        free / 4
    );
    let refused = eventually("it refuses", || {
        let (status, answer) = service.post("/v1/fastly", &[], line(2));
        (status != 200).then_some((status, answer))
    });
    assert_eq!(refused.0, 503, "{}", refused.1);
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
