//! What a check says: how bad, what, where, and what to do about it.

use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Looked at and well.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Somebody should act.
    Problem,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One thing that a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The group that found it.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What, and where.
    pub(super) what: String,
    /// What to do; empty where nothing is to be done.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), advice: String::new() }
    }

    pub(super) fn note(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Note, what: what.into(), advice: advice.into() }
    }

    pub(super) fn problem(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, what: what.into(), advice: advice.into() }
    }
}

/// All findings, in the order in which data flow.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    /// The window of the books, RFC 3339; absent where the store could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// Whether there is no problem.
    pub(super) well: bool,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(url: &str, window: Option<(String, String)>, findings: Vec<Finding>) -> Self {
        let (since, until) = window.unzip();
        let well = findings.iter().all(|finding| finding.level != Level::Problem);
        Self { url: url.to_owned(), since, until, well, findings }
    }
}

/// Whether `part` is at least one in `one_in` of `whole`.
pub(super) fn is_share(part: u64, whole: u64, one_in: u64) -> bool {
    part > 0 && part.saturating_mul(one_in) >= whole
}

/// `3.2%`; of nothing, nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0%".to_owned() } else { format!("{:.1}%", 100.0 * part as f64 / whole as f64) }
}
