//! Connections that take a place or bytes, and give nothing: idle ones, trickled headers and bodies, handshakes that
//! never end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::wire::{self, ALS, DATA, END_HEADERS, HEADERS, OTLP, PREFACE};
use super::{LINE, limited, memory_kib, neighbour_is_served};
use crate::app::{Options, Service, eventually};

/// Longer than any patience of these tests.
const LONG: Duration = Duration::from_secs(20);

fn head(length: usize) -> String {
    format!("POST /v1/envoy HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

#[test]
fn a_body_that_trickles_is_cut_and_gives_its_bytes_back() {
    let service = limited("patience = '2s'\nin_flight = '8MiB'\nbody = '4MiB'\n");
    let large = format!("{LINE}\n").repeat(4 << 10);
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..24)
        .map(|_| {
            let mut stream = wire::connect(service.http, LONG);
            stream.write_all(head(1 << 20).as_bytes()).unwrap();
            stream.write_all(&[b'x'; 300 << 10]).unwrap();
            stream
        })
        .collect();
    // 24 of 316 KiB are 7.4 of 8 MiB: they pin the budget, and a delivery of 1.7 MB finds no room.
    let headers = |service: &Service| service.post_encoded("/v1/envoy", "identity", large.clone());
    let refused = eventually("the budget is pinned", || {
        slow.iter_mut().for_each(|stream| drop(stream.write(b"x")));
        let (status, headers, _) = headers(&service);
        (status == 503).then_some(headers)
    });
    assert!(refused.contains_key("retry-after"), "{refused:?}");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let trickle = |mut stream: TcpStream| {
            let mut writer = stream.try_clone().unwrap();
            let mut answer = String::new();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let until = Instant::now() + LONG;
            let mut piece = [0; 4096];
            while Instant::now() < until {
                // A byte each 100 ms, as long as anyone listens.
                let _ = writer.write(b"x");
                match stream.read(&mut piece) {
                    Ok(0) => break,
                    Ok(got) => answer += &String::from_utf8_lossy(&piece[..got]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            answer
        };
        let all: Vec<_> = slow.drain(..).map(|stream| scope.spawn(move || trickle(stream))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(begun.elapsed() < LONG / 2, "cut after {:?}", begun.elapsed());
    for answer in &answers {
        // A reset may overtake the answer; where there is one it never says 4xx.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    assert!(answers.iter().any(|answer| answer.contains("retry-after: ")), "{answers:?}");
    assert_eq!(headers(&service).0, 200, "the budget is free again");
    let metrics = service.get("/metrics").1;
    assert!(metrics.contains(r#"cause="slow""#), "{metrics}");
}

#[test]
fn trickled_headers_are_cut_while_others_are_served() {
    let service = limited("patience = '1s'\n");
    let mut slow: Vec<TcpStream> = (0..200).map(|_| wire::connect(service.http, LONG)).collect();
    for byte in &head(10).as_bytes()[..15] {
        slow.iter_mut().for_each(|stream| drop(stream.write(&[*byte])));
        assert!(neighbour_is_served(&service) < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(100));
    }
    for stream in &mut slow {
        let (answer, closed) = wire::rest(stream);
        assert!(closed && !answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::with(Options {
        tls: Some(crate::exposure::certificate(directory.path())),
        config: "[limits]\npatience = '1s'\n".to_owned(),
        ..Options::default()
    });
    let begun = Instant::now();
    let mut hello: Vec<TcpStream> = [service.http, service.grpc]
        .into_iter()
        .map(|address| {
            let mut stream = wire::connect(address, LONG);
            // A record that announces more of a ClientHello than ever comes.
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]).unwrap();
            stream
        })
        .collect();
    neighbour_is_served(&service);
    for stream in &mut hello {
        assert!(wire::rest(stream).1, "still open");
    }
    assert!(begun.elapsed() < LONG / 2, "ended after {:?}", begun.elapsed());
}

#[test]
fn idle_connections_give_way_to_those_who_have_something_to_send() {
    let service = limited("connections = 40\n");
    for address in [service.http, service.grpc] {
        let mut idle: Vec<TcpStream> =
            (0..100).map(|_| wire::connect(address, Duration::from_millis(5))).collect();
        eventually("the bound is met", || {
            let open = idle.iter_mut().map(wire::rest).filter(|(_, closed)| !closed).count();
            // One is the test's own client.
            (open <= 40).then_some(())
        });
    }
    neighbour_is_served(&service);
    let mut stream = wire::connect(service.grpc, LONG);
    let ping = wire::frame(wire::PING, 0, 0, b"8 bytes.");
    stream.write_all(&[PREFACE, &ping].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (answer, _) = wire::rest(&mut stream);
    assert!(wire::frames(&answer).iter().any(|(kind, _, _)| *kind == wire::PING), "the port answers");
    assert!(service.get("/metrics").1.contains(r#"throughline_connections_ended_total{why="gave_way"}"#));
}

#[test]
fn a_stream_may_be_idle_and_a_message_may_not() {
    let service = limited("patience = '1s'\n");
    let open = |path: &str, data: &[u8]| {
        let mut stream = wire::connect(service.grpc, Duration::from_secs(3));
        let headers = wire::frame(HEADERS, END_HEADERS, 1, &wire::call(path));
        let data = if data.is_empty() { Vec::new() } else { wire::frame(DATA, 0, 1, data) };
        stream.write_all(&[PREFACE, &headers, &data].concat()).unwrap();
        stream
    };
    let answered = |stream: &mut TcpStream| {
        let (bytes, _) = wire::rest(stream);
        wire::frames(&bytes).iter().any(|(kind, stream, _)| *kind == HEADERS && *stream == 1)
    };
    let half = [wire::claim(100), vec![0; 50]].concat();
    let mut half_message = open(ALS, &half);
    let mut no_call = open(OTLP, &[]);
    let mut idle = open(ALS, &[]);
    assert!(answered(&mut half_message), "half a message is waited for without end");
    assert!(answered(&mut no_call), "a call without a message is waited for without end");
    assert!(!answered(&mut idle), "an idle stream is ended: Envoy has nothing to say at night");
}

#[test]
fn an_idle_connection_costs_little() {
    let service = Service::start();
    let (before, _) = memory_kib(&service);
    let count = 1000;
    let idle: Vec<TcpStream> = (0..count)
        .map(|nth| {
            let mut stream = wire::connect(if nth % 2 == 0 { service.http } else { service.grpc }, LONG);
            stream.write_all(PREFACE).unwrap();
            stream
        })
        .collect();
    neighbour_is_served(&service);
    let each = (memory_kib(&service).0.saturating_sub(before)) / count;
    assert!(each < 40, "{each} KiB for each of {} idle connections", idle.len());
}
