//! Between Fastly Compute and the pure core: reads the request and the configuration, does what was decided, writes the line.
//!
//! A request is answered and logged exactly once on every way out, a defect of this program included: without a
//! configuration, and from the panic hook, the answer is a refusal with a correlation id.

mod answer;
mod client;
mod machine;
mod uri;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use edge::{Config, Decision, Host, LogRecord, Respond};
use fastly::{ConfigStore, Request};

use machine::Machine;

/// The store that holds the one configuration item.
const CONFIG_STORE: &str = "edge_config";
/// The item's name in it.
const CONFIG_ITEM: &str = "config";
/// Where the line goes when no configuration says otherwise.
const DEFAULT_LOG_ENDPOINT: &str = "edge-logs";
/// The header of the refusals below; the core names its own by the configuration.
const CORRELATION_HEADER: &str = "x-correlation-id";

/// Takes the client's request, answers it and logs it.
pub(crate) fn serve() {
    let mut request = Request::from_client();
    let mut machine = Machine::new(&request);
    let fallback = fallback_record(&mut machine, &request);
    refuse_on_panic(fallback.clone());

    let config = match configuration() {
        Ok(config) => config,
        Err(reason) => return refuse(fallback, &reason),
    };
    let Some(incoming) = client::incoming(&request) else {
        return respond(malformed(&fallback), fallback_as(fallback, 400, "deny", "target"));
    };
    let body = request.take_body();
    // Its headers and address are read; the handle itself is never sent on.
    drop(request);

    let decided = edge::decide(&config, &mut machine, &incoming);
    let mut record = decided.log;
    match decided.decision {
        Decision::Respond(answer) => respond(answer, record),
        Decision::Forward(forward) => {
            let started_us = machine.now_unix_us();
            record.timings.upstream_start_us = Some(started_us.saturating_sub(record.ts_us));
            match machine::send_on(&forward, &incoming, body) {
                Ok(response) => {
                    record.timings.upstream_first_byte_us =
                        Some(machine.now_unix_us().saturating_sub(record.ts_us));
                    record.status = response.get_status().as_u16();
                    let response = answer::from_origin(response, &forward);
                    record.response_bytes =
                        response.get_content_length().and_then(|bytes| u64::try_from(bytes).ok());
                    finish(response, record);
                }
                Err(failure) => {
                    let answer = forward.failure(failure.status, failure.title);
                    // The policy let it through; what failed came after, and the status says so.
                    respond(answer, record);
                }
            }
        }
    }
}

/// The configuration item, or why there is none. The store is asked once: lookups are counted by the platform.
fn configuration() -> Result<Config, String> {
    let store = ConfigStore::try_open(CONFIG_STORE)
        .map_err(|error| format!("config store {CONFIG_STORE}: {error}"))?;
    let text = store
        .try_get(CONFIG_ITEM)
        .map_err(|error| format!("item {CONFIG_ITEM} of {CONFIG_STORE}: {error}"))?
        .ok_or_else(|| format!("config store {CONFIG_STORE} has no item {CONFIG_ITEM}"))?;
    let config = Config::parse(&text);
    // Known from here on: for every line, those about panics and about an item that is not taken included.
    let endpoint = match &config {
        Ok(config) => Some(config.log_endpoint().to_owned()),
        Err(_) => Config::log_endpoint_of(&text),
    };
    if let Some(endpoint) = endpoint {
        let _ = LOG_ENDPOINT.set(endpoint);
    }
    config.map_err(|error| format!("item {CONFIG_ITEM} of {CONFIG_STORE}: {error}"))
}

/// Sends an answer made at the edge and writes its line.
fn respond(answer: Respond, mut record: LogRecord) {
    record.status = answer.status;
    record.response_bytes = u64::try_from(answer.body.len()).ok();
    finish(answer::made_here(answer), record);
}

