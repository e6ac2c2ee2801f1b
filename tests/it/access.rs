//! Who may send, who may ask, and what is written down of it: over real sockets, against the real binary and engine.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::app::{Options, Service, client, eventually};

const CORRELATION: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07aaaa";
const SEARCH: &str = "reader-token-with-search-only";
const PERSONAL: &str = "reader-token-with-personal-data";
const ADMIN: &str = "reader-token-of-the-administrator";

/// What is planted of a person, each in a field of its own.
const PLANTED: &[&str] = &[
    "203.0.113.77",
    "198.51.100.66",
    "ada-by-name",
    "adas-browser",
    "adas-referer",
    "adas-attribute",
    "adas-forwarded",
    "adas-reject",
];

fn readers() -> String {
    let reader = |name: &str, token: &str, roles: &str| {
        format!("[[reader]]\nname = '{name}'\ntenant = 'shop'\ntoken = '{token}'\nroles = [{roles}]\n")
    };
    reader("front", SEARCH, "'search'")
        + &reader("privacy", PERSONAL, "'personal'")
        + &reader("root", ADMIN, "'admin'")
}

fn source(name: &str, kind: &str, more: &str) -> String {
    format!("[[source]]\nname = '{name}'\nkind = '{kind}'\ntenant = 'shop'\n{more}\n")
}

/// Status and body of a GET with a reader's token.
fn ask(service: &Service, token: &str, path: &str) -> (u16, String) {
    let answer = client(None).get(service.url() + path).bearer_auth(token).send().unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

fn line(marker: &str) -> String {
    format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"elapsed_us":900,"edge":true,"visits":0,"correlation_id":"{marker}","method":"GET","host":"h","url":"/","status":200,"pop":"FRA"}}"#
    )
}

/// One person's request over edge and gateway, and a line of it that cannot be read.
fn plant(service: &Service) {
    let edge = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"elapsed_us":25000,"edge":true,"visits":0,"correlation_id":"{CORRELATION}","method":"GET","host":"shop.example.com","url":"/cart?name=ada-by-name","status":503,"pop":"FRA","client_ip":"203.0.113.77","ua":"adas-browser","referer":"https://adas-referer.example/","x_note":"adas-attribute"}}"#
    );
    let gateway = format!(
        r#"{{"authority":"shop.example.com","bytes_sent":91,"duration":10,"method":"GET","path":"/cart?name=ada-by-name","protocol":"HTTP/1.1","request_id":"42322d1a-c026-4a05-84a7-b6ce5d11aaaa","x_correlation_id":"{CORRELATION}","response_code":503,"response_flags":"-","start_time":"2026-11-21T19:41:04.276Z","upstream_cluster":"outbound|8080||app-a.default.svc.cluster.local","user_agent":"adas-browser","x_forwarded_for":"adas-forwarded, 203.0.113.77","downstream_remote_address":"198.51.100.66:4711","x_note":"adas-attribute"}}"#
    );
    for (path, body) in
        [("/v1/fastly", edge), ("/v1/envoy", gateway), ("/v1/fastly", "{adas-reject 203.0.113.77".to_owned())]
    {
        assert_eq!(service.post(path, &[], body).0, 200);
    }
    eventually("everything is stored", || {
        let (_, body) = ask(service, SEARCH, "/api/v1/sources");
        let sources: Value = serde_json::from_str(&body).ok()?;
        let sources = sources["sources"].as_array()?;
        let events: u64 = sources.iter().filter_map(|source| source["events"].as_u64()).sum();
        let has_reject = sources.iter().any(|source| !source["rejects"].as_array().unwrap().is_empty());
        (events == 2 && has_reject).then_some(())
    });
}

