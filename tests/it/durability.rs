//! A 2xx means durable: what was acknowledged is in the store exactly once after kill -9, restarts and drains.

use crate::app::{Service, eventually};

/// A line that is told from every other by its id.
pub(crate) fn line(n: u64) -> String {
    format!(
        "{{\"ts_us\":{},\"correlation_id\":\"{n:032x}\",\"method\":\"GET\",\"host\":\"h\",\"url\":\"/{n}\",\"status\":200,\"pop\":\"FRA\",\"edge\":true,\"visits\":0,\"elapsed_us\":5,\"src\":\"fastly-vcl\",\"v\":1}}\n",
        1_795_290_064_000_000 + n
    )
}

#[test]
fn kill_after_kill_loses_and_doubles_nothing() {
    let mut service = Service::start();
    let mut acknowledged = 0u64;
    for round in 0..4 {
        // Killed with the last deliveries in the open segment, in sealed ones and half shipped.
        for _ in 0..20 {
            let body: String = (0..25).map(|at| line(1 + acknowledged + at)).collect();
            service.accept("/v1/fastly", body);
            acknowledged += 25;
        }
        std::thread::sleep(std::time::Duration::from_millis(311 * round));
        service.kill();
        service.restart();
    }
    service.wait_stored(acknowledged);
    for n in [1, acknowledged / 2, acknowledged] {
        let answer = service.json(&format!("/api/v1/traces/{n:032x}"));
        assert_eq!(answer["spans"].as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["spans"][0]["deliveries"], 1, "{answer}");
    }
}

#[test]
fn the_engine_ends_with_its_parent_and_is_started_again_when_it_dies() {
    let mut service = Service::start();
    let engine = engine_pid(service.pid());
    std::process::Command::new("kill").args(["-9", &engine.to_string()]).status().unwrap();
    service.accept("/v1/fastly", line(1));
    service.wait_stored(1);
    let again = engine_pid(service.pid());
    assert_ne!(engine, again);
    service.kill();
    eventually("the engine is gone", || {
        (!std::path::Path::new(&format!("/proc/{again}")).exists()).then_some(())
    });
}

#[test]
fn a_drain_ships_what_was_accepted() {
    let mut service = Service::start();
    service.accept("/v1/fastly", (1..=100).map(line).collect::<String>());
    assert!(service.terminate().success());
    let waiting = std::fs::read_dir(service.data().join("spool")).unwrap().flatten();
    let segments: Vec<_> = waiting
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().ends_with("ed"))
        .collect();
    assert!(segments.is_empty(), "{segments:?}");
    service.restart();
    service.wait_stored(100);
}

/// The child of a process that runs the engine.
fn engine_pid(parent: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let all_tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let of_tasks = all_tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = of_tasks
        .chain([children])
        .flat_map(|pids| pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    *pids.first().expect("an engine process")
}
