//! Envoy.

/// Format strings.
#[derive(Debug, Clone, Default)]
pub struct Formats {}