/// Every endpoint of the query API and of Tempo's that shows anything of records.
fn endpoints(service: &Service) -> Vec<String> {
    let trace: Value =
        serde_json::from_str(&ask(service, PERSONAL, &format!("/api/v1/traces/{CORRELATION}")).1).unwrap();
    let key = |at: usize| trace["spans"][at]["event_key"].as_str().unwrap().to_owned();
    let trace_id = trace["trace_id"].as_str().unwrap();
    let mut endpoints = vec![
        format!("/api/v1/traces/{CORRELATION}"),
        format!("/api/v1/traces/{CORRELATION}/why?a={}&b={}", key(0), key(1)),
        "/api/v1/events".to_owned(),
        "/api/v1/events?status=503&order=oldest".to_owned(),
        "/api/v1/rejects".to_owned(),
        "/api/v1/sources".to_owned(),
        "/api/v1/ledger".to_owned(),
        "/api/v1/coverage".to_owned(),
        "/api/v1/service".to_owned(),
        format!("/tempo/api/traces/{trace_id}"),
        format!("/tempo/api/v2/traces/{trace_id}"),
        "/tempo/api/search?q=%7B%20%7D&spss=0".to_owned(),
        "/tempo/api/search/tags".to_owned(),
        "/tempo/api/v2/search/tags".to_owned(),
        "/".to_owned(),
        format!("/r/{CORRELATION}"),
        "/metrics".to_owned(),
    ];
    let names: Value = serde_json::from_str(&ask(service, PERSONAL, "/tempo/api/v2/search/tags").1).unwrap();
    for scope in names["scopes"].as_array().unwrap() {
        for tag in scope["tags"].as_array().unwrap() {
            let (scope, tag) = (scope["name"].as_str().unwrap(), tag.as_str().unwrap());
            let field = if scope == "intrinsic" { tag.to_owned() } else { format!("{scope}.{tag}") };
            endpoints.push(format!("/tempo/api/v2/search/tag/{field}/values"));
            endpoints.push(format!("/tempo/api/search/tag/{tag}/values"));
        }
    }
    endpoints
}

#[test]
fn no_answer_shows_a_person_to_whoever_may_only_search() {
    let open = source("cdn", "fastly", "") + &source("mesh", "envoy", "");
    let service = Service::with(Options { config: readers() + &open, ..Default::default() });
    plant(&service);
    let document = service.json("/api/v1/openapi.json");
    let endpoints = endpoints(&service);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let beginning = path.split("/{").next().unwrap();
        if methods.get("get").is_none() {
            assert_eq!(service.post(path, &[("authorization", PERSONAL)], "{}").0 / 100, 4, "{path}");
        } else if ["/api/v1/erasures"].contains(&beginning) {
            let (status, body) = ask(&service, PERSONAL, &path.replace("{id}", "1"));
            assert_eq!(status, 403, "{path} is the administrator's: {body}");
        } else {
            assert!(
                endpoints.iter().any(|endpoint| endpoint.starts_with(beginning)),
                "{path} is not tried here"
            );
        }
    }
    let mut shown: std::collections::BTreeSet<&&str> = std::collections::BTreeSet::new();
    for path in &endpoints {
        let (status, body) = ask(&service, SEARCH, path);
        assert!([200, 403].contains(&status), "{path}: {status} {body}");
        for planted in PLANTED {
            assert!(!body.contains(planted), "{path} shows {planted}: {body}");
        }
        let (status, body) = ask(&service, PERSONAL, path);
        assert_eq!(status, 200, "{path}: {body}");
        shown.extend(PLANTED.iter().filter(|planted| body.contains(**planted)));
        if path != "/metrics" {
            assert_eq!(ask(&service, ADMIN, path).0, 403, "{path}: admin shows nothing");
            assert_eq!(ask(&service, "no-token-of-anybody-at-all", path).0, 401, "{path}");
        }
    }
    assert_eq!(shown.len(), PLANTED.len(), "what nobody sees was not planted: {shown:?}");
    for question in [
        "/api/v1/events?client=203.0.113.77",
        "/api/v1/events?subject=x",
        "/tempo/api/search?q=%7B%20.client.address%20%3D%20%22203.0.113.77%22%20%7D",
        "/tempo/api/search?q=%7B%20span.url.query%20%3D~%20%22.%2A%22%20%7D",
        "/tempo/api/search?tags=user_agent.original%3Dadas",
        "/tempo/api/search?q=%7B%20.throughline.attribute.x_note%20%3D%20%22adas-attribute%22%20%7D",
        "/tempo/api/search?q=%7B%20%7D%20%7C%20select(span.url.query)",
        "/tempo/api/v2/search/tag/name/values?q=%7B%20.client.address%20%3D%20%22203.0.113.77%22%20%7D",
    ] {
        assert_eq!(ask(&service, SEARCH, question).0, 403, "{question}");
        assert_eq!(ask(&service, PERSONAL, question).0, 200, "{question}");
    }
    let (_, masked) = ask(&service, SEARCH, &format!("/api/v1/traces/{CORRELATION}"));
    for part in ["[masked]", "/cart", "503", CORRELATION] {
        assert!(masked.contains(part), "{part}: {masked}");
    }
}

