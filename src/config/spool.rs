//! The spool's part of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spool::WhenFull;

use super::{ConfigError, Written, values};

/// Two batches of a large delivery (`accept::sink`), or one and the largest record.
const LEAST_SEGMENT_BYTES: u64 = 8 << 20;

/// How the spool seals, how large it may grow, and what happens then.
#[derive(Debug, Clone)]
pub(crate) struct SpoolSettings {
    pub(crate) max_bytes: u64,
    pub(crate) when_full: WhenFull,
    pub(crate) min_free_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    /// Data directories of other instances.
    pub(crate) adopt: Vec<PathBuf>,
}

impl SpoolSettings {
    pub(super) fn from_written(written: &Written, data_dir: &Path) -> Result<Self, ConfigError> {
        let settings = Self {
            max_bytes: written.bytes("spool.max_bytes")?,
            when_full: written.parse("spool.when_full", "`refuse` or `drop_oldest`", |text| match text {
                "refuse" => Some(WhenFull::Refuse),
                "drop_oldest" => Some(WhenFull::DropOldest),
                _ => None,
            })?,
            min_free_bytes: written.bytes("spool.min_free")?,
            segment_bytes: written.bytes("spool.segment_bytes")?,
            segment_age: written.duration("spool.segment_age")?,
            adopt: values::words(written.text("spool.adopt")).into_iter().map(PathBuf::from).collect(),
        };
        settings.check(data_dir)?;
        Ok(settings)
    }

    /// A batch lies within one segment. One that fits none would be refused for ever, and its sender would come for ever.
    fn check(&self, data_dir: &Path) -> Result<(), ConfigError> {
        let Self { segment_bytes, max_bytes, .. } = self;
        let own = [data_dir.to_owned(), data_dir.join("spool")];
        if let Some(path) = self.adopt.iter().find(|path| own.contains(path)) {
            return Err(ConfigError::Rule(format!(
                "`spool.adopt` names this instance's own directory {}: name those of others",
                path.display()
            )));
        }
        if *segment_bytes < LEAST_SEGMENT_BYTES {
            return Err(ConfigError::Rule(format!(
                "`spool.segment_bytes` = {segment_bytes} is less than a large delivery needs: give it at least \
                 {LEAST_SEGMENT_BYTES} (8MiB); `spool.segment_age` is what makes records visible sooner"
            )));
        }
        if max_bytes < segment_bytes {
            return Err(ConfigError::Rule(format!(
                "`spool.max_bytes` = {max_bytes} holds no segment of `spool.segment_bytes` = {segment_bytes}: raise it"
            )));
        }
        Ok(())
    }
}
