//! Checks of the way to the service, of ids and of requests, against recorded answers: each trouble is named, with what to
//! do, and what is well is said to be.

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::CertificateDer;

use super::given::Hidden;
use super::ports::Reached;
use super::tls::Shown;
use super::tokens::{Reply, Tried};
use super::*;
use crate::api::answer::{
    DiskAnswer, EntranceAnswer, GapCountAnswer, PortAnswer, SampleAnswer, SenderIdsAnswer, StoreAnswer,
};

/// The SHA-256 of `abc`, from FIPS 180-2.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// 2026-11-22.
const NOW_S: u64 = 1_795_305_600;

fn given(change: impl FnOnce(&mut Senders)) -> Given {
    let mut senders = Senders::default();
    change(&mut senders);
    Given::new("https://logs.example.com", &senders).unwrap()
}

fn service() -> ServiceAnswer {
    let port = |listen: &str| PortAnswer { listen: listen.to_owned(), tls: true, client_certificates: false };
    let source = |kind: &str| EntranceAnswer {
        source: format!("{kind}-1"),
        kind: kind.to_owned(),
        needs_token: true,
        header: "authorization".to_owned(),
        is_bounded: false,
    };
    ServiceAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        http: port("0.0.0.0:8080"),
        grpc: port("0.0.0.0:4317"),
        store: StoreAnswer { embedded: true, version: Some("26.7.1".to_owned()), ..StoreAnswer::default() },
        challenge: vec![ABC.to_owned()],
        sources: vec![source("fastly"), source("als")],
        ..ServiceAnswer::default()
    }
}

/// The worst level, and every text.
fn told(findings: &[Finding]) -> (Level, String) {
    let rank = |level: Level| match level {
        Level::Ok => 0,
        Level::Note => 1,
        Level::Problem => 2,
    };
    let worst =
        findings.iter().map(|finding| finding.level).max_by_key(|level| rank(*level)).unwrap_or(Level::Ok);
    (worst, findings.iter().map(|finding| format!("{} -> {}\n", finding.what, finding.advice)).collect())
}

#[track_caller]
fn expect(findings: &[Finding], level: Level, texts: &[&str]) {
    let (worst, all) = told(findings);
    assert_eq!(worst, level, "{all}");
    for text in texts {
        assert!(all.contains(text), "{text} is not in {all}");
    }
}

#[test]
fn ports_that_cannot_be_reached_are_told_with_their_use() {
    let reached = |error: Option<&str>| {
        vec![Reached {
            what: "gRPC",
            host: "logs.example.com".to_owned(),
            port: 4317,
            error: error.map(str::to_owned),
        }]
    };
    let (outer, service) = (given(|_| ()), service());
    expect(
        &ports::check(&outer, &service, &reached(None)),
        Level::Ok,
        &["HTTP at https://logs.example.com; gRPC at"],
    );
    let found = ports::check(&outer, &service, &reached(Some("connection refused")));
    expect(
        &found,
        Level::Problem,
        &["gRPC cannot be reached at logs.example.com:4317: connection refused", "firewalls"],
    );
    let inside = ServiceAnswer {
        grpc: PortAnswer { listen: "127.0.0.1:4317".to_owned(), ..PortAnswer::default() },
        ..service.clone()
    };
    expect(&ports::check(&outer, &inside, &[]), Level::Note, &["`grpc.listen` is 127.0.0.1:4317"]);
    let clear = given(|senders| senders.public_url = Some("http://logs.example.com".to_owned()));
    expect(
        &ports::check(&clear, &service, &[]),
        Level::Problem,
        &["is not https, and Fastly delivers to nothing else"],
    );
    assert_eq!(ports::grpc(&outer, &service), Some(("logs.example.com".to_owned(), 4317)));
}