#[test]
fn every_lookup_is_written_down_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("audit");
    std::fs::create_dir(&place).unwrap();
    let file = place.join("lookups.jsonl");
    let open = source("cdn", "fastly", "") + &source("mesh", "envoy", "");
    let audit = format!("[audit]\nfile = '{}'\n", file.display());
    let service = Service::with(Options { config: audit + &readers() + &open, ..Default::default() });
    plant(&service);
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = lines().len();
    ask(&service, PERSONAL, &format!("/api/v1/traces/{CORRELATION}"));
    ask(&service, SEARCH, "/api/v1/events?client=203.0.113.77");
    ask(&service, PERSONAL, &format!("/api/v1/events?host={PERSONAL}&limit=5"));
    ask(&service, PERSONAL, &format!("/api/v1/traces/{SEARCH}"));
    ask(&service, "no-token-of-anybody-at-all", "/api/v1/events");
    let seen = lines()[before..].to_vec();
    assert_eq!(seen.len(), 4, "what got no answer looked nothing up: {seen:?}");
    assert_eq!(seen[0]["reader"], "privacy");
    assert_eq!(seen[0]["tenant"], "shop");
    assert_eq!(seen[0]["from"], "127.0.0.1");
    assert_eq!(seen[0]["endpoint"], "GET /api/v1/traces/{id}");
    assert_eq!((&seen[0]["status"], &seen[0]["rows"]), (&200.into(), &2.into()));
    assert!(seen[0]["asked"].to_string().contains(CORRELATION));
    assert_eq!((&seen[1]["reader"], &seen[1]["status"]), (&"front".into(), &403.into()));
    assert!(seen[1]["asked"].to_string().contains("203.0.113.77"));
    assert!(
        seen[2]["asked"].to_string().contains("[token]") && seen[3]["asked"].to_string().contains("[token]")
    );
    let whole = std::fs::read_to_string(&file).unwrap();
    assert!([SEARCH, PERSONAL, ADMIN].iter().all(|token| !whole.contains(token)), "{whole}");

    std::fs::remove_dir_all(&place).unwrap();
    let (status, body) = ask(&service, PERSONAL, "/api/v1/events");
    assert_eq!(status, 503, "{body}");
    assert!(!body.contains("ada-by-name"), "{body}");
    assert_eq!(service.get("/healthz").0, 200);
}

