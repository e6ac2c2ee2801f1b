//! File names in the spool's directory: a 20-digit sequence number and what state the segment is in.

use std::path::{Path, PathBuf};

pub(crate) const LOCK: &str = "lock";
pub(crate) const CORRUPT: &str = "corrupt";

/// Wide enough for any u64, so that names sort as numbers.
const DIGITS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Sealed,
    Open,
    /// A rescue being written.
    Rescue,
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Open => "open",
            Self::Rescue => "tmp",
        }
    }
}

pub(crate) fn file_name(sequence: u64, kind: Kind) -> String {
    format!("{sequence:0DIGITS$}.{}", kind.suffix())
}

pub(crate) fn path(dir: &Path, sequence: u64, kind: Kind) -> PathBuf {
    dir.join(file_name(sequence, kind))
}

/// The inverse of [`file_name`]; `None` for any name it would not make.
pub(crate) fn parse(name: &str) -> Option<(u64, Kind)> {
    let (_, suffix) = name.split_once('.')?;
    let kind = [Kind::Sealed, Kind::Open, Kind::Rescue].into_iter().find(|kind| kind.suffix() == suffix)?;
    let sequence = leading_number(name)?;
    (file_name(sequence, kind) == name).then_some((sequence, kind))
}

/// The number at the front of a name, also of one that was renamed aside.
pub(crate) fn leading_number(name: &str) -> Option<u64> {
    name.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in [Kind::Sealed, Kind::Open, Kind::Rescue] {
            for sequence in [0, 42, u64::MAX] {
                assert_eq!(parse(&file_name(sequence, kind)), Some((sequence, kind)));
            }
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in
            ["", "42.open", "lock", "00000000000000000042", "00000000000000000042.open.bak", "x.sealed"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!(parse("+0000000000000000042.open"), None);
        assert_eq!(parse("99999999999999999999.open"), None);
    }
}
