//! OTLP documents and messages: how many records they hold, and what the service says of them.

use decode::otlp::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::tally::Tally;

/// The reason under which OTLP's partial success is counted: it gives a number and a sentence, no reasons.
const REASON: &str = "partial_success";

/// Only what is needed to count: everything else is skipped unread.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportShape {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceShape {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeShape {
    #[prost(message, repeated, tag = "2")]
    records: Vec<RecordShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordShape {}

/// Records of a protobuf message; 0 if it is none.
pub(super) fn records_of_protobuf(message: &[u8]) -> u64 {
    let shape = ExportShape::decode(message).unwrap_or_default();
    shape.resources.iter().flat_map(|resource| &resource.scopes).map(|scope| scope.records.len() as u64).sum()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExportJson {
    resource_logs: Vec<ResourceJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceJson {
    scope_logs: Vec<ScopeJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScopeJson {
    log_records: Vec<IgnoredAny>,
}

/// Records of a JSON document; 0 if it is none.
pub(super) fn records_of_json(document: &[u8]) -> u64 {
    let shape: ExportJson = serde_json::from_slice(document).unwrap_or_default();
    let scopes = shape.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.map(|scope| scope.log_records.len() as u64).sum()
}

/// The service's answer in JSON. Protobuf's JSON writes 64-bit numbers as text; a number is taken as well.
fn of_json(body: &[u8]) -> ExportLogsServiceResponse {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = &partial["rejectedLogRecords"];
    let rejected_log_records =
        rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or_default();
    let error_message = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
    ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess { rejected_log_records, error_message }),
    }
}

/// Adds the answer to a request of `records` records.
pub(super) fn add(tally: &mut Tally, file: &str, offset: u64, records: u64, body: &[u8], is_json: bool) {
    let answer =
        if is_json { of_json(body) } else { ExportLogsServiceResponse::decode(body).unwrap_or_default() };
    let partial = answer.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_log_records).unwrap_or(0);
    // A message that is damaged as a whole counts as rejected records that nobody could count before.
    let accepted = records.saturating_sub(rejected);
    tally.accept(accepted);
    if rejected > 0 {
        tally.reject(file, offset, rejected, REASON, &partial.error_message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_in_both_encodings() {
        let records = vec![RecordShape {}; 2];
        let resource = ResourceShape { scopes: vec![ScopeShape { records }, ScopeShape::default()] };
        let message = ExportShape { resources: vec![resource.clone(), resource] }.encode_to_vec();
        assert_eq!(records_of_protobuf(&message), 4);
        assert_eq!(records_of_protobuf(b"\xff\xff"), 0);
        let json = br#"{"resourceLogs":[{"scopeLogs":[{"scope":{},"logRecords":[{"body":1},{}]}]}]}"#;
        assert_eq!(records_of_json(json), 2);
        assert_eq!(records_of_json(b"[1]"), 0);
    }

    #[test]
    fn partial_success_is_read_in_both_encodings() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "bad".to_owned() };
        let protobuf = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"bad"}}"#;
        for (body, is_json) in [(protobuf.as_slice(), false), (json, true)] {
            let mut tally = Tally::default();
            add(&mut tally, "f", 0, 5, body, is_json);
            assert_eq!((tally.records, tally.events, tally.rejected), (5, 3, 2));
        }
        let mut tally = Tally::default();
        add(&mut tally, "f", 0, 5, b"{}", true);
        assert_eq!((tally.events, tally.rejected), (5, 0));
    }
}
