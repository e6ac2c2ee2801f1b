//! What each input brought lately, as it is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every input that brought anything in the last seven days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourcesAnswer {
    pub(crate) sources: Vec<SourceAnswer>,
}

/// One input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceAnswer {
    /// Its configured name.
    pub(crate) source: String,
    /// First receipt in the window, RFC 3339.
    pub(crate) first_received: String,
    /// Last receipt, RFC 3339.
    pub(crate) last_received: String,
    /// Events; a redelivered one counts twice.
    pub(crate) events: u64,
    /// Rejects by reason, most first.
    pub(crate) rejects: Vec<ReasonCount>,
}

/// How many rejects had a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReasonCount {
    pub(crate) reason: String,
    pub(crate) count: u64,
}
