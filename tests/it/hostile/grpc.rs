//! HTTP/2 and gRPC as no client speaks them: floods of every frame, lengths that are only claimed, peers that never read.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::wire::{
    self, ALS, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OTLP, PING, PREFACE, RST_STREAM,
    SETTINGS,
};
use super::{assert_grew_at_most, limited, memory_kib, neighbour_is_served};
use crate::app::Service;

const PATIENCE: Duration = Duration::from_secs(2);

/// A connection of HTTP/2 on the gRPC port.
fn opened(service: &Service) -> TcpStream {
    let mut stream = wire::connect(service.grpc, PATIENCE);
    stream.write_all(PREFACE).unwrap();
    stream
}

/// CPU time of the service in clock ticks.
fn ticks(service: &Service) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// After an attack: others are served, and the service rests.
fn recovers(service: &Service) {
    neighbour_is_served(service);
    std::thread::sleep(Duration::from_millis(500));
    let begun = (ticks(service), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let share = (ticks(service) - begun.0) as f64 / 100.0 / begun.1.elapsed().as_secs_f64();
    assert!(share < 0.5, "{share} cores are still at work after the attack");
}

#[test]
fn a_rapid_reset_ends_its_connection() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let call = wire::call(OTLP);
    for address in [service.grpc, service.http] {
        let mut stream = wire::connect(address, PATIENCE);
        stream.write_all(PREFACE).unwrap();
        let flood: Vec<u8> = (0..20_000u32)
            .flat_map(|nth| {
                let id = 2 * nth + 1;
                let cancel = wire::frame(RST_STREAM, 0, id, &8u32.to_be_bytes());
                [wire::frame(HEADERS, END_HEADERS, id, &call), cancel].concat()
            })
            .collect();
        let sent = wire::pour(&mut stream, &flood);
        let (answer, closed) = wire::rest(&mut stream);
        // ENHANCE_YOUR_CALM, unless the reset of the connection overtook it.
        let code = wire::goaway(&wire::frames(&answer));
        assert!(closed && code.is_none_or(|code| code == 11), "{code:?} after {sent} bytes");
    }
    assert_grew_at_most(&service, before, 64);
    recovers(&service);
}

#[test]
fn floods_of_small_frames_cost_nobody_else() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let floods: [Vec<u8>; 4] = [
        wire::frame(PING, 0, 0, b"8 bytes.").repeat(200_000),
        wire::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(200_000),
        // Empty DATA frames of one stream.
        [
            wire::frame(HEADERS, END_HEADERS, 1, &wire::call(ALS)),
            wire::frame(DATA, 0, 1, &[]).repeat(200_000),
        ]
        .concat(),
        // Headers that never end.
        [
            wire::frame(HEADERS, 0, 1, &wire::call(OTLP)),
            wire::frame(CONTINUATION, 0, 1, &[0; 1000]).repeat(20_000),
        ]
        .concat(),
    ];
    std::thread::scope(|scope| {
        for flood in &floods {
            let mut stream = opened(&service);
            scope.spawn(move || wire::pour(&mut stream, flood));
        }
        for _ in 0..10 {
            neighbour_is_served(&service);
        }
    });
    assert_grew_at_most(&service, before, 64);
    recovers(&service);
}

#[test]
fn headers_beyond_the_bound_open_no_stream() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let long = "a".repeat(12_000);
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":path", OTLP), (":authority", "a")];
    fields.extend([("x-long", long.as_str()); 2]);
    let mut block = wire::headers(&fields);
    let rest = block.split_off(16_000);
    let mut stream = opened(&service);
    let sent =
        [wire::frame(HEADERS, 1, 1, &block), wire::frame(CONTINUATION, END_HEADERS, 1, &rest)].concat();
    wire::pour(&mut stream, &sent);
    let answer = wire::frames(&wire::rest(&mut stream).0);
    // 431, or the stream or the connection is ended.
    assert!(answer.iter().any(|(kind, _, _)| [HEADERS, RST_STREAM, GOAWAY].contains(kind)), "{answer:?}");
    assert!(!answer.iter().any(|(kind, _, _)| *kind == DATA), "{answer:?}");
    assert_grew_at_most(&service, before, 32);
    recovers(&service);
}

#[test]
fn a_claimed_length_gets_no_memory_and_too_large_a_one_an_answer() {
    let service = limited("grpc_message = '1MiB'\nin_flight = '16MiB'\npatience = '3s'\n");
    let before = memory_kib(&service).0;
    let mut stream = opened(&service);
    for (nth, path) in [OTLP, ALS].iter().enumerate() {
        let id = 2 * nth as u32 + 1;
        let call = wire::frame(HEADERS, END_HEADERS, id, &wire::call(path));
        stream.write_all(&[call, wire::frame(DATA, 0, id, &wire::claim(u32::MAX))].concat()).unwrap();
    }
    let answered = wire::frames(&wire::rest(&mut stream).0);
    for id in [1, 3] {
        assert!(answered.iter().any(|(kind, of, _)| *kind == HEADERS && *of == id), "{id}: {answered:?}");
    }
    // Each connection claims two hundred times a megabyte, and sends 60 KiB of one.
    let _claims: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = opened(&service);
            let claims: Vec<u8> = (0..200u32)
                .flat_map(|nth| {
                    let path = if nth % 2 == 0 { OTLP } else { ALS };
                    let call = wire::frame(HEADERS, END_HEADERS, 2 * nth + 1, &wire::call(path));
                    [call, wire::frame(DATA, 0, 2 * nth + 1, &wire::claim(1 << 20))].concat()
                })
                .collect();
            stream.write_all(&claims).unwrap();
            let piece = wire::frame(DATA, 0, 1, &[0; 16_000]);
            stream.write_all(&piece.repeat(4)).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    assert_grew_at_most(&service, before, 96);
    // The patience ends what they began.
    std::thread::sleep(Duration::from_secs(3));
    recovers(&service);
}

#[test]
fn a_peer_that_never_reads_is_bounded_and_ended() {
    let service = limited("");
    let before = memory_kib(&service).0;
    let call = wire::call("/no/such/method");
    let _deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = wire::connect(service.grpc, Duration::from_millis(200));
            // A window of nothing for every stream: no answer with a body can be sent.
            let closed = wire::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            stream.write_all(&[&PREFACE[..24], &closed].concat()).unwrap();
            for nth in 0..2_000u32 {
                let headers = wire::frame(HEADERS, END_HEADERS | END_STREAM, 2 * nth + 1, &call);
                if wire::pour(&mut stream, &headers) < headers.len() {
                    break;
                }
            }
            stream
        })
        .collect();
    assert_grew_at_most(&service, before, 96);
    recovers(&service);
}
