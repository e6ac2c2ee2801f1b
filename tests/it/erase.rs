//! Erasing one of three people: nothing of them is left in any answer, table, spool file or packed row, nothing of the
//! others is touched, and neither a crash nor a record that still waited brings anything back.

use serde_json::Value;

use crate::app::{Options, Service, eventually};

struct Person {
    name: &'static str,
    address: &'static str,
    correlation: &'static str,
    request: &'static str,
}

const ANN: Person = Person {
    name: "ann@example.com",
    address: "203.0.113.11",
    correlation: "a11a11a11a11a11a11a11a11a11a11aa",
    request: "aaaa2d1a-c026-4a05-84a7-b6ce5d11d0aa",
};
const BEA: Person = Person {
    name: "joann@example.com",
    address: "203.0.113.111",
    correlation: "b22b22b22b22b22b22b22b22b22b22bb",
    request: "bbbb2d1a-c026-4a05-84a7-b6ce5d11d0bb",
};
const CYD: Person = Person {
    name: "cyd@example.com",
    address: "203.0.113.13",
    correlation: "c33c33c33c33c33c33c33c33c33c33cc",
    request: "cccc2d1a-c026-4a05-84a7-b6ce5d11d0cc",
};

impl Person {
    /// What the edge logs: the name as subject and in an attribute.
    fn edge(&self) -> String {
        format!(
            "{{\"ts_us\":1795290064000000,\"correlation_id\":\"{}\",\"request_id\":\"{}\",\"method\":\"GET\",\"host\":\"shop\",\
             \"url\":\"/cart\",\"status\":200,\"fastly_is_edge\":true,\"pop\":\"FRA\",\"client_ip\":\"{}\",\"subject\":\"{}\",\
             \"greeting\":\"hello {}\"}}\n",
            self.correlation, self.request, self.address, self.name, self.name
        )
    }

    /// What the gateway logs of the same request: no name.
    fn gateway(&self) -> String {
        format!(
            "{{\"start_time\":\"2026-11-21T19:41:04.276Z\",\"method\":\"GET\",\"authority\":\"shop\",\"path\":\"/cart\",\
             \"protocol\":\"HTTP/2\",\"response_code\":200,\"response_flags\":\"-\",\"request_id\":\"{}\",\"duration\":3,\
             \"x_forwarded_for\":\"{}\",\"downstream_remote_address\":\"{}:4000\",\"upstream_cluster\":\"outbound|80||a\",\
             \"upstream_host\":\"10.1.1.1:80\",\"user_agent\":\"probe\"}}\n",
            self.request, self.address, self.address
        )
    }

    /// A line that cannot be read.
    fn broken(&self) -> String {
        format!("{{\"ts_us\":1795290064000000,\"who\":\"{}\" oops\n", self.name)
    }

    /// Sends two events by two transports and one reject.
    fn send(&self, service: &Service) {
        service.accept("/v1/fastly", self.edge() + &self.broken());
        service.accept("/v1/envoy", self.gateway());
    }

    fn words(&self) -> [&str; 4] {
        [self.name, self.address, self.correlation, self.request]
    }
}

fn answers(service: &Service) -> String {
    ["/api/v1/events?limit=100", "/api/v1/rejects", "/tempo/api/search?limit=100"]
        .map(|path| service.get(path).1)
        .concat()
}

/// Whether a text holds a word that is not part of a longer one.
fn holds(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    text.match_indices(word)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
}

fn assert_gone(service: &Service, person: &Person) {
    let text = answers(service);
    for word in person.words() {
        assert!(!holds(&text, word), "{word} is answered");
    }
    for id in [person.correlation, person.request] {
        assert_eq!(service.get(&format!("/api/v1/traces/{id}")).0, 404);
    }
    // Files but the receipts; of the tables only what is not compressed can be seen like this.
    for file in files(&service.data()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let found = person.words().into_iter().find(|word| holds(&text, word));
        assert!(found.is_none(), "{} holds {found:?}", file.display());
    }
}

