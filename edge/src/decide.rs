//! The decision on one request.

use crate::config::Config;
use crate::decision::{Decided, Decision, Respond};
use crate::host::Host;
use crate::log::LogRecord;
use crate::request::IncomingRequest;

/// Decides on one request. Never panics; whatever fails is a refusal.
pub fn decide(_config: &Config, _host: &mut impl Host, _request: &IncomingRequest) -> Decided {
    Decided { decision: Decision::Respond(Respond::problem(503, "not ready", &[])), log: LogRecord::default() }
}