/// The end of every request: the answer goes first, so that logging never delays it.
fn finish(response: fastly::Response, mut record: LogRecord) {
    let since = |record: &LogRecord| machine::now_unix_us().saturating_sub(record.ts_us);
    record.timings.first_byte_us = Some(since(&record));
    ANSWERED.store(true, Ordering::Relaxed);
    response.send_to_client();
    record.timings.duration_us = Some(since(&record));
    write_line(&record);
}

/// One write is one entry: a formatting macro would make an entry of every fragment.
fn write_line(record: &LogRecord) {
    LOGGED.store(true, Ordering::Relaxed);
    let endpoint = LOG_ENDPOINT.get().map_or(DEFAULT_LOG_ENDPOINT, String::as_str);
    let endpoint = fastly::log::Endpoint::try_from_name(endpoint)
        .or_else(|_| fastly::log::Endpoint::try_from_name(DEFAULT_LOG_ENDPOINT));
    if let Ok(mut endpoint) = endpoint {
        // There is nobody to tell: the log is where failures are told.
        let _ = endpoint.write_all(record.line().as_bytes());
    }
}

/// The configured endpoint, once the item was read.
static LOG_ENDPOINT: OnceLock<String> = OnceLock::new();
static ANSWERED: AtomicBool = AtomicBool::new(false);
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Fails closed without a configuration.
fn refuse(record: LogRecord, reason: &str) {
    let answer = Respond::problem(503, "not configured", &correlation_header(&record));
    let mut record = fallback_as(record, 503, "error", "configuration");
    // Where and what, for whoever installs it; the item holds no secret.
    record.verdict.reason = reason.to_owned();
    respond(answer, record);
}

/// The client's URI could not be read, so there is nothing to decide on.
fn malformed(record: &LogRecord) -> Respond {
    Respond::problem(400, "malformed request", &correlation_header(record))
}

fn correlation_header(record: &LogRecord) -> Vec<(String, String)> {
    vec![(CORRELATION_HEADER.to_owned(), record.correlation_id.clone())]
}

fn fallback_as(mut record: LogRecord, status: u16, outcome: &str, rule: &str) -> LogRecord {
    record.status = status;
    outcome.clone_into(&mut record.verdict.outcome);
    rule.clone_into(&mut record.verdict.rule);
    rule.clone_into(&mut record.verdict.reason);
    record
}

/// What can be said of a request on which nothing was decided.
fn fallback_record(machine: &mut Machine, request: &Request) -> LogRecord {
    let mut random = [0; 16];
    // Nothing answers for a panic yet. Without randomness this is the id of the line about the first one.
    let _ = getrandom::fill(&mut random);
    let id = correlation::uuid_v7(machine.now_unix_ms(), u128::from_be_bytes(random));
    LogRecord {
        v: 1,
        src: "throughline-edge",
        ts_us: machine.now_unix_us(),
        correlation_id: correlation::uuid_text(id),
        edge_request_id: machine.client_request_id(),
        service_id: machine.service_id(),
        service_version: machine.service_version(),
        pop: machine.pop(),
        method: request.get_method_str().to_owned(),
        client_ip: machine.client_ip().map(|ip| ip.to_string()).unwrap_or_default(),
        ..LogRecord::default()
    }
}

/// The platform ends a panicking program with a 500 that says nothing. This says which request it was, to the client and
/// in the log, and never what went wrong in words that a client could have chosen.
fn refuse_on_panic(record: LogRecord) {
    let record = Mutex::new(Some(record));
    std::panic::set_hook(Box::new(move |panic| {
        let Ok(Some(record)) = record.lock().map(|mut kept| kept.take()) else { return };
        let place = panic.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        if !ANSWERED.swap(true, Ordering::Relaxed) {
            answer::made_here(Respond::problem(500, "internal error", &correlation_header(&record)))
                .send_to_client();
        }
        if !LOGGED.swap(true, Ordering::Relaxed) {
            let mut record = fallback_as(record, 500, "error", "defect");
            record.verdict.reason = format!("panic at {place}");
            write_line(&record);
        }
    }));
}
