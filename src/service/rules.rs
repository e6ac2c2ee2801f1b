//! What decoders go by, read once from configuration: redaction, Fastly's presets, Envoy's formats.

use anyhow::Context as _;
use decode::fastly::Presets;
use decode::redact::RedactionRules;
use decode::{Redactor, Rules};

use super::first_start::subject_key;
use crate::config::Settings;

/// The rules of all deliveries.
pub(super) fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let redaction = &settings.redaction;
    let key_file = redaction.key_file.clone().unwrap_or_else(|| settings.data_dir.join("subject.key"));
    let redactor = Redactor::new(&RedactionRules {
        subject_key: subject_key(&key_file)?,
        extra_names: redaction.extra_names.clone(),
        allow_names: redaction.allow_names.clone(),
    });
    let mut envoy = decode::envoy::Formats::istio_defaults();
    for format in &settings.envoy_formats {
        envoy = envoy.with_user(format).with_context(|| format!("envoy format string {format:?}"))?;
    }
    Ok(Rules { redactor, fastly: presets(settings)?, envoy })
}

/// The user's presets come before the built-in ones; a preset that a source names must exist.
fn presets(settings: &Settings) -> anyhow::Result<Presets> {
    let mut presets = Presets::built_in().context("read the built-in presets")?;
    for path in &settings.fastly_presets {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read the preset {}", path.display()))?;
        presets = presets.and_user(&text).with_context(|| format!("preset {}", path.display()))?;
    }
    for source in settings.sources.iter().filter(|source| !source.preset.is_empty()) {
        presets.find(&source.preset).with_context(|| format!("source `{}`", source.name))?;
    }
    Ok(presets)
}
