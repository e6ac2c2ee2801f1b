//! Bodies that are more than they seem.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::{LINE, assert_grew_at_most, limited, memory_kib, neighbour_is_served};

const ZEROS: usize = 256 << 20;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.into_inner().unwrap()
}

#[test]
fn bombs_of_every_codec_at_once_cost_what_the_budget_says() {
    let service = limited("unpacked = '64MiB'\nin_flight = '96MiB'\n");
    let zeros = vec![b'0'; ZEROS];
    let small = &zeros[..1 << 20];
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("gzip", gzip(&zeros)),
        ("zstd", zstd(&zeros, 20)),
        ("zstd", zstd(&zeros, 27)),
        ("snappy", framed(&zeros)),
        ("snappy", snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
        ("gzip", gzip(&gzip(&zeros))),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(small)))),
        ("deflate", deflate(small)),
        // Claims 4 GiB - 1 in six bytes.
        ("snappy", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]),
    ];
    drop(zeros);
    neighbour_is_served(&service);
    let before = memory_kib(&service).0;
    let begun = Instant::now();
    let served = std::thread::scope(|scope| {
        let (service, bombs) = (&service, &bombs);
        let senders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    for (encoding, bomb) in bombs {
                        let (status, headers, answer) =
                            service.post_encoded("/v1/envoy", encoding, bomb.clone());
                        match status {
                            400 => assert!(answer.contains("unpack"), "{encoding}: {answer}"),
                            503 => assert!(headers.contains_key("retry-after"), "{encoding}: {answer}"),
                            _ => panic!("{encoding}: {status} {answer}"),
                        }
                    }
                })
            })
            .collect();
        let mut worst = Duration::ZERO;
        let mut served = 0;
        while senders.iter().any(|sender| !sender.is_finished()) {
            let asked = Instant::now();
            let (status, _) = service.post("/v1/envoy", &[], format!("{LINE}\n"));
            worst = worst.max(asked.elapsed());
            assert!(status == 200 || status == 503, "{status}");
            served += u64::from(status == 200);
        }
        eprintln!("eighty bombs in {:?}; the slowest neighbour waited {worst:?}", begun.elapsed());
        served
    });
    assert!(served > 0, "no neighbour was served");
    // The budget, which counts what is packed and what is unpacked, and what the allocator keeps of it for its next user:
    // as much again. Forty gigabytes were offered.
    assert_grew_at_most(&service, before, 2 * 96 + 64);
    neighbour_is_served(&service);
}

#[test]
fn lines_of_nothing_are_as_many_rejects_and_a_short_receipt() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let count = 100_000;
    let begun = Instant::now();
    let (status, answer) = service.post("/v1/envoy", &[], "x\n".repeat(count));
    assert_eq!(status, 200, "{answer}");
    let receipt: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&receipt["accepted"], &receipt["rejected"]), (&0.into(), &count.into()));
    assert!(answer.len() < 4096, "{} bytes of answer", answer.len());
    eprintln!("{count} lines in {:?}", begun.elapsed());
    assert_grew_at_most(&service, before, 128);
    neighbour_is_served(&service);
}
