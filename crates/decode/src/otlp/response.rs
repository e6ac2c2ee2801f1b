//! What a sender of OTLP logs is answered.

/// `ExportLogsServiceResponse`: empty means that everything was taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportLogsServiceResponse {
    /// Present if some records were not taken as events.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportLogsPartialSuccess>,
}

/// `ExportLogsPartialSuccess`. Envoy counts the rejected as dropped and never sends them again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportLogsPartialSuccess {
    /// Records that became rejects.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// Why, for a person.
    #[prost(string, tag = "2")]
    pub error_message: String,
}
