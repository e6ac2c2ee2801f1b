//! A real headless Chromium, driven by its DevTools protocol over a pipe: no port, no driver in between, and a profile
//! of its own that goes with it. What it should not do (scripts, dialogs, requests elsewhere) it tells by events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// Longest wait for one answer; a page is there within a tenth of a second on an idle core.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser with one tab; ended when dropped.
pub(super) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    /// Everything that it told since the last [`Browser::taken`].
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(super) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        // The shell puts the protocol's two pipes where the browser looks for them.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null", "chromium"])
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args([
                "--disable-sync",
                "--disable-default-apps",
                "--disable-extensions",
                "--hide-scrollbars",
                &data,
            ])
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start sh");
        let out = child.stdout.take().unwrap();
        let (tell, messages) = sync_channel(10_000);
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the protocol is JSON");
                if tell.send(message).is_err() {
                    break;
                }
            }
        });
        let commands = child.stdin.take();
        let mut browser = Self {
            child,
            commands,
            messages,
            session: String::new(),
            next: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let tab = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network", "Audits", "DOM"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// One command and its result.
    pub(super) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut command = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = Value::from(self.session.as_str());
        }
        let mut bytes = serde_json::to_vec(&command).unwrap();
        bytes.push(0);
        let to = self.commands.as_mut().unwrap();
        to.write_all(&bytes).expect("the browser runs: scripts/setup-tests installs Debian's chromium");
        to.flush().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|error| {
                panic!("{method}: {error}; scripts/setup-tests installs the browser, Debian's chromium")
            });
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.told(message);
        }
    }

    fn told(&mut self, message: Value) {
        // A dialog would stop everything; that there was one is seen by its event.
        let is_dialog = message["method"] == "Page.javascriptDialogOpening";
        self.events.push(message);
        if is_dialog {
            self.call("Page.handleJavaScriptDialog", json!({ "accept": false }));
        }
    }

    /// Goes to a page, and waits until it is loaded.
    pub(super) fn open(&mut self, url: &str) {
        let before = self.events.len();
        let went = self.call("Page.navigate", json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {went}");
        // Only the fragment changed: nothing is loaded.
        if !went["loaderId"].is_null() {
            self.wait_loaded(before);
        }
    }

    /// Waits until a page that is on its way is loaded.
    pub(super) fn wait_loaded(&mut self, before: usize) {
        let deadline = Instant::now() + PATIENCE;
        while !self.events[before..].iter().any(|event| event["method"] == "Page.loadEventFired") {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).expect("the page loads");
            self.told(message);
        }
    }

    /// How many events there were.
    pub(super) fn told_so_far(&self) -> usize {
        self.events.len()
    }

    /// What an expression is in the page.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Presses and releases a key, as a keyboard would.
    pub(super) fn key(&mut self, key: &str) {
        let (text, code, number) = match key {
            "Enter" => ("\r", "Enter", 13),
            "Escape" => ("", "Escape", 27),
            "Tab" => ("", "Tab", 9),
            "ArrowDown" => ("", "ArrowDown", 40),
            "ArrowUp" => ("", "ArrowUp", 38),
            "/" => ("/", "Slash", 191),
            "j" => ("j", "KeyJ", 74),
            "k" => ("k", "KeyK", 75),
            other => panic!("no such key here: {other}"),
        };
        let event = |kind: &str, text: &str| json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "text": text });
        self.call("Input.dispatchKeyEvent", event("keyDown", text));
        self.call("Input.dispatchKeyEvent", event("keyUp", ""));
    }

    /// Screen and colours from here on.
    pub(super) fn screen(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Whether scripts of pages run from here on.
    pub(super) fn scripts(&mut self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    /// The page as a picture: from its top, at most so high.
    pub(super) fn shoot(&mut self, path: &Path, highest: u64) {
        let metrics = self.call("Page.getLayoutMetrics", json!({}));
        let of = |name: &str| metrics["cssContentSize"][name].as_f64().unwrap();
        let (width, height) = (of("width"), of("height").min(highest as f64));
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let parameters = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let shot = self.call("Page.captureScreenshot", parameters);
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Everything that pages did and should not have done: a sentence each. `home` is where requests may go.
    pub(super) fn misdeeds(&mut self, home: &str) -> Vec<String> {
        // Whatever is on its way has been told when a later question is answered.
        self.eval("1");
        let mut found = Vec::new();
        for event in std::mem::take(&mut self.events) {
            let parameters = &event["params"];
            let url = parameters["request"]["url"].as_str().unwrap_or_default();
            let what = match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" if url.starts_with(home) || url == "about:blank" => continue,
                "Network.requestWillBeSent" => format!("a request to {url}"),
                "Page.javascriptDialogOpening" => format!("a dialog: {parameters}"),
                "Runtime.exceptionThrown" => format!("an exception: {parameters}"),
                "Runtime.consoleAPICalled" => format!("a line in the console: {parameters}"),
                // An answer that is an error by its status, such as "not found", is no misdeed of the page.
                "Log.entryAdded" if parameters["entry"]["source"] == "network" => continue,
                // Advice on forms.
                "Log.entryAdded" if parameters["entry"]["level"] == "verbose" => continue,
                "Log.entryAdded" => format!("an entry of the log: {}", parameters["entry"]),
                // Advice on speed.
                "Audits.issueAdded" if parameters["issue"]["code"] == "PerformanceIssue" => continue,
                "Audits.issueAdded" => format!("an issue: {}", parameters["issue"]),
                "Page.windowOpen" | "Page.frameAttached" => format!("a window or frame: {parameters}"),
                _ => continue,
            };
            found.push(what);
        }
        found
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when its pipe does; what does not is ended, and was the only process that was started here.
        drop(self.commands.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
