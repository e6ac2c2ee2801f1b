//! Tests of [`super`]: what the options mean, and advice by the records that call for it.

use correlation::{Id, uuid_text};

use super::*;

#[test]
fn sizes_carry_their_unit() {
    assert_eq!(size("512MiB"), Ok(512 << 20));
    assert_eq!(size("2 GiB"), Ok(2 << 30));
    assert_eq!(size("4096"), Ok(4096));
    assert!(size("1 parsec").unwrap_err().contains("MiB"));
    assert!(size("GiB").is_err() && size("99999999999999999999GiB").is_err());
}

/// Lines of our VCL format and of Istio's JSON, each with an id, a second apart.
struct Lines {
    edge: String,
    mesh: String,
}

impl Lines {
    fn new(edge: impl Fn(u128) -> String, mesh: impl Fn(u128) -> String) -> Self {
        let joined = |line: &dyn Fn(u128) -> String| (1..=40).map(|n| line(n) + "\n").collect();
        Self { edge: joined(&edge), mesh: joined(&mesh) }
    }

    fn answer(&self) -> ExplainAnswer {
        let directory = tempfile::tempdir().unwrap();
        let paths = [("edge.ndjson", &self.edge), ("gateway.log", &self.mesh)].map(|(name, lines)| {
            let path = directory.path().join(name);
            std::fs::write(&path, lines).unwrap();
            path
        });
        let names = paths.iter().map(|path| path.to_str().unwrap());
        let line = ["explain", "--json"].into_iter().chain(names);
        let arguments = <Command as clap::Parser>::parse_from(line).arguments;
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        explain(&arguments, Screen { columns: 100, coloured: false }, &mut out, &mut talk).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    fn codes(&self) -> Vec<String> {
        self.answer().advice.into_iter().map(|advice| advice.code).collect()
    }
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn id(number: u128) -> String {
    uuid_text(0x0192_f0c4_8a4e_7cc3_98c4_0000_0000_0000 + number)
}

fn edge(number: u128, id: &str) -> String {
    let start_us = 1_795_290_064_000_000 + number * 1_000_000;
    format!(
        r#"{{"v":1,"src":"fastly-vcl","service_id":"s","ts_us":{start_us},"elapsed_us":48000,"ttfb_s":"0.045","edge":true,"visits":0,"restarts":0,"to_shield":false,"correlation_id":"{id}","method":"GET","host":"h","url":"/{number}","status":200,"state":"MISS","pop":"FRA","server":"cache-fra-1","backend":"b","o_start_us":400,"o_ttfb_us":45000}}"#
    )
}

fn gateway(seconds_later: i64, number: u128, id: &str) -> String {
    let start = jiff::Timestamp::from_second(1_795_290_064 + number as i64 + seconds_later).unwrap();
    let request = uuid_text(Id::candidates(&format!("request {number} {seconds_later}"))[0]);
    format!(
        r#"{{"start_time":"{start:.3}","method":"GET","path":"/{number}","authority":"h","response_code":200,"response_flags":"-","response_code_details":"via_upstream","duration":35,"request_id":"{request}","upstream_cluster":"outbound|80||a.b.svc.cluster.local","upstream_host":"10.0.0.5:80","x_correlation_id":"{id}","node_id":"router~10.0.0.1~gw.istio-system~x"}}"#
    )
}

#[test]
fn joined_records_need_no_advice() {
    let lines = Lines::new(|n| edge(n, &id(n)), |n| gateway(0, n, &id(n)));
    let answer = lines.answer();
    assert_eq!((answer.requests.count, answer.requests.edge_to_mesh), (40, 40));
    assert_eq!(answer.advice, Vec::new());
}

#[test]
fn ids_that_never_meet_are_told_from_clocks_that_are_off() {
    let strangers = Lines::new(|n| edge(n, &id(n)), |n| gateway(0, n, &id(1000 + n)));
    assert_eq!(strangers.codes(), ["ids_never_meet"]);
    let three_hours = Lines::new(|n| edge(n, &id(n)), |n| gateway(3 * 3600, n, &id(n)));
    let answer = three_hours.answer();
    assert_eq!(answer.advice[0].code, "clocks_apart");
    assert!(answer.advice[0].text.contains("3 h after the edge's"), "{}", answer.advice[0].text);
    let other_time = Lines::new(|n| edge(n, &id(n)), |n| gateway(3 * 3600, n, &id(1000 + n)));
    assert_eq!(other_time.codes(), ["times_apart"]);
}

#[test]
fn an_id_that_is_reused_is_said() {
    let reused = Lines::new(|n| edge(n, &id(n % 2)), |n| gateway(0, n, &id(n % 2)));
    assert!(reused.codes().contains(&"shared_ids".to_owned()), "{:?}", reused.codes());
}

#[test]
fn weak_ids_are_said() {
    let weak = Lines::new(|n| edge(n, &format!("id{n}")), |n| gateway(0, n, &format!("id{n}")));
    assert!(weak.codes().contains(&"weak_ids".to_owned()), "{:?}", weak.codes());
    assert_eq!(weak.answer().requests.edge_to_mesh, 0);
}
