//! OTLP logs, as protobuf and as JSON: Envoy's OpenTelemetry access logger in both of Istio's shapes, and the access
//! logs of applications.
//!
//! | shape | becomes |
//! |---|---|
//! | body is an Envoy TEXT or JSON line (Istio's default; the resource is empty) | `envoy-otlp-text`, `envoy-otlp-json` |
//! | attributes are labels of the user's choice or operators, with or without Envoy's built-in ones | `envoy-otlp-labels` |
//! | HTTP attributes by semantic conventions, or at least a trace or request id | `otlp-log`, hop `service` |
//! | anything else | a reject |
//!
//! Envoy does not make these strings valid UTF-8, so a strict decoder loses a whole batch to one hostile user agent:
//! text is read as bytes here. Not kept: severity, scope, dropped counts.

mod json;
mod protobuf;
mod record;
mod response;

pub use json::decode_json;
pub use protobuf::decode_protobuf;
pub use response::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
