//! What a scenario hands out: bytes, and the truth about them.

use std::collections::BTreeMap;

use decode::Origin;
use event::{Direction, Hop};

/// One workload with its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: &'static str,
    /// All that the service would receive, in the order of receipt.
    pub deliveries: Vec<Delivery>,
    /// Every hop's view of every request by its tag, lost or not.
    pub records: BTreeMap<u32, TrueRecord>,
    /// True requests, forged ones included.
    pub requests: usize,
    /// What a correct join owes here.
    pub promise: Promise,
}

/// Which decoder a delivery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// Fastly's lines.
    FastlyLines,
    /// Envoy's TEXT lines.
    IstioText,
    /// Envoy's JSON lines.
    IstioJson,
    /// One ALS message, with its identifier: every delivery stands for itself.
    Als,
    /// One OTLP `ExportLogsServiceRequest` as protobuf.
    OtlpLogs,
}

impl Wire {
    /// The word for it in a source's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastlyLines => "fastly",
            Self::IstioText => "istio-text",
            Self::IstioJson => "istio-json",
            Self::Als => "als",
            Self::OtlpLogs => "otlp",
        }
    }
}

/// The bytes of one delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Which decoder reads it.
    pub format: Wire,
    /// What the configuration of the source says of its records.
    pub origin: Origin,
    /// As sent, not compressed.
    pub body: Vec<u8>,
    /// When it came in, unix nanoseconds on the receiver's clock.
    pub received_ns: i64,
    /// Unique per delivery; a redelivery has its own.
    pub id: u128,
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        let key = |one: &Self| (one.format, one.received_ns, one.id, one.origin.node.clone());
        key(self) == key(other) && self.body == other.body
    }
}

/// One hop's view of one request, as it really was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueRecord {
    /// Number of the true request.
    pub request: u32,
    /// Tag of the view that this one was called by, lost or not; `None` for the first of a request.
    pub parent: Option<u32>,
    /// Where, in truth: a record may not say it.
    pub hop: Hop,
    /// Which way, in truth.
    pub direction: Direction,
    /// Who wrote it: cache server or Envoy node id.
    pub server: String,
    /// Start by a perfect clock, unix nanoseconds.
    pub start_ns: i64,
    /// End by a perfect clock, unix nanoseconds.
    pub end_ns: i64,
    /// Whether no record of it is in any delivery.
    pub lost: bool,
    /// Whether someone gave up waiting for it: such a view may end after the one that called it.
    pub cancelled: bool,
    /// Records of it in the deliveries: more than one for redeliveries, second transports and periodic records.
    pub copies: u32,
}

/// What a correct join owes. That no two true requests are ever merged, every scenario asks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Promise {
    /// Least share of requests joined completely; `None` where the records do not hold enough to ask for it.
    pub joined: Option<f64>,
    /// Least share of the links called certain that are right.
    pub certain_right: Option<f64>,
}
