//! What `setup istio` and `setup envoy` share: releases, the way that records take, the ids, and what logging costs.

pub(super) mod labels;
pub(super) mod yaml;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::render::safe;

/// Where the id filter for Istio is written down, comments and all; what is printed is made from it.
const ID_FILTER: &str = include_str!("../../../deploy/istio/envoy-filter-ids.yaml");

/// Headers that Throughline takes for the correlation id whatever way they come.
const CORRELATION_HEADERS: [&str; 2] = ["x-correlation-id", "correlation-id"];

/// A minor release of Envoy or Istio, `1.N`: patches change no field and no operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub(super) u16);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl FromStr for Release {
    type Err = String;

    /// `1.28`, `1.28.3`, `v1.28`, `1.28-alpha.0`, `1.28.3-distroless`.
    fn from_str(text: &str) -> Result<Self, String> {
        let no_release = || format!("{text:?} is no release such as 1.28");
        let rest = text.trim_start_matches('v').strip_prefix("1.").ok_or_else(no_release)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if !matches!(rest.as_bytes().get(end), None | Some(b'.' | b'-' | b'_')) {
            return Err(no_release());
        }
        rest[..end].parse().map(Release).map_err(|_| no_release())
    }
}

/// The oldest Envoy that the formats are written for.
pub(super) const OLDEST_ENVOY: Release = Release(30);
/// The Envoy that the tests run.
pub(super) const TRIED_ENVOY: Release = Release(40);

/// The Envoy inside a release of Istio. Istio's own table says 1.16 to 1.18 hold Envoy 1.24 to 1.26, and that the two go one to
/// one. What really runs, a proxy says in the identifier of its ALS stream.
pub(super) fn envoy_in(istio: Release) -> Release {
    Release(istio.0 + (OLDEST_ENVOY.0 - OLDEST_ISTIO.0))
}

/// The first Istio with `telemetry.istio.io/v1`.
pub(super) const OLDEST_ISTIO: Release = Release(22);
/// The newest Istio whose source was read for this.
pub(super) const NEWEST_ISTIO: Release = Release(31);

/// `HOST:PORT` of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("is no HOST:PORT, such as logs.example.com:4317")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        if !is_host {
            return Err(format!("{host:?} is no host name and no address"));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self { host: host.to_owned(), port }),
            _ => Err(format!("{port:?} is no port")),
        }
    }
}

/// The header in which the correlation id comes, in lower case as Envoy has it.
pub(super) fn header(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { Ok(text.to_ascii_lowercase()) } else { Err(format!("{text:?} is no header name")) }
}

/// Over ALS a header arrives under its own name, so it must be one that is read as the correlation id.
pub(super) fn check_als_header(header: &str) -> anyhow::Result<()> {
    if CORRELATION_HEADERS.contains(&header) {
        return Ok(());
    }
    bail!(
        "--correlation-header {header}: ALS sends headers under their own names, and only {} are read as the \
         correlation id; use another --via, where the name is given by a label",
        CORRELATION_HEADERS.join(" and ")
    )
}

/// Request headers that ALS is asked for: what joins the hops, and what tells retries apart. The rest is in every record.
pub(super) fn request_headers(correlation: &str) -> [&str; 3] {
    [correlation, "traceparent", "x-envoy-attempt-count"]
}

/// Response headers; an error of gRPC without a body has its status here and not in the trailers.
pub(super) fn response_headers(correlation: &str) -> [&str; 2] {
    [correlation, "grpc-status"]
}

/// Response trailers.
pub(super) const RESPONSE_TRAILERS: [&str; 1] = ["grpc-status"];

/// The EnvoyFilter that keeps ids, as `deploy/istio` has it.
pub(super) fn id_filter() -> anyhow::Result<Value> {
    serde_yaml_ng::from_str(ID_FILTER).context("the id filter inside this binary")
}

/// The settings of a connection manager that keep ids, as a gateway gets them.
pub(super) fn id_settings() -> anyhow::Result<Value> {
    let filter = id_filter()?;
    let patches = filter["spec"]["configPatches"].as_array().context("the id filter has no patches")?;
    let gateway = patches.iter().find(|patch| patch["match"]["context"] == "GATEWAY");
    let mut settings =
        gateway.context("the id filter has no gateway")?["patch"]["value"]["typed_config"].clone();
    settings.as_object_mut().context("the id filter sets nothing")?.remove("@type");
    Ok(settings)
}