#[test]
fn tokens_rotate_with_an_overlap_and_without_a_restart() {
    let (old, new, hashed) =
        ("the-old-token-of-the-sender", "the-new-token-of-the-sender", "a-token-of-which-the-hash-stands");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, old).unwrap();
    let made = std::process::Command::new(crate::app::BINARY).arg("token").output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let word = |name: &str| made.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let (made, made_hash) = (word("token "), word("token_sha256 "));
    let config = source(
        "cdn",
        "fastly",
        &format!(
            "token_file = '{}'\ntoken = ['{hashed}', 'another-token-in-plain-text']\ntoken_sha256 = '{made_hash}'",
            file.display()
        ),
    );
    let service = Service::with(Options { config, ..Default::default() });
    let send = |token: &str| {
        service.post("/v1/fastly", &[("authorization", &format!("Bearer {token}"))], line(CORRELATION)).0
    };
    for (token, expected) in [(old, 200), (new, 401), (hashed, 200), (&*made, 200), (&*made_hash, 401)] {
        assert_eq!(send(token), expected, "{token}");
    }
    std::fs::write(&file, format!("{old}\n{new}\n")).unwrap();
    eventually("the new token opens", || (send(new) == 200).then_some(()));
    assert_eq!(send(old), 200, "the old one still does");
    std::fs::write(&file, new).unwrap();
    eventually("the old token opens no more", || (send(old) == 401).then_some(()));
    assert_eq!(send(new), 200);
    std::fs::write(&file, "").unwrap();
    eventually("the log says that the file is bad", || {
        service.log.lock().unwrap().contains("the old content holds").then_some(())
    });
    assert_eq!(send(new), 200, "an empty file takes nobody's access");
    let metrics = service.get("/metrics").1;
    let used: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("throughline_token_last_used_seconds{")).collect();
    assert_eq!(used.len(), 4, "{used:?}");
    assert!(used.iter().any(|line| line.contains(&made_hash[..8]) && !line.ends_with(" 0")), "{used:?}");
    let log = service.log.lock().unwrap().clone();
    for secret in [old, new, hashed, &made] {
        assert!(!log.contains(secret) && !metrics.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_source_sends_from_its_addresses_and_within_its_rate() {
    let config = source(
        "listed",
        "fastly",
        "token = 'token-of-the-listed-one'\naddresses = ['192.0.2.0/24', '2001:db8::/32']",
    ) + &source(
        "noisy",
        "envoy",
        "token = 'token-of-the-noisy-one'\nrate_bytes = 100\nburst_bytes = '1KiB'",
    ) + &source("quiet", "envoy", "token = 'token-of-the-quiet-one'");
    let root = "trusted_proxies = '127.0.0.1'\n".to_owned();
    let service = Service::with(Options { config, root, ..Default::default() });
    let listed = |forwarded: &str, token: &str| {
        let headers = [("authorization", token), ("x-forwarded-for", forwarded)];
        service.post("/v1/fastly", &headers, line(CORRELATION)).0
    };
    assert_eq!(listed("192.0.2.9", "token-of-the-listed-one"), 200);
    assert_eq!(listed("2001:db8::9", "token-of-the-listed-one"), 200);
    assert_eq!(
        listed("192.0.2.9, 198.51.100.1", "token-of-the-listed-one"),
        503,
        "the left is anybody's word"
    );
    assert_eq!(listed("198.51.100.1", "token-of-the-listed-one"), 503);
    assert_eq!(listed("192.0.2.9", "wrong"), 401);
    eventually("the log says who was not let in", || {
        service.log.lock().unwrap().contains("a sender is not let in").then_some(())
    });

    let gateway = format!(
        r#"{{"start_time":"2026-11-21T19:41:04.276Z","method":"GET","path":"/","response_code":200,"duration":1,"request_id":"{CORRELATION}"}}"#
    );
    let lines = vec![gateway; 20].join("\n");
    let send = |token: &str| {
        let request =
            client(None).post(service.url() + "/v1/envoy").header("authorization", token).body(lines.clone());
        let answer = request.send().unwrap();
        let after =
            answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        (answer.status().as_u16(), after)
    };
    assert_eq!(send("token-of-the-noisy-one").0, 200, "a burst, and one overdraft");
    let (status, after) = send("token-of-the-noisy-one");
    assert!(status == 503 && after.is_some_and(|after| after > 1), "{status} {after:?}");
    for _ in 0..5 {
        assert_eq!(send("token-of-the-quiet-one").0, 200, "its neighbour is not held up");
    }
    let metrics = service.get("/metrics").1;
    for cause in ["address", "rate"] {
        let counted = metrics.lines().any(|line| {
            line.starts_with("throughline_refusals_total") && line.contains(&format!("cause=\"{cause}\""))
        });
        assert!(counted, "{cause}: {metrics}");
    }
}

/// A CA, and certificate with key of somebody whom it vouches for, as PEM.
pub(crate) fn authority() -> (
    rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    impl Fn(&rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, &str) -> String,
) {
    let mut asked = rcgen::CertificateParams::new(Vec::new()).unwrap();
    asked.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(asked, rcgen::KeyPair::generate().unwrap()).unwrap();
    let issue = |issuer: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut asked = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        asked.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        asked.signed_by(&key, issuer).unwrap().pem() + &key.serialize_pem()
    };
    (issuer, issue)
}

/// Certificate and key of a service on loopback, as PEM files in a directory.
pub(crate) fn own_certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let server = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&cert, server.cert.pem()).unwrap();
    std::fs::write(&key, server.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

#[test]
fn with_a_client_ca_only_its_clients_get_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let tls = own_certificate(directory.path());
    let (first, issue) = authority();
    let (second, _) = authority();
    std::fs::write(path("ca.pem"), first.pem()).unwrap();
    let config = "[[source]]\nname = 'cdn'\nkind = 'fastly'\nclient_name = 'logs.fastly.example'\ntoken = 'token-of-the-content-network'\n".to_owned();
    let http = format!("client_ca = '{}'\n", path("ca.pem").display());
    let service = Service::with(Options {
        config,
        http,
        tls: Some(tls),
        identity: Some(issue(&first, "probe.example")),
        ..Default::default()
    });
    let send = |identity: Option<&str>| {
        let request =
            client(identity).post(service.url() + "/v1/fastly").bearer_auth("token-of-the-content-network");
        request.body(line(CORRELATION)).send().map_or(0, |answer| answer.status().as_u16())
    };
    let fastly = issue(&first, "logs.fastly.example");
    assert_eq!(send(None), 0, "no certificate, no handshake");
    assert_eq!(send(Some(&issue(&second, "logs.fastly.example"))), 0, "another CA's");
    assert_eq!(send(Some(&issue(&first, "somebody.else.example"))), 503, "not this source's name");
    assert_eq!(send(Some(&fastly)), 200);

    std::fs::write(path("ca.pem"), second.pem()).unwrap();
    let next = issue(&second, "logs.fastly.example");
    eventually("the new CA holds", || (send(Some(&next)) == 200).then_some(()));
    assert_eq!(send(Some(&fastly)), 0, "the old CA's clients are out");
}

#[test]
fn an_open_service_answers_to_no_name_but_its_own() {
    let service = Service::start();
    let ask = |host: &str| {
        let request = client(None).get(service.url() + "/api/v1/sources").header("host", host);
        request.send().unwrap().status().as_u16()
    };
    assert_eq!((ask("localhost:1"), ask("127.0.0.1")), (200, 200));
    assert_eq!(ask("page.example"), 403);
}

/// The threat model says which test holds which control: a name that no test has holds nothing.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named: Vec<&str> = model
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .filter(|word| word.matches('_').count() >= 2)
        .collect();
    assert!(named.len() > 40, "{named:?}");
    let mut tests = String::new();
    for part in ["src", "crates", "tests/it", "edge/src", "edge/tests"] {
        let pattern = root.join(part).join("**/*.rs");
        for path in glob::glob(pattern.to_str().unwrap()).unwrap().flatten() {
            tests += &std::fs::read_to_string(path).unwrap();
        }
    }
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "no test is called so: {missing:?}");
}
