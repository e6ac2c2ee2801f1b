//! A process that ends when it is dropped, and when this process ends, however that ends.
//!
//! A shell stands between: it ends the program when its own input ends, which it does with us, `kill -9` included. Both
//! are a process group of their own, so that Ctrl-C in a terminal reaches only us and the end goes in order.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Waits for the program and takes over its status; beside that, ends it when the input ends.
const UNTIL_INPUT_ENDS: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & pid=$!
{ read -r _ <&3; kill "$pid"; } 2>/dev/null & watch=$!
exec 3<&-
wait "$pid"; status=$?
kill "$watch" 2>/dev/null
exit "$status""#;
/// A service drains for some seconds when it is told to end; whoever takes longer hangs.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Lines that a program has printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Printed(Arc<Mutex<Vec<String>>>);

impl Printed {
    fn collect(&self, from: impl Read + Send + 'static) {
        let printed = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                printed.lines().push(line);
            }
        });
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them as one text.
    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// A running program; told to end (SIGTERM) when dropped, and waited for.
#[derive(Debug)]
pub(crate) struct Tied {
    shell: Child,
}

impl Tied {
    /// Starts a program whose output can be taken where `piped`, and goes nowhere else.
    pub(crate) fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        piped: bool,
    ) -> anyhow::Result<Self> {
        let output = || if piped { Stdio::piped() } else { Stdio::null() };
        let name = program.file_name().unwrap_or(program.as_os_str());
        let shell = Command::new("sh")
            .args(["-c", UNTIL_INPUT_ENDS])
            .arg(name)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output())
            .stderr(output())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { shell })
    }

    /// What it prints from now on, on both ways out; nothing more the second time.
    pub(crate) fn printed(&mut self) -> Printed {
        let printed = Printed::default();
        self.shell.stdout.take().into_iter().for_each(|stdout| printed.collect(stdout));
        self.shell.stderr.take().into_iter().for_each(|stderr| printed.collect(stderr));
        printed
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.shell.try_wait().context("look at a child process")
    }

    /// The shell, whose child is the program.
    pub(crate) fn id(&self) -> u32 {
        self.shell.id()
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let deadline = Instant::now() + END_LIMIT;
        while let Ok(None) = self.shell.try_wait() {
            if Instant::now() >= deadline {
                // The whole group, which is ours alone.
                let group = format!("-{}", self.shell.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                let _ = self.shell.wait();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tied {
        Tied::start(Path::new("/bin/sh"), ["-c", script], false).unwrap()
    }

    #[test]
    fn an_end_is_seen_with_its_status() {
        let mut child = shell("exit 7");
        let deadline = Instant::now() + END_LIMIT;
        let status = loop {
            if let Some(status) = child.ended().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the end was not seen");
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_dropped_program_ends_and_has_had_time_to() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (up, down) = (file("up"), file("down"));
        let script =
            format!("trap 'echo down >{down}; exit' TERM; echo up >{up}; while :; do sleep 0.05; done");
        let child = shell(&script);
        let deadline = Instant::now() + END_LIMIT;
        while !Path::new(&up).exists() {
            assert!(Instant::now() < deadline, "it did not start");
            thread::sleep(Duration::from_millis(5));
        }
        drop(child);
        assert!(Path::new(&down).exists(), "it was not told to end, or not waited for");
    }
}