/// The ways that records take into the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Als,
    Otlp,
    Lines,
}

/// What the way costs in the data path, as sentences. Measured with Envoy 1.40, one worker, answers of its own and nothing
/// else to do, so that logging shows: 57,000 requests per second of its CPU without logs, 43,000 with ALS, 41,000 with OTLP,
/// 51,000 with Istio's line to a file.
pub(super) fn costs(way: Way) -> Vec<&'static str> {
    let mut costs = vec![
        "no request waits for its record: Envoy hands it to a buffer, and when that is full it drops records, not requests",
    ];
    costs.extend(match way {
        Way::Als => [
            "CPU: some 6 us a request and hop (one core answered 43,000 requests a second instead of 57,000)",
            "memory: 16 KiB or 1 s of records per worker; while the service takes the connection and reads nothing, up to 15 MB",
            "while the service refuses connections, what is flushed is lost, and Envoy counts it as written (access_logs.grpc_access_log.logs_written); \
             logs_dropped counts only what its buffer had no room for. Records of Envoy and of the service differ then: `throughline doctor` compares them (`stats` of a source)",
            "network: one stream per worker and logger, and some 70 KB about Envoy itself whenever one opens",
        ],
        Way::Otlp => [
            "CPU: some 7 us a request and hop (one core answered 41,000 requests a second instead of 57,000)",
            "memory: 16 KiB or 1 s of records per worker; while the service takes requests and does not answer, up to 1,024 of them",
            "a delivery that fails is not sent again: its records are lost, counted in access_logs.open_telemetry_access_log.logs_dropped",
            "one header that is no UTF-8 makes the whole delivery invalid protobuf; this service reads it all the same, a collector in between may not",
        ],
        Way::Lines => [
            "CPU: some 2 us a request and hop (one core answered 51,000 requests a second instead of 57,000), and what reads the lines",
            "disk: some 1 KB a request and hop, until the container runtime rotates the file",
            "lines are written every 10 s or 64 KB, unless Envoy runs with --file-flush-interval-msec",
            "what follows the files must see them before they are rotated away: throughline with a `file` source on each node, or a collector",
        ],
    });
    costs
}

/// Lines of talk for the operator, each with what it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Talk(pub(super) Vec<(Tone, String)>);

/// What a line of talk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Looked at, and good.
    Fine,
    /// To be done by the operator.
    Need,
    /// Works, and is seldom meant.
    Warn,
    /// Could not be looked at.
    Skip,
    /// What it costs.
    Cost,
}

impl Talk {
    pub(super) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.0.push((tone, text.into()));
    }

    /// Writes it down, safe for a terminal: much of it was read from a cluster.
    pub(super) fn write(&self, to: &mut impl std::io::Write) -> std::io::Result<()> {
        for (tone, text) in &self.0 {
            let word = match tone {
                Tone::Fine => "ok   ",
                Tone::Need => "need ",
                Tone::Warn => "warn ",
                Tone::Skip => "skip ",
                Tone::Cost => "cost ",
            };
            writeln!(to, "{word} {}", safe(text))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_in_every_form_that_images_and_people_use() {
        for (text, minor) in
            [("1.28", 28), ("v1.28", 28), ("1.28.3", 28), ("1.30-alpha.a1b2", 30), ("1.24.6-distroless", 24)]
        {
            assert_eq!(text.parse::<Release>().unwrap(), Release(minor), "{text}");
        }
        for text in ["", "2.1", "1", "1.", "1.x", "1.28x", "latest", "1.99999"] {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
        assert_eq!(envoy_in(Release(28)), Release(36));
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!("[::1]:4317".parse::<Address>().unwrap(), Address { host: "::1".to_owned(), port: 4317 });
        for text in ["throughline", "throughline:", "throughline:0", ":4317", "a b:1", "a:70000"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_ids_are_kept_by_the_settings_of_the_filter_for_istio() {
        let settings = id_settings().unwrap();
        assert_eq!(settings["preserve_external_request_id"], true);
        assert_eq!(settings["request_id_extension"]["typed_config"]["pack_trace_reason"], false);
        assert!(settings.get("@type").is_none());
    }
}
