//! One record of the traffic: everything in it follows from the seed and its number, so that the oracle remembers only
//! how often it was sent and acknowledged.

use std::fmt::Write as _;

use serde_json::json;
use store::query::AuditContent;

use super::lane::Lane;
use super::rng::{Rng, hash};
use super::wire::Message;

/// What paths of our records begin with.
pub(super) const PATH: &str = "/v/";
/// Records of one lane lie so far apart, by the clock that they claim.
const STEP_MS: u64 = 3;

/// What all records of a run share.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Origin {
    pub(super) seed: u64,
    /// Start of the first record, unix milliseconds: retention goes by days, so it must be about now.
    pub(super) start_ms: u64,
}

/// A record's own number: its lane, and the how manieth of the lane it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(u64);

impl Number {
    pub(super) fn new(lane: Lane, nth: u64) -> Self {
        Self((lane as u64) << 48 | nth)
    }

    pub(super) fn lane(self) -> Option<Lane> {
        Lane::ALL.get((self.0 >> 48) as usize).copied()
    }

    pub(super) fn nth(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// How the path of this record, and of none with another number, begins.
    pub(super) fn path_prefix(self) -> String {
        format!("{PATH}{:016x}/", self.0)
    }

    /// The number in a path, if it is one of ours.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let digits = path.strip_prefix(PATH)?.get(..16)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.lane() {
            Some(lane) => write!(out, "{} #{}", lane.name(), self.nth()),
            None => write!(out, "{:016x}", self.0),
        }
    }
}

/// A record with its content.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: Number,
    lane: Lane,
    id: u128,
    start_ms: u64,
    user_agent: String,
    status: u16,
    response_bytes: u64,
    checksum: u64,
}

impl Entry {
    pub(super) fn new(origin: Origin, lane: Lane, nth: u64) -> Self {
        let number = Number::new(lane, nth);
        let mut rng = Rng::stream(origin.seed, [number.0, 1]);
        let words = rng.between(1, 24);
        let mut user_agent = "verify".to_owned();
        for _ in 0..words {
            // Never fails: it writes to a string.
            let _ = write!(user_agent, " w{}", rng.between(0, 100_000));
        }
        let status = [200, 200, 200, 204, 301, 404, 500, 503][rng.between(0, 8) as usize];
        let response_bytes = rng.between(0, 1 << 20);
        let start_ms = origin.start_ms + nth * STEP_MS;
        // A UUID of version 4: of request ids of other forms the 13th digit is masked.
        let id = (u128::from(rng.bits() & !0xf000 | 0x4000) << 64) | u128::from(number.0 | 1 << 63);
        let texts = xxhash_rust::xxh3::xxh3_64(user_agent.as_bytes());
        let checksum =
            hash(origin.seed, &[number.0, texts, u64::from(status), response_bytes, start_ms, id as u64]);
        Self { number, lane, id, start_ms, user_agent, status, response_bytes, checksum }
    }

    /// The path that must be stored.
    pub(super) fn path(&self) -> String {
        format!("{}{:016x}", self.number.path_prefix(), self.checksum)
    }

    /// What must be stored beside it.
    pub(super) fn content(&self) -> AuditContent {
        let correlation = if self.lane.has_correlation_id() { self.id } else { 0 };
        let request = if self.lane.has_request_id() { self.id } else { 0 };
        (
            self.lane.host().to_owned(),
            self.user_agent.clone(),
            self.status,
            self.response_bytes,
            self.start_ms as i64 * 1_000_000,
            format!("{correlation:032x}"),
            format!("{request:032x}"),
        )
    }

    /// The id by which it is looked up.
    pub(super) fn id_text(&self) -> String {
        self.uuid()
    }

    fn uuid(&self) -> String {
        uuid::Uuid::from_u128(self.id).to_string()
    }

    /// A line of our VCL format.
    pub(super) fn vcl_line(&self) -> String {
        let line = json!({
            "v": 1, "src": "fastly-vcl", "ts_us": self.start_ms * 1000, "elapsed_us": 1500, "edge": true, "visits": 0,
            "restarts": 0, "correlation_id": format!("{:032x}", self.id), "method": "GET", "host": self.lane.host(),
            "url": self.path(), "status": self.status, "pop": "FRA", "resp_bytes": self.response_bytes,
            "ua": self.user_agent,
        });
        format!("{line}\n")
    }

