//! Streams of ALS as a client library holds them: how the service ends them, slows them down, and whom it lets open them.

use std::io::{Read as _, Write as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::access::{authority, own_certificate};
use crate::app::{Options, Service, client, eventually};
use crate::hostile::wire;

/// StreamAccessLogsMessage, its parts as they are.
#[derive(Clone, PartialEq, prost::Message)]
struct AlsMessage {
    #[prost(bytes = "vec", tag = "1")]
    identifier: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    http_logs: Vec<u8>,
}

/// A message of ALS with one entry.
fn als_message() -> AlsMessage {
    let mix = testkit::Mix::new(1);
    let request = mix.requests(50).find(|request| request.hops.iter().any(|hop| hop.pod().is_some()));
    let request = request.expect("a request that a proxy saw");
    let hop = request.hops.iter().find(|hop| hop.pod().is_some()).unwrap();
    let message = testkit::als::message(hop.pod().unwrap(), true, [(&request, hop)]);
    prost::Message::decode(message.as_slice()).unwrap()
}

/// A stream on a thread of its own: what is sent goes out, and the thread ends with the service's answer.
fn open(service: &Service) -> (mpsc::Sender<AlsMessage>, JoinHandle<Result<(), tonic::Status>>) {
    let url = format!("http://{}", service.grpc);
    let (send, messages) = mpsc::channel(1);
    let call = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let messages = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(messages));
            let codec = tonic_prost::ProstCodec::<AlsMessage, ()>::default();
            let path = http::uri::PathAndQuery::from_static(wire::ALS);
            grpc.client_streaming(messages, path, codec).await.map(|_| ())
        })
    });
    (send, call)
}

#[test]
fn a_stream_that_a_drain_cuts_off_does_not_end_with_ok() {
    let mut service = Service::start();
    let (send, call) = open(&service);
    let message = als_message();
    for _ in 0..20 {
        send.blocking_send(message.clone()).unwrap();
    }
    service.wait_stored(20);
    // The sender goes on while the service is told to end: some of it is read, and the rest cannot be.
    // Without a pause: on a busy machine one of 2 ms becomes the 100 ms after which a stream counts as quiet.
    let sending =
        std::thread::spawn(move || (0..).take_while(|_| send.blocking_send(message.clone()).is_ok()).count());
    assert!(service.terminate().success());
    let end = call.join().unwrap().unwrap_err();
    // A client that is too busy sending to read the answer sees the connection break instead.
    assert!(matches!(end.code(), tonic::Code::Unavailable | tonic::Code::Unknown), "{end}");
    let more = sending.join().unwrap();
    assert!(more > 0, "the sender had nothing on its way");
}

#[test]
fn a_quiet_stream_ends_with_ok_at_a_drain() {
    let mut service = Service::start();
    let (send, call) = open(&service);
    for _ in 0..5 {
        send.blocking_send(als_message()).unwrap();
    }
    service.wait_stored(5);
    assert!(service.terminate().success());
    call.join().unwrap().expect("OK: all that came is durable");
    drop(send);
}

#[test]
fn over_its_rate_a_stream_is_pushed_back_and_loses_nothing() {
    const COUNT: usize = 60;
    let message = als_message();
    let bytes = prost::Message::encoded_len(&message);
    // A burst of ten messages, and ten a second.
    let config = format!(
        "[[source]]\nname = 'mesh'\nkind = 'als'\nrate_bytes = '{0}'\nburst_bytes = '{0}'\n",
        10 * bytes
    );
    let service = Service::with(Options { config, ..Options::default() });
    let begun = Instant::now();
    let (send, call) = open(&service);
    for _ in 0..COUNT {
        send.blocking_send(message.clone()).unwrap();
    }
    drop(send);
    call.join().unwrap().expect("pushed back, not refused");
    let (took, least) = (begun.elapsed(), Duration::from_secs((COUNT as u64 - 10) / 10 - 1));
    assert!(took >= least, "{COUNT} messages in {took:?}");
    service.wait_stored(COUNT as u64);
}

#[test]
fn a_connection_of_age_is_asked_to_go() {
    let service = Service::with(Options {
        config: "[limits]\nconnection_age = '1s'\n".to_owned(),
        ..Options::default()
    });
    let mut stream = wire::connect(service.grpc, Duration::from_secs(20));
    stream.write_all(wire::PREFACE).unwrap();
    let begun = Instant::now();
    let kinds = std::iter::from_fn(|| {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).ok()?;
        Some(head[3])
    });
    assert!(kinds.into_iter().any(|kind| kind == wire::GOAWAY), "it ended without GOAWAY");
    assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn the_grpc_port_asks_for_certificates_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let tls = own_certificate(directory.path());
    let (first, issue) = authority();
    let (second, _) = authority();
    std::fs::write(path("ca.pem"), first.pem()).unwrap();
    let source = "[[source]]\nname = 'otlp'\nkind = 'otlp'\nclient_name = 'collector.example'\ntoken = 'token-of-the-collector'\n";
    let service = Service::with(Options {
        config: format!("client_ca = '{}'\n{source}", path("ca.pem").display()),
        tls: Some(tls),
        ..Options::default()
    });
    // An empty request: five bytes of framing, none of message.
    let export = |identity: Option<&str>| {
        let url = format!("https://{}{}", service.grpc, wire::OTLP);
        let request = client(identity).post(url).bearer_auth("token-of-the-collector");
        let answer = request
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(vec![0; 5])
            .send();
        answer.map(|answer| {
            let status =
                answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
            // Of what succeeds the status is a trailer.
            status.unwrap_or_else(|| answer.status().as_u16().to_string())
        })
    };
    let collector = issue(&first, "collector.example");
    eventually("its own client gets in", || (export(Some(&collector)).ok()? == "200").then_some(()));
    assert!(export(None).is_err(), "no certificate, no handshake");
    assert!(export(Some(&issue(&second, "collector.example"))).is_err(), "another CA's");
    assert_eq!(
        export(Some(&issue(&first, "somebody.example"))).unwrap(),
        "8",
        "not this source's name: RESOURCE_EXHAUSTED"
    );
}