fn assert_whole(service: &Service, person: &Person) {
    for id in [person.correlation, person.request] {
        let answer = service.json(&format!("/api/v1/traces/{id}"));
        assert_eq!(answer["spans"].as_array().unwrap().len(), 2, "{answer}");
    }
    assert!(holds(&answers(service), person.name), "{}'s reject or attribute is gone", person.name);
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn erase(service: &Service, arguments: &[&str]) -> Value {
    let mut all = vec!["erase", "--json"];
    all.extend(arguments);
    let output = service.cli(&all);
    let talk = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {talk}"))
}

fn place(receipt: &Value, name: &str) -> (u64, Option<u64>) {
    let places = receipt["places"].as_array().unwrap();
    let found = places.iter().find(|place| place["place"] == name);
    found.map_or((0, None), |place| (place["before"].as_u64().unwrap(), place["after"].as_u64()))
}

/// One number from the engine's read-only port.
fn number(service: &Service, sql: &str) -> u64 {
    let log = service.log.lock().unwrap().clone();
    let line = log.lines().find(|line| line.contains("ClickHouse, read-only, on")).expect("a read-only port");
    let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap();
    let credentials = std::fs::read_to_string(service.data().join("clickhouse-credentials")).unwrap();
    let (user, password) = credentials.trim().split_once(':').unwrap();
    let client = reqwest::blocking::Client::new();
    let request =
        client.post(format!("http://{address}/?database=throughline")).basic_auth(user, Some(password));
    let answer = request.body(sql.to_owned()).send().unwrap().text().unwrap();
    answer.trim().parse().unwrap_or_else(|_| panic!("{sql}: {answer}"))
}

#[test]
fn one_of_three_people_is_erased_from_everywhere_and_stays_away() {
    let mut service = Service::start();
    service.kill();
    let config = service.directory().join("throughline.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("public_listen = ''", "public_listen = '127.0.0.1:0'");
    std::fs::write(&config, text + "[correlate]\nmode = 'on'\n").unwrap();
    service.restart();
    for person in [&ANN, &BEA, &CYD] {
        person.send(&service);
    }
    service.wait_stored(6);
    eventually("the rejects are stored", || {
        let rejects = service.json("/api/v1/rejects");
        (rejects["rejects"].as_array().unwrap().len() == 3).then_some(())
    });
    // An original of a damaged segment that names her, and one that names nobody.
    let corrupt = service.data().join("spool/corrupt");
    std::fs::write(corrupt.join("00000000000000000001.sealed"), format!("\0\x01{}\x02", ANN.name)).unwrap();
    std::fs::write(corrupt.join("00000000000000000002.sealed"), "\0\x01\x02").unwrap();

    let looked = erase(&service, &["--subject", ANN.name]);
    assert_eq!(looked["state"], "dry_run", "{looked}");
    assert_eq!((place(&looked, "events"), place(&looked, "rejects")), ((2, None), (1, None)), "{looked}");
    assert_eq!(service.stored_events(), 6, "a dry run deletes nothing");

    let receipt = erase(&service, &["--subject", ANN.name, "--yes"]);
    assert_eq!(receipt["state"], "done", "{receipt}");
    assert_eq!(place(&receipt, "events"), (2, Some(0)), "{receipt}");
    assert_eq!(place(&receipt, "rejects"), (1, Some(0)), "{receipt}");
    assert_eq!(place(&receipt, "recent"), (2, Some(0)), "{receipt}");
    assert!(place(&receipt, "ids").0 >= 3 && place(&receipt, "ids").1 == Some(0), "{receipt}");
    assert_eq!(place(&receipt, "corrupt").0, 1, "{receipt}");
    assert!(!receipt.to_string().contains(ANN.name), "{receipt}");
    assert!(!receipt.to_string().contains("Old parts"), "old parts are off the disk: {receipt}");
    assert_gone(&service, &ANN);
    assert_whole(&service, &BEA);
    assert_whole(&service, &CYD);
    assert_eq!(number(&service, "SELECT count() FROM events"), 4);
    assert_eq!(number(&service, "SELECT sum(events) FROM recent"), 4);
    assert_eq!(number(&service, "SELECT count() FROM erasing"), 0);
    // What is erased is not missing in the books.
    let books = service.json("/api/v1/ledger");
    assert_eq!(books["balanced"], true, "{books}");
    let erased: u64 = books["sums"].as_array().unwrap().iter().filter_map(|sum| sum["erased"].as_u64()).sum();
    assert_eq!(erased, 3, "{books}");
    let kept = service.json(&format!("/api/v1/erasures/{}", receipt["id"].as_str().unwrap()));
    assert_eq!(kept, receipt, "the receipt is kept");

    service.kill();
    service.restart();
    assert_gone(&service, &ANN);
    assert_whole(&service, &BEA);
    assert_whole(&service, &CYD);
    // A sender that delivers again makes a new record, and that is erased by its address as well.
    service.accept("/v1/envoy", ANN.gateway());
    service.wait_stored(5);
    let again = erase(&service, &["--client", ANN.address, "--yes"]);
    assert_eq!(place(&again, "events"), (1, Some(0)), "{again}");
    assert_gone(&service, &ANN);
    assert_eq!(service.stored_events(), 4);
}

#[test]
fn what_waits_in_the_spool_while_the_store_is_away_does_not_come_back() {
    let mut service = Service::start();
    service.kill();
    let config = service.directory().join("throughline.toml");
    let with_engine = std::fs::read_to_string(&config).unwrap();
    let away = with_engine.clone() + "[store]\nurl = 'http://127.0.0.1:9'\n";
    std::fs::write(&config, away).unwrap();
    service.restart_unready();
    for person in [&ANN, &BEA, &CYD] {
        person.send(&service);
    }
    // What waits can be listed while the service has it.
    let spool = service.data().join("spool");
    let listed = service.cli(&["spool", "--json", spool.to_str().unwrap()]);
    let lines = String::from_utf8_lossy(&listed.stdout).into_owned();
    let records: u64 = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|segment| {
            assert!(segment["damage"].is_null(), "{segment}");
            segment["records"].as_u64().unwrap()
        })
        .sum();
    assert!(listed.status.success() && records >= 9, "{lines}");
    let id = BEA.correlation;
    let body = format!("{{\"kind\":\"id\",\"value\":\"{id}\",\"confirm\":true}}");
    let (status, answer) = service.post("/api/v1/erase", &[("content-type", "application/json")], body);
    assert_eq!(status, 200, "{answer}");
    let receipt: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(receipt["state"], "pending", "{answer}");
    // Killed before anything of it is carried out: it was noted.
    service.kill();
    std::fs::write(&config, with_engine).unwrap();
    service.restart();
    let path = format!("/api/v1/erasures/{}", receipt["id"].as_str().unwrap());
    let done = eventually("the erasure is done", || {
        let receipt = service.json(&path);
        (receipt["state"] == "done").then_some(receipt)
    });
    // Both her events are dropped on their way; what the name stands in as text was not asked for.
    assert_eq!(place(&done, "spool").0, 2, "{done}");
    service.wait_stored(4);
    for id in [BEA.correlation, BEA.request] {
        assert_eq!(service.get(&format!("/api/v1/traces/{id}")).0, 404);
    }
    assert_whole(&service, &ANN);
    assert_whole(&service, &CYD);
    let left = std::fs::read_dir(service.data().join("erasures")).unwrap().count();
    assert_eq!(left, 0, "the value is forgotten");
}

#[test]
fn what_cannot_be_erased_by_is_refused_with_what_to_do() {
    let service = Service::start();
    let json = [("content-type", "application/json")];
    for (body, word) in [
        ("{\"kind\":\"client\",\"value\":\"house\"}", "is no IP address"),
        ("{\"kind\":\"id\",\"value\":\"-\"}", "is not an id"),
        ("{\"kind\":\"subject\",\"value\":\"\"}", "empty"),
        ("{\"kind\":\"subject\",\"value\":\"ann\",\"from\":\"today\"}", "is no time"),
        ("{\"kind\":\"name\",\"value\":\"ann\"}", "unknown variant"),
    ] {
        let (status, answer) = service.post("/api/v1/erase", &json, body);
        assert!((400..500).contains(&status) && answer.contains(word), "{body}: {status} {answer}");
    }
    assert_eq!(service.get("/api/v1/erasures/1").0, 404);
}

#[test]
fn only_an_admin_erases_and_only_in_its_tenant() {
    let config = "[[reader]]\nname = 'desk'\ntoken = 'desk-token-0123456789'\ntenant = 'default'\n\
                  [[reader]]\nname = 'keeper'\ntoken = 'keeper-token-0123456789'\ntenant = 'other'\nroles = ['search', 'admin']\n";
    let service = Service::with(Options { config: config.to_owned(), ..Options::default() });
    ANN.send(&service);
    let asked = |token: &str| {
        let token = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", token.as_str())];
        let body = format!("{{\"kind\":\"subject\",\"value\":\"{}\",\"confirm\":true}}", ANN.name);
        service.post("/api/v1/erase", &headers, body)
    };
    assert_eq!(asked("").0, 401);
    let (status, answer) = asked("desk-token-0123456789");
    assert!(status == 403 && answer.contains("admin"), "{status} {answer}");
    let (status, answer) = asked("keeper-token-0123456789");
    assert_eq!(status, 200, "{answer}");
    let receipt: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&receipt["by"], &receipt["tenant"]), (&"keeper".into(), &"other".into()), "{receipt}");
    assert_eq!(place(&receipt, "events").0, 0, "{receipt}");
}
