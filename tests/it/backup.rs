//! A backup of a running service, while records come in, and what a service that is started on it answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::app::{Service, eventually};

fn line(n: u64) -> String {
    format!(
        "{{\"ts_us\":{},\"correlation_id\":\"{n:032x}\",\"method\":\"GET\",\"host\":\"h\",\"url\":\"/{n}\",\"status\":200,\"pop\":\"FRA\",\"edge\":true,\"visits\":0,\"elapsed_us\":5,\"src\":\"fastly-vcl\",\"v\":1}}\n",
        1_795_290_064_000_000 + n
    )
}

#[test]
fn a_backup_of_a_running_service_has_everything_once_and_costs_no_delivery() {
    let service = Service::start();
    service.accept("/v1/fastly", (1..=100).map(line).collect::<String>());
    service.wait_stored(100);
    let (sent, over) = (AtomicU64::new(100), AtomicBool::new(false));
    let backup = service.directory().join("backup");
    let (before, manifest) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let first = sent.load(Ordering::Relaxed) + 1;
                // Acknowledged while the engine is away, too.
                service.accept("/v1/fastly", (first..first + 10).map(line).collect::<String>());
                sent.fetch_add(10, Ordering::Relaxed);
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let before = sent.load(Ordering::Relaxed);
        let output = service.cli(&["backup", backup.to_str().unwrap()]);
        over.store(true, Ordering::Relaxed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (before, serde_json::from_slice::<Value>(&output.stdout).expect("a manifest"))
    });
    assert!(manifest["tables"] == true && manifest["segments"].as_u64().unwrap() >= 1, "{manifest}");
    let sent = sent.into_inner();
    assert!(sent > before, "deliveries went on");
    service.wait_stored(sent);

    let restored = Service::beginning("", |data| {
        let output =
            service.cli(&["restore", backup.to_str().unwrap(), "--data-dir", data.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    eventually("the copied segments are shipped", || {
        let files = std::fs::read_dir(restored.data().join("spool")).unwrap().flatten();
        let sealed = files.filter(|file| file.file_name().to_string_lossy().ends_with(".sealed")).count();
        (sealed == 0).then_some(())
    });
    let stored = restored.stored_events();
    assert!(
        (before..=sent).contains(&stored),
        "{before} were accepted before, {sent} at all, {stored} are there"
    );
    for n in [1, 100, before] {
        let path = format!("/api/v1/traces/{n:032x}");
        let (first, second) = (service.json(&path), restored.json(&path));
        assert_eq!(second["spans"][0]["deliveries"], 1, "{second}");
        assert_eq!(first["spans"], second["spans"]);
    }
    // Nothing is there twice: as many rows as records, without folding.
    let search = restored.json("/api/v1/events?limit=1000");
    assert_eq!(search["events"].as_array().unwrap().len() as u64, stored.min(1000));
    for name in ["subject.key", "clickhouse-credentials", "instance"] {
        let of = |service: &Service| std::fs::read(service.data().join(name)).ok();
        assert_eq!(of(&service), of(&restored), "{name}");
    }
    // The restored one goes on by itself.
    restored.accept("/v1/fastly", line(1_000_000));
    restored.wait_stored(stored + 1);
}

#[test]
fn a_place_that_is_taken_and_a_backup_that_is_not_whole_are_refused() {
    let service = Service::start();
    let taken = service.directory().to_str().unwrap();
    let output = service.cli(&["backup", taken]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && talk.contains("does not exist yet"), "{talk}");
    let backup = service.directory().join("backup");
    assert!(service.cli(&["backup", backup.to_str().unwrap()]).status.success());
    let to = service.directory().join("restored");
    let restore = |to: &std::path::Path| {
        let output = service.cli(&["restore", backup.to_str().unwrap(), "--data-dir", to.to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, talk) = restore(service.directory());
    assert!(!good && talk.contains("is not empty"), "{talk}");
    std::fs::remove_file(backup.join("subject.key")).unwrap();
    let (good, talk) = restore(&to);
    assert!(!good && talk.contains("is not whole"), "{talk}");
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    let (good, talk) = restore(&service.directory().join("other"));
    assert!(!good && talk.contains("is no backup"), "{talk}");
    eventually("the engine is back", || (service.get("/readyz").0 == 200).then_some(()));
}
