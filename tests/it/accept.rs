//! What Fastly's endpoint sends, in every dress: encodings, methods, framings; and what the answer says.

use std::io::Write as _;

use crate::app::{Service, data};

type Headers = [(&'static str, &'static str)];

fn lines(count: usize) -> String {
    (0..count)
        .map(|n| {
            format!(
                "{{\"timestamp\":\"2026-11-21T20:00:{:02}+0000\",\"client_ip\":\"203.0.113.9\",\"geo_country\":\"germany\",\
                 \"host\":\"shop.example.com\",\"url\":\"/item/{n}\",\"request_method\":\"GET\",\"response_status\":200,\
                 \"response_state\":\"HIT\",\"fastly_server\":\"cache-fra-eddf8230{n}-FRA\",\"fastly_is_edge\":true}}\n",
                n % 60
            )
        })
        .collect()
}

#[test]
fn every_encoding_and_method_is_the_same_delivery() {
    let service = Service::start();
    let plain = lines(10);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::bulk::compress(plain.as_bytes(), 1).unwrap();
    let framed = {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(plain.as_bytes()).unwrap();
        encoder.into_inner().unwrap()
    };
    let raw_snappy = snap::raw::Encoder::new().compress_vec(plain.as_bytes()).unwrap();
    let bodies: [(&Headers, Vec<u8>); 7] = [
        (&[], plain.into_bytes()),
        (&[("content-encoding", "gzip")], gzip.clone()),
        (&[], gzip),
        (&[("content-encoding", "zstd")], zstd.clone()),
        (&[], zstd),
        (&[("content-encoding", "snappy")], framed),
        (&[("content-encoding", "snappy")], raw_snappy),
    ];
    let sent = bodies.len() as u64 * 10;
    for (headers, body) in bodies {
        let (status, answer) = service.post("/v1/fastly", headers, body);
        assert_eq!(status, 200, "{headers:?}: {answer}");
        let receipt: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (&receipt["accepted"], &receipt["rejected"]),
            (&10.into(), &0.into()),
            "{headers:?}: {answer}"
        );
    }
    service.wait_stored(sent);
}

#[test]
fn the_challenge_is_always_up_and_open() {
    let service = Service::start();
    let (status, body) = service.get("/.well-known/fastly/logging/challenge");
    assert_eq!((status, body.as_str()), (200, "*\n"));
    assert_eq!(service.head("/.well-known/fastly/logging/challenge"), 200);
}

#[test]
fn bad_lines_cost_nothing_else_and_are_named() {
    let service = Service::start();
    let good = lines(2);
    let (first, second) = good.split_once('\n').unwrap();
    let body = format!(
        "{first}\nthis is no log line\n{second}\n{{\"timestamp\":\"2026-11-21T20:00:00+0000\",\"url\":\"/cut"
    );
    let receipt = service.accept("/v1/fastly", body);
    assert_eq!((&receipt["accepted"], &receipt["rejected"]), (&2.into(), &2.into()), "{receipt}");
    let offset = receipt["rejects"][0]["offset"].as_u64().unwrap();
    assert_eq!(offset as usize, first.len() + 1);
    service.wait_stored(2);
    // They are inserted beside the sums that were waited for.
    crate::app::eventually("both rejects are found", || {
        let rejects = service.json("/api/v1/rejects");
        (rejects["rejects"].as_array().unwrap().len() == 2).then_some(())
    });
}

#[test]
fn every_field_set_in_the_tree_is_accepted_whole() {
    let service = Service::start();
    // A set, how many records it holds, how many of them are rejects: `f11` mixes in a line of plain text.
    let sets = [
        ("f01-default.ndjson", 8, 0),
        ("f02-datadog.ndjson", 6, 0),
        ("f03-splunk.ndjson", 6, 0),
        ("f04-honeycomb.ndjson", 6, 0),
        ("f05-new-relic.ndjson", 5, 0),
        ("f06-sumo-logic.ndjson", 6, 0),
        ("f07-fastly-log-analytics.ndjson", 6, 0),
        ("f08-aem-cdn.ndjson", 6, 0),
        ("f09-severity-status.ndjson", 5, 0),
        ("f10-correlated.ndjson", 5, 0),
        ("f11-compute.log", 5, 1),
        ("f12-combined.log", 6, 0),
        ("public-samples.ndjson", 3, 0),
    ];
    let mut stored = 0;
    for (set, records, rejects) in sets {
        let receipt = service.accept("/v1/fastly", data(&format!("fastly/{set}")));
        let (accepted, rejected) =
            (receipt["accepted"].as_u64().unwrap(), receipt["rejected"].as_u64().unwrap());
        assert_eq!((accepted + rejected, rejected), (records, rejects), "{set}: {receipt}");
        stored += accepted;
    }
    service.wait_stored(stored);
}

#[test]
fn what_is_too_large_or_no_archive_is_refused_with_a_sentence() {
    let service = Service::with(crate::app::Options {
        config: "[limits]\nbody = '64KiB'\nunpacked = '128KiB'\n".to_owned(),
        ..Default::default()
    });
    let (status, answer) = service.post("/v1/fastly", &[], vec![b'x'; 70 << 10]);
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("limits.body"), "{answer}");
    let bomb = zstd::bulk::compress(&vec![b'x'; 4 << 20], 1).unwrap();
    let (status, answer) = service.post("/v1/fastly", &[("content-encoding", "zstd")], bomb);
    assert_eq!(status, 400, "{answer}");
    crate::app::eventually("what could not be unpacked is kept as a reject", || {
        let rejects = service.json("/api/v1/rejects?reason=bad_compression");
        (rejects["rejects"].as_array().unwrap().len() == 1).then_some(())
    });
    let (status, answer) = service.post("/v1/fastly", &[("content-encoding", "gzip")], "not gzip at all");
    // Sniffed: not gzip by magic, so it is taken as what it is: a line that is no log line.
    assert!(status == 200 || status == 400, "{status}: {answer}");
    let (status, _) = service.post("/v1/fastly/nobody", &[], "x");
    assert_eq!(status, 404);
}
