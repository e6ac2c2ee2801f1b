//! Fastly.

/// Presets.
#[derive(Debug, Clone, Default)]
pub struct Presets {}
