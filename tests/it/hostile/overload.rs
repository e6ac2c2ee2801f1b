//! Far more than it can take, on every transport at once: memory stays flat, refusals say when to come back, what was
//! acknowledged is stored, and when the load ends the service is back within seconds.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::wire::{ALS, OTLP};
use super::{LINE, assert_grew_at_most, memory_kib};
use crate::app::{Options, Service, data, eventually};

const LOAD: Duration = Duration::from_secs(4);
/// Events of one delivery over HTTP: 150 KB.
const LINES: u64 = 400;
const SENDERS: usize = 6;

/// Messages as they are.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

/// What came of one transport.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    fn taken(&self, events: u64) {
        self.acknowledged.fetch_add(events, Ordering::Relaxed);
    }

    fn pushed_back(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

fn http(service: &Service, path: &str, kind: &str, body: &[u8], events: u64, tally: &Tally, until: Instant) {
    let client = reqwest::blocking::Client::new();
    while Instant::now() < until {
        let request = client.post(service.url() + path).header("content-type", kind).body(body.to_vec());
        let Ok(answer) = request.send() else { continue };
        match answer.status().as_u16() {
            200 => tally.taken(events),
            503 => {
                assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
                tally.pushed_back();
            }
            other => panic!("{path}: {other} {:?}", answer.text()),
        }
    }
}

fn grpc<T>(
    service: &Service,
    calls: impl AsyncFnOnce(tonic::client::Grpc<tonic::transport::Channel>) -> T,
) -> T {
    let url = format!("http://{}", service.grpc);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        calls(tonic::client::Grpc::new(channel)).await
    })
}

async fn otlp(
    mut grpc: tonic::client::Grpc<tonic::transport::Channel>,
    message: Bytes,
    events: u64,
    tally: &Tally,
    until: Instant,
) {
    while Instant::now() < until {
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(OTLP);
        match grpc.unary(tonic::Request::new(message.clone()), path, Raw).await {
            Ok(_) => tally.taken(events),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
                tally.pushed_back();
            }
        }
    }
}

async fn als(
    mut grpc: tonic::client::Grpc<tonic::transport::Channel>,
    message: Bytes,
    events: u64,
    tally: &Tally,
    until: Instant,
) {
    while Instant::now() < until {
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(ALS);
        let messages = tokio_stream::iter(vec![message.clone(); 200]);
        match grpc.client_streaming(tonic::Request::new(messages), path, Raw).await {
            Ok(_) => tally.taken(200 * events),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
                tally.pushed_back();
            }
        }
    }
}

fn stored(service: &Service, source: &str) -> u64 {
    let (status, body) = service.get("/api/v1/sources");
    if status != 200 {
        return 0;
    }
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let of = answer["sources"].as_array().unwrap().iter().find(|one| one["source"] == source);
    of.map_or(0, |one| one["events"].as_u64().unwrap())
}

