//! The service's one configuration item.

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {}

/// Why a configuration item is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct ConfigError {
    /// Where, e.g. `routes[2].match.path_prefix`.
    pub at: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Config {
    /// Reads and checks the item.
    pub fn parse(_text: &str) -> Result<Self, ConfigError> {
        Ok(Self {})
    }

    /// Name of the log endpoint.
    pub fn log_endpoint(&self) -> &str {
        "edge-logs"
    }
}
