//! `throughline verify`: some of its minutes, that its oracle notices what is wrong, and defects that it found.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::{BINARY, eventually};
use crate::store::Store;

/// Runs the subcommand; its talk is shown with the test's.
fn verify(arguments: &[&str]) -> (Output, Value) {
    let mut command = Command::new(BINARY);
    // Under libfaketime a service is slow to start: only the test that steps clocks wants it.
    command.args(["verify", "--json"]).args(arguments).env_remove("THROUGHLINE_FAKETIME");
    let output = command.output().expect("run verify");
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, answer)
}

fn is_clean(output: &Output, answer: &Value) {
    assert_eq!(output.status.code(), Some(0), "{answer}");
    for what in ["lost", "duplicated", "corrupted"] {
        assert_eq!(answer[what], 0, "{answer}");
    }
    // That nothing was lost says something only where something was sent and killed.
    assert!(answer["acknowledged"].as_u64().unwrap() > 1000, "{answer}");
    assert!(answer["faults"]["kills"].as_u64().unwrap() >= 3, "{answer}");
}

#[test]
fn a_minute_of_a_fixed_seed_loses_nothing() {
    let (output, answer) = verify(&["--minutes", "1", "--seed", "1", "--empty-store"]);
    is_clean(&output, &answer);
    assert_eq!(answer["faults"]["unasked_ends"].as_array().unwrap().len(), 0, "{answer}");
    assert_eq!(answer["faults"]["bad_drains"], 0, "{answer}");
    let emptied = &answer["emptied"];
    for what in ["lost", "duplicated", "corrupted"] {
        assert_eq!(emptied[what], 0, "{answer}");
    }
    assert!(emptied["acknowledged"].as_u64().unwrap() > 100, "{answer}");
}

#[test]
fn twenty_seconds_of_a_random_seed_and_wrong_clocks_lose_nothing() {
    let library = std::env::var("THROUGHLINE_FAKETIME")
        .unwrap_or_else(|_| "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1".to_owned());
    assert!(Path::new(&library).is_file(), "{library} is missing: run scripts/setup-tests, or make test");
    // The first line of its talk is the seed.
    let (output, answer) = verify(&["--minutes", "0.33", "--faketime", &library]);
    is_clean(&output, &answer);
}

#[test]
fn the_oracle_notices_a_removed_a_doubled_and_a_changed_record_in_a_real_store() {
    let scratch = tempfile::tempdir().unwrap();
    let directory: PathBuf = scratch.path().join("run");
    let at = directory.to_str().unwrap();
    let (output, answer) = verify(&["--minutes", "0.15", "--seed", "3", "--keep", "--dir", at]);
    assert_eq!(output.status.code(), Some(0), "{answer}");
    let (_, again) = verify(&["--check", at]);
    assert_eq!((&again["lost"], &again["stored"]), (&Value::from(0), &answer["stored"]), "{again}");

    // Records of one lane that were sent once, acknowledged, and not damaged by the run itself.
    const ALS: u64 = 7;
    let kept: Value = serde_json::from_slice(&std::fs::read(directory.join("ledger.json")).unwrap()).unwrap();
    let damaged = kept["books"]["damaged"].as_array().unwrap();
    let counts = kept["books"]["lanes"][ALS as usize].as_array().unwrap();
    let numbers = (0..).zip(counts).map(|(nth, counts)| (ALS << 48 | nth, counts));
    let once = numbers.filter(|(number, counts)| {
        counts["sent"] == 1 && counts["acknowledged"] == 1 && !damaged.contains(&Value::from(*number))
    });
    let store = Store::open(&directory.join("data/engine"));
    let path_of = |number: u64| {
        let statement =
            format!("SELECT path FROM events WHERE startsWith(path, '/v/{number:016x}/') FORMAT TSV");
        store.run(&statement).trim_end().to_owned()
    };
    let paths: Vec<String> = once.take(3).map(|(number, _)| path_of(number)).collect();
    let [removed, doubled, changed] = paths.as_slice() else { panic!("too few records: {paths:?}") };
    // Told from the store's own rows by a random token, as the service's inserts are.
    store.run(&format!(
        "INSERT INTO events SETTINGS insert_deduplicate = 0 SELECT * FROM events WHERE path = '{doubled}'"
    ));
    store.run(&format!(
        "INSERT INTO events SETTINGS insert_deduplicate = 0 SELECT * REPLACE (toUInt16(418) AS status) FROM events \
         WHERE path = '{changed}'"
    ));
    let delete = format!("path = '{removed}' OR (path = '{changed}' AND status != 418)");
    store.run(&format!("ALTER TABLE events DELETE WHERE {delete} SETTINGS mutations_sync = 2"));
    drop(store);

    let (output, doctored) = verify(&["--check", at]);
    assert_eq!(output.status.code(), Some(1), "{doctored}");
    assert_eq!(
        (&doctored["lost"], &doctored["duplicated"]),
        (&Value::from(1), &Value::from(1)),
        "{doctored}"
    );
    let findings = doctored["findings"].to_string();
    for what in ["is lost: 0 rows, acknowledged 1 times by the stream's OK end", "is doubled: 2 rows", "418"]
    {
        assert!(findings.contains(what), "{what}: {findings}");
    }
}

#[test]
fn a_service_that_waits_for_its_store_ends_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("throughline.toml");
    std::fs::write(
        &config,
        "http.listen = '127.0.0.1:0'\ngrpc.listen = '127.0.0.1:0'\ndrain.deadline = '2s'\n",
    )
    .unwrap();
    // Bound and never accepted from: a store that does not answer.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let log = directory.path().join("log");
    let mut service = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(["--store", &format!("http://{}", nobody.local_addr().unwrap())])
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    eventually("it listens", || said().contains("gRPC on").then_some(()));
    // Preparing the store begins right after that line, and never ends here.
    std::thread::sleep(Duration::from_millis(300));
    Command::new("kill").arg(service.id().to_string()).status().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = service.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > until {
            service.kill().unwrap();
            service.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.is_some_and(|status| status.success()), "{status:?}:\n{}", said());
}