#[test]
fn ten_times_too_much_on_every_transport_at_once() {
    let logs = tempfile::tempdir().unwrap();
    let service = Service::with(Options {
        config: format!(
            "[limits]\nin_flight = '2MiB'\n[spool]\nmax_bytes = '64MiB'\nsegment_bytes = '8MiB'\n\
             [[source]]\nname = 'files'\nkind = 'file'\npaths = ['{}/*.log']\n",
            logs.path().display()
        ),
        ..Options::default()
    });
    let lines = format!("{LINE}\n").repeat(LINES as usize);
    let fastly = data("fastly/f01-default.ndjson").repeat(50);
    let mix = testkit::Mix::new(1);
    let requests: Vec<_> = mix.requests(400).collect();
    let seen: Vec<_> = requests
        .iter()
        .flat_map(|request| {
            request.hops.iter().filter(|hop| hop.pod().is_some()).map(move |hop| (request, hop))
        })
        .collect();
    let pod = seen[0].1.pod().unwrap();
    let entries = seen.iter().copied().filter(|(_, hop)| hop.pod() == Some(pod)).take(20);
    let als_message = Bytes::from(testkit::als::message(pod, true, entries.clone()));
    let als_events = entries.count() as u64;
    let otlp_message =
        Bytes::from(testkit::otlp::logs(testkit::otlp::Shape::Labels, seen.iter().copied().take(300)));
    let otlp_events = seen.len().min(300) as u64;

    super::neighbour_is_served(&service);
    let before = memory_kib(&service).0;
    let [of_fastly, of_lines, of_otlp_http, of_otlp, of_als] = [(); 5].map(|()| Tally::default());
    let file_lines = 20_000;
    let until = Instant::now() + LOAD;
    let (service, logs) = (&service, logs.path());
    let (tally_fastly, tally_lines, tally_otlp) = (&of_fastly, &of_lines, &of_otlp_http);
    let (fastly, lines, otlp_body) = (fastly.as_slice(), lines.as_bytes(), &otlp_message[..]);
    std::thread::scope(|scope| {
        let mut file = std::fs::File::create(logs.join("gw.log")).unwrap();
        scope.spawn(move || file.write_all(format!("{LINE}\n").repeat(file_lines).as_bytes()).unwrap());
        for _ in 0..SENDERS {
            scope.spawn(move || http(service, "/v1/fastly", "text/plain", fastly, 400, tally_fastly, until));
            scope.spawn(move || http(service, "/v1/envoy", "text/plain", lines, LINES, tally_lines, until));
            let kind = "application/x-protobuf";
            scope.spawn(move || http(service, "/v1/logs", kind, otlp_body, otlp_events, tally_otlp, until));
            let (message, tally) = (otlp_message.clone(), &of_otlp);
            scope.spawn(move || {
                grpc(service, async |grpc| otlp(grpc, message, otlp_events, tally, until).await);
            });
            let (message, tally) = (als_message.clone(), &of_als);
            scope.spawn(move || {
                grpc(service, async |grpc| als(grpc, message, als_events, tally, until).await);
            });
        }
    });
    let ended = Instant::now();
    // The budget, the spool's queue, what decoders and two shipping lanes hold; not what was offered, some 30 MB.
    assert_grew_at_most(service, before, 256);
    eventually("a delivery is taken again", || {
        (service.post("/v1/envoy", &[], format!("{LINE}\n")).0 == 200).then_some(())
    });
    eprintln!("a delivery is taken {:?} after the load", ended.elapsed());
    assert!(ended.elapsed() < Duration::from_secs(20));
    let tallies = [
        ("fastly", &of_fastly),
        ("envoy", &of_lines),
        ("otlp", &of_otlp_http),
        ("otlp", &of_otlp),
        ("als", &of_als),
    ];
    for (name, tally) in tallies {
        let (acknowledged, refused) =
            (tally.acknowledged.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
        eprintln!("{name}: {acknowledged} events acknowledged, {refused} deliveries refused");
    }
    let refused: u64 = tallies.iter().map(|(_, tally)| tally.refused.load(Ordering::Relaxed)).sum();
    assert!(refused > 0, "it was no overload");
    for source in ["fastly", "envoy", "otlp", "als"] {
        let all = tallies.iter().filter(|(name, _)| *name == source);
        let acknowledged: u64 = all.map(|(_, tally)| tally.acknowledged.load(Ordering::Relaxed)).sum();
        assert!(acknowledged > 0, "nothing of {source} was taken");
        eventually(&format!("{acknowledged} events of {source} are stored"), || {
            // What was refused may be stored in part; what was acknowledged is stored whole.
            (stored(service, source) >= acknowledged).then_some(())
        });
    }
    eventually("every line of the file is stored", || {
        let stored = stored(service, "files");
        assert!(stored <= file_lines as u64, "{stored}");
        (stored == file_lines as u64).then_some(())
    });
    eprintln!("all is stored {:?} after the load", ended.elapsed());
    assert_eq!(service.get("/readyz").0, 200);
}