#[test]
fn the_challenge_is_judged_as_fastly_does() {
    let given = given(|senders| senders.fastly_service = vec!["abc".to_owned()]);
    let reply = |status, body: &str| challenge::Reply {
        status,
        body: body.to_owned(),
        ..challenge::Reply::default()
    };
    let judge = |service: &ServiceAnswer, reply: challenge::Reply| challenge::check(&given, service, &reply);
    let own = service();
    expect(&judge(&own, reply(200, &format!("{ABC}\n"))), Level::Ok, &["for 1 Fastly services"]);
    let other = ServiceAnswer { challenge: vec!["0".repeat(64)], ..own.clone() };
    expect(
        &judge(&other, reply(200, &"0".repeat(64))),
        Level::Problem,
        &["does not name the Fastly services abc"],
    );
    expect(&judge(&other, reply(200, ABC)), Level::Problem, &["is not answered by the service at"]);
    let any = ServiceAnswer { challenge: vec!["*".to_owned()], ..own.clone() };
    expect(&judge(&any, reply(200, "*\n")), Level::Note, &["anybody's may name this endpoint"]);
    let none = ServiceAnswer { challenge: Vec::new(), ..own.clone() };
    expect(&judge(&none, reply(200, "")), Level::Problem, &["names no service id", "fastly.services"]);
    expect(
        &judge(&own, reply(200, "<html>Log in")),
        Level::Problem,
        &["<html>Log in", "somebody else answers"],
    );
    expect(&judge(&own, reply(404, "")), Level::Problem, &["answers 404, where Fastly wants 200"]);
    let moved = challenge::Reply { location: "https://x/".to_owned(), ..reply(301, "") };
    expect(&judge(&own, moved), Level::Problem, &["leads elsewhere (301, https://x/)"]);
    let lost = challenge::Reply { error: "no route".to_owned(), ..challenge::Reply::default() };
    expect(
        &judge(&own, lost),
        Level::Problem,
        &["nobody answers https://logs.example.com/.well-known/fastly", "no route"],
    );
}

#[test]
fn tokens_that_do_not_open_and_doors_that_open_to_all_are_told() {
    let own = service();
    let given = given(|senders| senders.source_token = vec![("fastly-1".to_owned(), Hidden("t".to_owned()))]);
    let reply = |status| Some(Reply { status, said: "why".to_owned() });
    let judge = |right: Option<Reply>, wrong: Option<Reply>| {
        let tried = [Tried { source: own.sources[0].clone(), right, wrong }];
        tokens::check(&given, &own, &tried)
    };
    expect(&judge(reply(200), reply(401)), Level::Ok, &["open to their token and to no other: fastly-1"]);
    expect(
        &judge(reply(401), reply(401)),
        Level::Problem,
        &["does not open to the token", "`authorization`"],
    );
    expect(
        &judge(reply(503), reply(401)),
        Level::Problem,
        &["refuses an empty delivery with its token (503): why"],
    );
    expect(&judge(None, reply(401)), Level::Note, &["not tried: fastly-1", "--source-token"]);
    expect(
        &judge(reply(200), reply(200)),
        Level::Problem,
        &["takes a delivery with a token that nobody has"],
    );
    expect(&judge(reply(200), reply(302)), Level::Note, &["with 302 instead of 401"]);
    let mut bounded = own.sources[0].clone();
    bounded.is_bounded = true;
    let tried = [Tried { source: bounded, right: reply(503), wrong: reply(401) }];
    expect(&tokens::check(&given, &own, &tried), Level::Note, &["cannot be tried from here"]);
    let open = EntranceAnswer { needs_token: false, ..own.sources[1].clone() };
    let tried = [Tried { source: open, right: reply(200), wrong: None }];
    expect(&tokens::check(&given, &own, &tried), Level::Problem, &["als-1 take deliveries without a token"]);
    let of = |code: &str| Reply::of_grpc(code, String::new()).status;
    assert_eq!(["", "0", "16", "7", "8"].map(of), [200, 200, 401, 403, 503]);
}

