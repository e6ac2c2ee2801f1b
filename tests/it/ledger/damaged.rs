//! A segment whose bytes were damaged on the disk: the books say so, and still balance for all that could be read.

use super::{line, sum};
use crate::app::{Options, Service, eventually};

/// Header of a segment and head of its first batch, by the layout in crates/spool.
const BEFORE_THE_FIRST_RECORD: usize = 64 + 20;

#[test]
fn a_damaged_segment_is_in_the_books() {
    // Nothing is shipped before it is damaged.
    let config = "[spool]\nsegment_age = '60s'\n".to_owned();
    let mut service = Service::with(Options { config, ..Options::default() });
    for delivery in 0..3 {
        service.accept("/v1/fastly", (1..=10).map(|n| line(100 * delivery + n)).collect::<String>());
    }
    service.kill();
    let spool = service.data().join("spool");
    let open = std::fs::read_dir(spool).unwrap().flatten().map(|entry| entry.path());
    let open: Vec<_> = open.filter(|path| path.extension().is_some_and(|ending| ending == "open")).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    let mut bytes = std::fs::read(&open[0]).unwrap();
    bytes[BEFORE_THE_FIRST_RECORD + 100] ^= 1;
    std::fs::write(&open[0], bytes).unwrap();
    service.restart();
    // The entry that says so waits in an open segment; a drain ships it.
    assert!(service.terminate().success());
    service.restart();
    let ledger = eventually("the damage is in the books", || {
        let ledger: serde_json::Value = serde_json::from_str(&service.get("/api/v1/ledger").1).ok()?;
        (sum(&ledger, "spool")["set_aside"] == 1 && sum(&ledger, "fastly")["received"] == 20)
            .then_some(ledger)
    });
    assert_eq!(sum(&ledger, "fastly")["missing"], 0, "what was read whole is all there: {ledger}");
    let output = service.cli(&["doctor"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("1 spool segments could not be read whole"), "{shown}");
}
