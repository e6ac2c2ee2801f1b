//! A data directory that an older version left: this one opens it, brings the tables up to date, ships what waited, and
//! answers as before. `tests/data/previous/make` made it. And the way back, as far as it goes: what a newer version wrote
//! is kept by this one, untouched, and shipped by the newer one.

use std::path::Path;
use std::process::Command;

use crate::app::{Service, eventually};

const KEEP: &str = "[retention]\nattributes_days = 20000\nevents_days = 20000\nerrors_days = 20000\nrejects_days = 20000\nrollups_days = 20000\n";

/// A service on the older version's directory.
fn upgraded() -> Service {
    Service::beginning(KEEP, |data| {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/previous/data.tar.gz");
        let unpacked =
            Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(data.parent().unwrap()).status();
        assert!(unpacked.expect("run tar").success());
    })
}

#[test]
fn an_older_data_directory_is_opened_migrated_shipped_and_answers_the_same() {
    let mut service = upgraded();
    // Two requests are in its tables, two in its spool; each is an edge's and a gateway's record.
    service.wait_stored(8);
    for n in 1..=4 {
        let answer = service.json(&format!("/api/v1/traces/{n:032x}"));
        let spans = answer["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 2, "{answer}");
        assert!(spans.iter().all(|span| span["deliveries"] == 1), "{answer}");
        assert_eq!(spans[1]["parent"], spans[0]["id"], "the gateway is under the edge: {answer}");
    }
    eventually("the spool is empty", || {
        let files = std::fs::read_dir(service.data().join("spool")).unwrap().flatten();
        let sealed = files.filter(|file| file.file_name().to_string_lossy().ends_with(".sealed")).count();
        (sealed == 0).then_some(())
    });
    assert!(service.log.lock().unwrap().contains("schema is current"));
    // What came later is in the same tables, and all of it stays over a restart.
    service.accept("/v1/fastly", "{\"ts_us\":1795290064000000,\"correlation_id\":\"0000000000000000000000000000beef\",\"method\":\"GET\",\"host\":\"h\",\"url\":\"/\",\"status\":200,\"pop\":\"FRA\",\"edge\":true,\"visits\":0,\"elapsed_us\":5,\"src\":\"fastly-vcl\",\"v\":1}\n");
    service.wait_stored(9);
    service.kill();
    service.restart();
    service.wait_stored(9);
}

/// The version of the first record of a sealed segment's only batch, replaced, with the checksums that go with it.
fn set_record_version(segment: &Path, version: u8) {
    let mut bytes = std::fs::read(segment).unwrap();
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (head, body) = (64, 64 + 20);
    let length = number(&bytes, head + 4) as usize;
    assert_eq!(
        &bytes[body + length..body + length + 4],
        b"TLSE",
        "one batch: the layout is crates/spool's module doc"
    );
    bytes[body + 4] = version;
    let id: Vec<u8> = bytes[16..32].to_vec();
    let crc = crc32c::crc32c(&bytes[body..body + length]);
    bytes[head + 12..head + 16].copy_from_slice(&crc.to_le_bytes());
    let bound = [&id[..], &64u64.to_le_bytes(), &bytes[head..head + 16]].concat();
    let head_crc = crc32c::crc32c(&bound).to_le_bytes();
    bytes[head + 16..head + 20].copy_from_slice(&head_crc);
    let trailer = body + length;
    let batches = crc32c::crc32c(&head_crc);
    bytes[trailer + 4..trailer + 8].copy_from_slice(&batches.to_le_bytes());
    let own = crc32c::crc32c(&[&id[..], &bytes[trailer..trailer + 44]].concat());
    bytes[trailer + 44..trailer + 48].copy_from_slice(&own.to_le_bytes());
    std::fs::write(segment, bytes).unwrap();
}

#[test]
fn what_a_newer_version_wrote_waits_and_is_shipped_by_the_newer_one() {
    let mut service = Service::start();
    service.kill();
    let config = service.directory().join("throughline.toml");
    let with_engine = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, with_engine.clone() + "[store]\nurl = 'http://127.0.0.1:9'\n").unwrap();
    service.restart_unready();
    let line = |n: u32| {
        format!(
            "{{\"ts_us\":1795290064000000,\"correlation_id\":\"{n:032x}\",\"method\":\"GET\",\"host\":\"h\",\"url\":\"/\",\"status\":200,\"pop\":\"FRA\",\"edge\":true,\"visits\":0,\"elapsed_us\":5,\"src\":\"fastly-vcl\",\"v\":1}}\n"
        )
    };
    service.accept("/v1/fastly", line(1));
    let spool = service.data().join("spool");
    let sealed = eventually("a segment is sealed", || {
        let mut files = std::fs::read_dir(&spool).unwrap().flatten().map(|file| file.path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "sealed"))
    });
    service.kill();
    // As a much newer version of the record form would write it: the way back, seen from this one.
    set_record_version(&sealed, 200);
    let written = std::fs::read(&sealed).unwrap();
    std::fs::write(&config, &with_engine).unwrap();
    service.restart();
    service.accept("/v1/fastly", line(2));
    service.wait_stored(1);
    eventually("the log says what waits", || {
        let log = service.log.lock().unwrap();
        let said =
            log.lines().filter(|line| line.contains("a newer version wrote this segment; it waits for one"));
        (said.count() == 1).then_some(())
    });
    assert_eq!(std::fs::read(&sealed).unwrap(), written, "it is kept as it is");
    service.kill();
    // The newer version, for which the record has its own form.
    set_record_version(&sealed, 1);
    service.restart();
    service.wait_stored(2);
    // Its rows can be read a moment before it is deleted.
    eventually("the segment is deleted", || (!sealed.exists()).then_some(()));
}