    /// The labels of Istio's JSON line, and of an OTLP record.
    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authority", self.lane.host().to_owned()),
            ("method", "GET".to_owned()),
            ("path", self.path()),
            ("protocol", "HTTP/1.1".to_owned()),
            ("response_code", self.status.to_string()),
            ("response_flags", "-".to_owned()),
            ("duration", "2".to_owned()),
            ("bytes_sent", self.response_bytes.to_string()),
            ("upstream_cluster", "outbound|80||app.verify.svc.cluster.local".to_owned()),
            ("user_agent", self.user_agent.clone()),
            ("request_id", self.uuid()),
            ("x_correlation_id", self.uuid()),
        ]
    }

    /// Istio's JSON line with ids.
    pub(super) fn json_line(&self) -> String {
        let labels = self.labels().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let mut line: serde_json::Map<String, serde_json::Value> = labels.collect();
        line.insert("start_time".to_owned(), self.start_text().into());
        format!("{}\n", serde_json::Value::Object(line))
    }

    /// Istio's TEXT line, which has no correlation id.
    pub(super) fn text_line(&self) -> String {
        format!(
            "[{}] \"GET {} HTTP/1.1\" {} - via_upstream - \"-\" 0 {} 2 1 \"192.0.2.7\" \"{}\" \"{}\" \"{}\" \
             \"10.0.0.1:80\" outbound|80||app.verify.svc.cluster.local 10.0.0.2:4000 10.0.0.2:80 192.0.2.7:5000 - default\n",
            self.start_text(),
            self.path(),
            self.status,
            self.response_bytes,
            self.user_agent,
            self.uuid(),
            self.lane.host(),
        )
    }

    fn start_text(&self) -> String {
        let start = jiff::Timestamp::from_millisecond(self.start_ms as i64).unwrap_or_default();
        format!("{start:.3}")
    }

    /// An OTLP log record as protobuf.
    pub(super) fn otlp_record(&self) -> Message {
        let record = Message::default().fixed64(1, self.start_ms * 1_000_000);
        self.labels().iter().fold(record, |record, (name, value)| {
            let value = Message::default().text(1, value);
            record.message(6, &Message::default().text(1, name).message(2, &value))
        })
    }

    /// An OTLP log record as JSON.
    pub(super) fn otlp_json(&self) -> serde_json::Value {
        let labels = self.labels();
        let attributes: Vec<_> = labels
            .iter()
            .map(|(name, value)| json!({"key": name, "value": {"stringValue": value}}))
            .collect();
        json!({"timeUnixNano": (self.start_ms * 1_000_000).to_string(), "attributes": attributes})
    }

    /// An entry of an ALS message.
    pub(super) fn als_entry(&self) -> Message {
        const GET: u64 = 1;
        const HTTP_1_1: u64 = 2;
        const DOWNSTREAM_END: u64 = 6;
        let message = Message::default;
        let time = |ns: u64| message().number(1, ns / 1_000_000_000).number(2, ns % 1_000_000_000);
        let common = message()
            .message(5, &time(self.start_ms * 1_000_000))
            .text(15, "outbound|80||app.verify.svc.cluster.local")
            .message(23, &time(2_000_000))
            .text(26, &self.uuid())
            .number(33, DOWNSTREAM_END);
        let correlation = message().text(1, "x-correlation-id").text(2, &self.uuid());
        let request = message()
            .number(1, GET)
            .text(2, "http")
            .text(3, self.lane.host())
            .text(5, &self.path())
            .text(6, &self.user_agent)
            .text(9, &self.uuid())
            .message(13, &correlation);
        let status = message().number(1, u64::from(self.status));
        let response = message().message(1, &status).number(3, self.response_bytes);
        message().message(1, &common).number(2, HTTP_1_1).message(3, &request).message(4, &response)
    }
}
