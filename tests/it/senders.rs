//! The captured records of a real Envoy chain, sent as their senders send them, counted at the other end.

use crate::app::Service;

fn import(service: &Service, arguments: &[&str], files: &[&str]) -> serde_json::Value {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/envoy");
    let files: Vec<String> = files.iter().map(|file| root.join(file).display().to_string()).collect();
    let mut all = vec!["import", "--json", "--allow-rejects"];
    all.extend(arguments);
    all.extend(files.iter().map(String::as_str));
    let output = service.cli(&all);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}\n{}", service.log.lock().unwrap());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {talk}"))
}

#[test]
fn every_captured_record_is_an_event_or_an_explained_reject() {
    let service = Service::start();
    let text = import(&service, &[], &["file/gw.text.log", "file/a.text.log", "file/b.text.log"]);
    assert_eq!(text["events"], 174, "{text}");
    let json = import(&service, &[], &["file/gw.json.log", "file/a.json.log", "file/b.json.log"]);
    assert_eq!(json["events"], 174, "{json}");
    let ext = import(&service, &[], &["file/gw.ext.log", "file/a.ext.log", "file/b.ext.log"]);
    assert_eq!(ext["events"], 97, "{ext}");
    let otlp = import(&service, &[], &["otlp/logs.grpc.binpb", "otlp/logs.http.binpb"]);
    // A strict decoder reads 322 and 95; the frames that it refuses hold 26 and 7 more.
    assert_eq!(otlp["events"], 322 + 26 + 95 + 7, "{otlp}");
    let before = 174 + 174 + 97 + 322 + 26 + 95 + 7;
    service.wait_stored(before);
    // ALS answers nothing but the end of the stream; the store has the counts.
    import(
        &service,
        &[],
        &[
            "als/gw.http_envoy_accesslog.stream0.binpb",
            "als/a.http_envoy_accesslog.stream2.binpb",
            "als/b.http_envoy_accesslog.stream1.binpb",
            "als/gw.listener_envoy_accesslog.stream3.binpb",
            "als/gw.tcp_envoy_accesslog.stream4.binpb",
            "als/a.tcp_envoy_accesslog.stream5.binpb",
        ],
    );
    service.wait_stored(before + 152 + 22);
}

#[test]
fn one_clients_bad_bytes_cost_nobody_elses_record() {
    let service = Service::start();
    let frames = [
        "bad-utf8.grpc.frame71.bin",
        "bad-utf8.grpc.frame72.bin",
        "bad-utf8.grpc.frame73.bin",
        "bad-utf8.grpc.frame74.bin",
        "bad-utf8.http.frame24.bin",
    ];
    let protobuf = [("content-type", "application/x-protobuf")];
    for frame in frames {
        let (status, answer) =
            service.post("/v1/logs", &protobuf, crate::app::data(&format!("envoy/otlp/{frame}")));
        assert_eq!((status, answer.as_str()), (200, ""), "{frame}: no partial success is an empty message");
    }
    crate::app::eventually("the records are stored", || {
        (service.stored_events() >= frames.len() as u64 * 4).then_some(())
    });
}

#[test]
fn a_followed_file_is_read_through_rotation_and_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = String::from_utf8_lossy(&crate::app::data("envoy/file/gw.json.log")).into_owned();
    let lines: Vec<&str> = log.lines().take(60).collect();
    let write = |lines: &[&str]| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        for line in lines {
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
        }
    };
    write(&lines[..10]);
    let mut service = Service::with(crate::app::Options {
        config: format!(
            "[[source]]\nname = 'gw'\nkind = 'file'\npaths = ['{}/*.log']\nhop = 'gateway'\n",
            directory.path().display()
        ),
        ..Default::default()
    });
    service.wait_stored(10);
    write(&lines[10..20]);
    std::fs::rename(&path, directory.path().join("access.log.1")).unwrap();
    write(&lines[20..30]);
    service.wait_stored(30);
    assert!(service.terminate().success());
    write(&lines[30..40]);
    std::fs::rename(&path, directory.path().join("access.log.2")).unwrap();
    write(&lines[40..50]);
    service.restart();
    service.wait_stored(50);
}
