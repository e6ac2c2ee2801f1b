//! The disk under the data directory: what is free, against what must stay free and what the spool may take.

use super::finding::Finding;
use crate::api::answer::DiskAnswer;

/// One part in so many of a disk that should be free: below it file systems get slow, and the next day is not safe.
const FREE_SHARE: u64 = 20;
/// Less is a matter of minutes at any traffic.
const LEAST_FREE_BYTES: u64 = 1 << 30;

pub(super) fn check(disk: &DiskAnswer) -> Vec<Finding> {
    let (Some(free), Some(total)) = (disk.free_bytes, disk.total_bytes) else { return Vec::new() };
    let may_grow = disk.spool_most_bytes.saturating_sub(disk.spool_used_bytes);
    if free < disk.min_free_bytes {
        return vec![Finding::problem(
            "disk",
            format!(
                "{} are free, less than `spool.min_free` ({}): senders are refused",
                size(free),
                size(disk.min_free_bytes)
            ),
            "make room: shorten `retention.*_days`, move the data directory to a larger disk, or delete what else is there",
        )];
    }
    if free < LEAST_FREE_BYTES || free.saturating_mul(FREE_SHARE) < total {
        return vec![Finding::problem(
            "disk",
            format!("only {} of {} are free under the data directory", size(free), size(total)),
            "make room before it is full: shorten `retention.*_days`, or move the data directory to a larger disk",
        )];
    }
    let what =
        format!("{} of {} are free; the spool may take {} more", size(free), size(total), size(may_grow));
    if free.saturating_sub(disk.min_free_bytes) < may_grow {
        let advice = "the disk is full before the spool is: lower `spool.max_bytes`, or set `spool.min_free` so that the \
                      engine keeps its room";
        return vec![Finding::note("disk", what, advice)];
    }
    vec![Finding::ok("disk", what)]
}

/// `1.5 GiB`.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