#[test]
fn tokens_are_taken_from_the_configuration_and_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    let (config, file) = (directory.path().join("t.toml"), directory.path().join("t.token"));
    std::fs::write(&file, "# new\nsha256:00\nfrom-a-file\n").unwrap();
    let text = format!(
        "data_dir = 'd'\n[fastly]\nservices = 'abc, *'\n[[source]]\nname = 'a'\nkind = 'fastly'\ntoken = ['first', 'second']\n\
         [[source]]\nname = 'b'\nkind = 'als'\ntoken_file = '{}'\n[[source]]\nname = 'c'\nkind = 'otlp'\ntoken_sha256 = '00'\n",
        file.display()
    );
    std::fs::write(&config, text).unwrap();
    let given = given(|senders| senders.config = Some(config));
    let token = |name: &str| given.tokens.get(name).map(|token| token.0.as_str());
    assert_eq!([token("a"), token("b"), token("c")], [Some("first"), Some("from-a-file"), None]);
    assert_eq!(given.fastly_services, ["abc"]);
    assert!(!format!("{given:?}").contains("first"), "{given:?}");
    assert!(!given.is_local() && Given::new("http://[::1]:8080", &Senders::default()).unwrap().is_local());
}

/// A leaf of an authority of one's own, with a life from and to these years; the authority's PEM.
fn issued(name: &str, from: i32, to: i32) -> (CertificateDer<'static>, String) {
    let mut asked = CertificateParams::new(Vec::new()).unwrap();
    asked.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(asked, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.not_before = rcgen::date_time_ymd(from, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(to, 1, 1);
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    (leaf.der().clone(), issuer.pem())
}

#[test]
fn certificates_are_judged_by_time_name_and_authority() {
    let directory = tempfile::tempdir().unwrap();
    let judge = |certificate: (CertificateDer<'static>, String), trusted: bool, now_s: u64| {
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, &certificate.1).unwrap();
        let trust = Trust::new(trusted.then_some(file.as_path())).unwrap();
        let host = "logs.example.com".to_owned();
        let shown = Shown { host, port: 443, chain: Ok(vec![certificate.0]) };
        tls::check(&shown, &trust, false, now_s)
    };
    let name = "logs.example.com";
    expect(
        &judge(issued(name, 2026, 2030), true, NOW_S),
        Level::Ok,
        &["fits its name and holds until 2030-01-01"],
    );
    expect(
        &judge(issued(name, 2020, 2026), true, NOW_S),
        Level::Problem,
        &["expired on 2026-01-01", "renew it"],
    );
    expect(
        &judge(issued(name, 2020, 2027), true, 1_798_000_000),
        Level::Problem,
        &["expires in 8 days, on 2027-01-01"],
    );
    expect(&judge(issued(name, 2027, 2030), true, NOW_S), Level::Problem, &["holds only from 2027-01-01 on"]);
    expect(
        &judge(issued("other.example.com", 2026, 2030), true, NOW_S),
        Level::Problem,
        &["is for other.example.com, not for logs"],
    );
    expect(
        &judge(issued(name, 2026, 2030), false, NOW_S),
        Level::Problem,
        &["no authority that is trusted", "it comes alone"],
    );
    let both = judge(issued("other.example.com", 2020, 2026), false, NOW_S);
    expect(&both, Level::Problem, &["expired on 2026-01-01", "not for logs.example.com"]);
    let shown = |chain| Shown { host: name.to_owned(), port: 443, chain };
    let trust = Trust::new(None).unwrap();
    expect(
        &tls::check(&shown(Ok(Vec::new())), &trust, false, NOW_S),
        Level::Problem,
        &["shows no certificate"],
    );
    let garbage = shown(Ok(vec![CertificateDer::from(vec![1, 2, 3])]));
    expect(&tls::check(&garbage, &trust, false, NOW_S), Level::Problem, &["cannot be read"]);
    expect(
        &tls::check(&shown(Err("eof".to_owned())), &trust, false, NOW_S),
        Level::Problem,
        &["does not speak TLS"],
    );
}

#[test]
fn a_disk_that_fills_before_the_spool_is_told() {
    const GIB: u64 = 1 << 30;
    let judge = |free: u64, total: u64, min: u64, most: u64| {
        disk::check(&DiskAnswer {
            free_bytes: Some(free * GIB),
            total_bytes: Some(total * GIB),
            min_free_bytes: min * GIB,
            spool_most_bytes: most * GIB,
            spool_used_bytes: 0,
        })
    };
    expect(&judge(50, 100, 0, 8), Level::Ok, &["50.0 GiB of 100.0 GiB are free"]);
    expect(&judge(6, 100, 0, 8), Level::Note, &["the disk is full before the spool is"]);
    expect(&judge(4, 100, 0, 1), Level::Problem, &["only 4.0 GiB of 100.0 GiB"]);
    expect(&judge(5, 20, 6, 1), Level::Problem, &["less than `spool.min_free` (6.0 GiB)"]);
}

#[test]
fn a_store_that_is_away_old_or_new_is_told() {
    let with = |store: StoreAnswer| store::check(&ServiceAnswer { store, ..service() });
    expect(&with(service().store), Level::Ok, &["ClickHouse 26.7.1 (embedded) answers"]);
    expect(&with(StoreAnswer::default()), Level::Problem, &["ClickHouse does not answer", "`store.url`"]);
    let missing = vec!["0004_ledger/01_ledger.sql".to_owned()];
    expect(
        &with(StoreAnswer { schema_missing: missing, schema_statements: 30, ..service().store }),
        Level::Problem,
        &["1 of 30 statements have not run, the first is 0004_ledger", "--migrate auto"],
    );
    let unknown = vec!["0099_later/01_x.sql".to_owned()];
    expect(&with(StoreAnswer { schema_unknown: unknown, ..service().store }), Level::Note, &["0099_later"]);
    let other = ServiceAnswer { version: "9.9.9".to_owned(), ..service() };
    expect(&store::check(&other), Level::Note, &["the service is version 9.9.9"]);
}

fn sender(hop: &str, format: &str, change: impl FnOnce(&mut SenderIdsAnswer)) -> SenderIdsAnswer {
    let mut sender = SenderIdsAnswer {
        source: "s".to_owned(),
        format: format.to_owned(),
        hop: hop.to_owned(),
        sender: "web".to_owned(),
        last_received: "2026-11-22T10:00:00.000000000Z".to_owned(),
        events: 100,
        with_correlation_id: 100,
        with_request_id: 100,
        with_trace_id: 40,
        ..SenderIdsAnswer::default()
    };
    change(&mut sender);
    sender
}

#[test]
fn each_sender_is_told_with_its_ids_and_what_to_add() {
    let judge =
        |senders: Vec<SenderIdsAnswer>| ids::check(&CoverageAnswer { senders, ..CoverageAnswer::default() });
    let well = judge(vec![sender("edge", "fastly-vcl", |_| ())]);
    expect(
        &well,
        Level::Ok,
        &["s: edge web (fastly-vcl): 100 events, the last at 2026-11-22T10:00:00; correlation id 100.0%, \
                               request id 100.0%, trace id 40.0%"],
    );
    let bare = |sender: &mut SenderIdsAnswer| {
        (sender.with_correlation_id, sender.with_request_id, sender.without_id) = (0, 0, 100);
    };
    expect(
        &judge(vec![sender("edge", "fastly-vcl", bare)]),
        Level::Problem,
        &["100.0% of its events carry no id", "req.http.X-Correlation-Id"],
    );
    expect(
        &judge(vec![sender("gateway", "envoy-als-http", bare)]),
        Level::Problem,
        &["additionalRequestHeadersToLog"],
    );
    expect(&judge(vec![sender("sidecar", "envoy-json", bare)]), Level::Problem, &["%REQ(X-CORRELATION-ID)%"]);
    expect(
        &judge(vec![sender("sidecar", "envoy-json", |one| one.without_id = 7)]),
        Level::Note,
        &["7.0% of its events carry no id"],
    );
    let unstamped = sender("gateway", "envoy-json", |one| one.with_correlation_id = 0);
    expect(&judge(vec![unstamped.clone()]), Level::Ok, &["correlation id 0.0%"]);
    let beside = judge(vec![sender("edge", "fastly-vcl", |_| ()), unstamped]);
    expect(&beside, Level::Note, &["carry no correlation id, while other senders have one"]);
    let many = judge((0..20).map(|_| sender("edge", "fastly-vcl", |_| ())).collect());
    assert_eq!(many.len(), 13);
    expect(&many, Level::Ok, &["and 8 more senders"]);
}

#[test]
fn a_hop_that_is_missing_in_most_requests_is_named() {
    let gap = |expected: &str, requests| GapCountAnswer {
        expected: expected.to_owned(),
        reason: "not_seen".to_owned(),
        requests,
    };
    let judge = |sampled, complete, joined, gaps: Vec<GapCountAnswer>, hops: &[&str]| {
        let requests = SampleAnswer { sampled, complete, joined, gaps, truncated: false };
        let senders = hops.iter().map(|hop| sender(hop, "x", |_| ())).collect();
        requests::check(&CoverageAnswer { requests, senders, ..CoverageAnswer::default() })
    };
    expect(
        &judge(100, 97, 90, vec![gap("gateway", 3)], &["edge", "gateway"]),
        Level::Ok,
        &["of 100 settled requests 97 are complete (97.0%)"],
    );
    let missing = judge(100, 20, 90, vec![gap("gateway", 80)], &["edge", "sidecar"]);
    expect(
        &missing,
        Level::Problem,
        &["in 80 of 100 requests (80.0%) the gateway is missing", "no ingress gateway sends"],
    );
    let some = judge(100, 80, 90, vec![gap("sidecar inbound orders", 20)], &["edge", "sidecar"]);
    expect(&some, Level::Note, &["the sidecar inbound orders is missing", "others of this hop do send"]);
    expect(
        &judge(50, 50, 0, Vec::new(), &["edge", "gateway"]),
        Level::Problem,
        &["not one sampled request has records of both"],
    );
    assert!(judge(3, 0, 0, vec![gap("gateway", 3)], &["edge"]).is_empty(), "three requests say nothing");
}

#[test]
fn ambient_senders_are_told_to_be_unsupported() {
    let reject = |text: &str| Refused {
        source: "mesh".to_owned(),
        reason: "unknown_format".to_owned(),
        text: text.to_owned(),
    };
    let ztunnel =
        "2026-11-22T10:00:00Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:1 dst.addr=10.0.0.2:2";
    let none = CoverageAnswer::default();
    expect(
        &unsupported::check(&none, &[reject(ztunnel), reject("x")]),
        Level::Problem,
        &["mesh: 1 of the last 2 rejects are lines of ztunnel"],
    );
    expect(&unsupported::check(&none, &[reject(event::MASK)]), Level::Note, &["role `personal`"]);
    assert!(unsupported::check(&none, &[reject("x")]).is_empty());
    let waypoint = CoverageAnswer { senders: vec![sender("waypoint", "envoy-json", |_| ())], ..none };
    expect(&unsupported::check(&waypoint, &[]), Level::Note, &["100 events are of waypoints"]);
}

#[test]
fn clocks_that_are_apart_are_told() {
    let own = |text: &str| clocks::own(text, NOW_S).into_iter().collect::<Vec<_>>();
    assert!(own("2026-11-22T00:00:03Z").is_empty() && own("").is_empty());
    expect(&own("2026-11-22T00:01:00Z"), Level::Problem, &["are 60 s apart"]);
}
