//! One line for Throughline about each request of a Fastly Compute service; its keys are those of the preset `throughline-vcl`.
//! Crates: fastly, serde_json, uuid (feature "v7").

use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fastly::http::StatusCode;
use fastly::log::Endpoint;
use fastly::{Error, Request, Response};

/// Name of the log endpoint. Fastly takes lines for a name that it does not know, and drops them without a word.
const ENDPOINT: &str = "throughline";
const BACKEND: &str = "origin";
/// Longest path and user agent that are logged; Fastly refuses a line over 64 KiB.
const TEXT_MOST_CHARS: usize = 2000;

fn main() -> Result<(), Error> {
    let start = (SystemTime::now(), Instant::now());
    let mut request = Request::from_client();
    // What clients say counts for nothing: the id is minted here, once.
    let id = uuid::Uuid::now_v7().to_string();
    request.set_header("x-correlation-id", &id);
    request.set_header("x-request-id", &id);
    let told = told(&request);

    let fetch_start_us = micros(&start.1);
    let mut response = match request.send(BACKEND) {
        Ok(response) => response,
        Err(_) => Response::from_status(StatusCode::BAD_GATEWAY),
    };
    let fetch_us = micros(&start.1) - fetch_start_us;
    response.set_header("x-correlation-id", &id);
    let status = response.get_status().as_u16();
    // The body is sent first: the line then knows how long that took.
    response.send_to_client();

    let mut line = told;
    line["v"] = 1.into();
    line["src"] = "fastly-compute".into();
    line["edge"] = true.into();
    line["correlation_id"] = id.clone().into();
    line["request_id"] = id.into();
    line["ts_us"] = u64::try_from(start.0.duration_since(UNIX_EPOCH)?.as_micros())?.into();
    line["elapsed_us"] = micros(&start.1).into();
    line["status"] = status.into();
    line["backend"] = BACKEND.into();
    line["o_start_us"] = fetch_start_us.into();
    line["o_ttfb_us"] = fetch_us.into();
    // One write is one log event: `writeln!` to the endpoint would make one of each piece.
    let line = format!("{line}\n");
    Endpoint::from_name(ENDPOINT).write_all(line.as_bytes())?;
    Ok(())
}

/// What the line says of the request and of where it is; paths without their queries, which hold codes and tokens.
fn told(request: &Request) -> serde_json::Value {
    let cut = |text: &str| text.chars().take(TEXT_MOST_CHARS).collect::<String>();
    let header = |name: &str| request.get_header_str(name).map(cut);
    let variable = |name: &str| std::env::var(name).ok();
    serde_json::json!({
        "service_id": variable("FASTLY_SERVICE_ID"),
        "service_version": variable("FASTLY_SERVICE_VERSION"),
        "pop": variable("FASTLY_POP"),
        "server": variable("FASTLY_HOSTNAME"),
        "method": request.get_method_str(),
        "host": request.get_url().host_str(),
        "url": cut(request.get_path()),
        "client_ip": request.get_client_ip_addr().map(|address| address.to_string()),
        "tls": request.get_tls_protocol().ok().flatten(),
        "ua": header("user-agent"),
    })
}

fn micros(start: &Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
