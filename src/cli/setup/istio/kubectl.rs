//! Questions to a cluster, through the kubectl that the operator has: its credentials, its context, and never a change.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What one answer may have: objects of a mesh with thousands of namespaces take some megabytes.
const ANSWER_MOST_BYTES: u64 = 64 << 20;

/// How kubectl is called.
pub(super) struct Kubectl<'a> {
    pub(super) program: &'a Path,
    pub(super) context: Option<&'a str>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// There is no such program; no further question makes sense.
    NoProgram(String),
    /// This question was not answered.
    Unanswered(String),
}

impl Kubectl<'_> {
    /// The text that `kubectl get ARGUMENTS` writes.
    pub(super) fn get(&self, arguments: &[&str]) -> Result<String, Silence> {
        let shown = self.program.display();
        let mut command = Command::new(self.program);
        command.arg("get").args(arguments).arg("--request-timeout=20s");
        command.args(self.context.map(|context| format!("--context={context}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| Silence::NoProgram(format!("cannot run {shown}: {error}")))?;
        let stderr = child.stderr.take();
        // Read beside standard output: a pipe that nobody empties would hold kubectl up.
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.map(|from| from.take(4096).read_to_end(&mut text));
            String::from_utf8_lossy(&text).lines().last().unwrap_or_default().to_owned()
        });
        let mut answer = Vec::new();
        let read = child.stdout.take().map(|from| from.take(ANSWER_MOST_BYTES + 1).read_to_end(&mut answer));
        if answer.len() as u64 > ANSWER_MOST_BYTES {
            // It would wait for ever for somebody to read on.
            let _ = child.kill();
        }
        let status = child.wait();
        let complaint = complaint.join().unwrap_or_default();
        let what = format!("kubectl get {}", arguments.join(" "));
        let unanswered = |why: &str| Err(Silence::Unanswered(format!("{what}: {why}")));
        match (read, status) {
            _ if answer.len() as u64 > ANSWER_MOST_BYTES => unanswered("the answer has more than 64 MiB"),
            (Some(Ok(_)), Ok(status)) if status.success() => {
                String::from_utf8(answer).or_else(|_| unanswered("the answer is not UTF-8"))
            }
            (_, Ok(status)) if complaint.is_empty() => unanswered(&status.to_string()),
            (_, Ok(_)) => unanswered(&complaint),
            (_, Err(error)) => unanswered(&error.to_string()),
        }
    }

    /// The objects of a list.
    pub(super) fn list(&self, arguments: &[&str]) -> Result<Vec<Value>, Silence> {
        let text = self.get(&[arguments, &["-o", "json"]].concat())?;
        let failed = || {
            Silence::Unanswered(format!(
                "kubectl get {}: the answer is no list of objects",
                arguments.join(" ")
            ))
        };
        let mut list: Value = serde_json::from_str(&text).map_err(|_| failed())?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(failed()),
        }
    }
}
