//! Starting, ending, crashing and starting again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::{Options, Phase, Supervisor};

use crate::support::{Engine, PROGRAM, library, options};

fn kill_nine(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn after_kill_nine_the_next_engine_gets_the_lock_and_the_rows() {
    let data = tempfile::tempdir().unwrap();
    let mut engine = Engine::on(data.path());
    engine.value("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n");
    for round in 1..=3 {
        engine.value("INSERT INTO kept SELECT number FROM numbers(1000)");
        kill_nine(engine.child.id());
        let next = Engine::on(data.path());
        drop(std::mem::replace(&mut engine, next));
        assert_eq!(engine.value("SELECT count() FROM kept"), (round * 1000).to_string());
    }
}

#[test]
fn several_that_wait_for_a_directory_get_it_one_after_the_other() {
    const WAITING: usize = 4;
    let data = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let first = Engine::on(data.path());
        // As after kills of a service in quick succession: each has left an engine that still wants to open.
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let data = data.path().to_owned();
                std::thread::spawn(move || kill_nine(Engine::on(&data).child.id()))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        kill_nine(first.child.id());
        for engine in waiting {
            engine.join().expect("none of them fails");
        }
    }
}

#[test]
fn an_orphan_that_waits_for_a_directory_leaves_the_queue() {
    let data = tempfile::tempdir().unwrap();
    let first = Engine::on(data.path());
    let mut orphan = Command::new(PROGRAM)
        .args(options(data.path()).arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(orphan.try_wait().unwrap().is_none(), "it waits");
    drop(orphan.stdin.take());
    // Well before its patience of ten seconds with the directory ends.
    let since = Instant::now();
    assert!(orphan.wait().unwrap().success() && since.elapsed() < Duration::from_secs(3));
    assert_eq!(first.value("SELECT 1"), "1");
    kill_nine(first.child.id());
}

#[test]
fn the_end_of_standard_input_ends_the_engine() {
    let data = tempfile::tempdir().unwrap();
    let mut engine = Engine::on(data.path());
    engine.value("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n");
    engine.value("INSERT INTO t SELECT number FROM numbers(1000)");
    let asked = Instant::now();
    drop(engine.input.take());
    let status = engine.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(Engine::on(data.path()).value("SELECT count() FROM t"), "1000");
}

#[test]
fn the_engine_ends_with_a_parent_that_was_killed() {
    let data = tempfile::tempdir().unwrap();
    // Python stands for the parent: it holds the engine's standard input through a pipe and is killed.
    let mut parent = Command::new("python3")
        .args(["-c", "import subprocess,sys; p=subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True); p.wait()"])
        .arg(PROGRAM)
        .args(options(data.path()).arguments())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(parent.stdout.take().unwrap()), &mut line)
        .unwrap();
    let engine: u32 = line.trim().parse().unwrap();
    kill_nine(parent.id());
    parent.wait().unwrap();
    crate::support::until("the orphan ended", || gone(engine));
}

#[test]
fn what_is_wrong_at_the_start_is_said() {
    let data = tempfile::tempdir().unwrap();
    let fails = |options: Options| {
        let output = Command::new(PROGRAM).args(options.arguments()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = fails(Options::new("/no/such/libchdb.so", data.path()));
    assert!(said.contains("scripts/engine-lib"), "{said}");
    let mut exposed = options(data.path());
    exposed.public_http = Some("0.0.0.0:0".parse().unwrap());
    let said = fails(exposed);
    assert!(said.contains("--insecure"), "{said}");
}

#[tokio::test]
async fn the_supervisor_starts_a_killed_engine_again_and_ends_it_when_asked() {
    let data = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::start(PROGRAM.into(), Vec::new(), options(data.path())).await.unwrap();
    let (mut endpoint, mut state) = (supervisor.endpoint(), supervisor.state());
    let client = |endpoint: &engine::Endpoint| {
        clickhouse::Client::default()
            .with_url(&endpoint.url)
            .with_user(&endpoint.user)
            .with_password(&endpoint.secret)
    };
    let first = endpoint.borrow_and_update().clone().unwrap();
    client(&first).query("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n").execute().await.unwrap();
    client(&first).query("INSERT INTO t SELECT 7").execute().await.unwrap();
    let Phase::Running { pid } = state.borrow_and_update().phase else { panic!("it does not run") };

    kill_nine(pid);
    let patience = Duration::from_secs(30);
    let wait = |mut endpoint: tokio::sync::watch::Receiver<Option<engine::Endpoint>>, old: String| async move {
        let changed = endpoint.wait_for(|now| now.as_ref().is_some_and(|now| now.secret != old));
        tokio::time::timeout(patience, changed).await.unwrap().unwrap().clone().unwrap()
    };
    let second = wait(endpoint.clone(), first.secret.clone()).await;
    let n: u64 = client(&second).query("SELECT n FROM t").fetch_one().await.unwrap();
    assert_eq!(n, 7);
    assert_eq!((state.borrow().crashes, state.borrow().crashes_in_a_row), (1, 1));
    assert!(state.borrow().last_end.as_ref().unwrap().contains("signal: 9"));
    assert!(second.public.is_some());

    let mut last = second;
    for _ in 0..2 {
        let Phase::Running { pid } = state.borrow().phase else { panic!("it does not run") };
        kill_nine(pid);
        last = wait(endpoint.clone(), last.secret.clone()).await;
    }
    assert!(
        last.public.is_none() && state.borrow().public_suspended,
        "outside queries wait after three crashes in a row"
    );

    let Phase::Running { pid } = state.borrow_and_update().phase else { panic!("it does not run") };
    supervisor.stop().await;
    assert_eq!(state.borrow().phase, Phase::Stopped);
    assert!(gone(pid) && endpoint.borrow().is_none());
}

#[tokio::test]
async fn an_engine_that_does_not_come_up_again_does_not_hold_up_the_end() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    // The first start is the engine's; the second reads its input and says nothing.
    let program = data.path().join("engine");
    let once = data.path().join("once");
    let text =
        format!("#!/bin/sh\n[ -e {0} ] && exec cat\ntouch {0}\nexec {PROGRAM} \"$@\"\n", once.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = options(&data.path().join("data"));
    let supervisor = Supervisor::start(program, Vec::new(), options).await.unwrap();
    let mut state = supervisor.state();
    let Phase::Running { pid } = state.borrow_and_update().phase else { panic!("it does not run") };
    kill_nine(pid);
    let patience = Duration::from_secs(10);
    let starting = state.wait_for(|state| state.phase == Phase::Starting);
    tokio::time::timeout(patience, starting).await.unwrap().unwrap();
    tokio::time::timeout(patience, supervisor.stop()).await.expect("it ends");
}

#[tokio::test]
async fn a_first_start_that_fails_says_why() {
    let data = tempfile::tempdir().unwrap();
    let missing = Options::new(data.path().join("libchdb.so"), data.path());
    let error = Supervisor::start(PROGRAM.into(), Vec::new(), missing).await.unwrap_err().to_string();
    assert!(error.contains("scripts/engine-lib"), "{error}");
    let nothing =
        Supervisor::start("/no/such/program".into(), Vec::new(), Options::new(library(), data.path())).await;
    assert!(nothing.unwrap_err().to_string().contains("/no/such/program"));
}
