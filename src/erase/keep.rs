//! Erasures and receipts as files. An erasure's file holds the value, for nothing else could find it; it goes when the
//! erasure is done. A receipt stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Asked, Erasure, Match, Receipt};

/// An erasure under way.
#[derive(Serialize, Deserialize)]
struct Kept {
    asked: Asked,
    /// Per-request ids found so far, 32 hex digits.
    ids: Vec<String>,
    receipt: Receipt,
}

fn erasures(data_dir: &Path) -> PathBuf {
    data_dir.join("erasures")
}

fn receipts(data_dir: &Path) -> PathBuf {
    data_dir.join("receipts")
}

fn file(directory: &Path, id: u128) -> PathBuf {
    directory.join(format!("{id:032x}.json"))
}

/// Every erasure that is not done.
pub(super) fn read_all(data_dir: &Path) -> anyhow::Result<Vec<Erasure>> {
    let directory = erasures(data_dir);
    for made in [&directory, &receipts(data_dir)] {
        fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // Not to be passed over: what was promised to be erased would come back.
        let erasure = read(&path).with_context(|| {
            format!("the erasure in {} cannot be read; move it away and ask for it again", path.display())
        })?;
        found.push(erasure);
    }
    found.sort_by_key(|erasure| erasure.what.asked.asked_ns);
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<Erasure> {
    let kept: Kept = serde_json::from_slice(&fs::read(path)?)?;
    let id = u128::from_str_radix(&kept.receipt.id, 16)?;
    let ids: Result<Vec<u128>, _> = kept.ids.iter().map(|id| u128::from_str_radix(id, 16)).collect();
    let what = Match::new(kept.asked, ids?).map_err(anyhow::Error::msg)?;
    Ok(Erasure { id, what, receipt: kept.receipt.into() })
}

/// Writes an erasure durably, over what stood there.
pub(super) fn write(data_dir: &Path, erasure: &Erasure) -> io::Result<()> {
    let ids = erasure.what.ids().iter().map(|id| format!("{id:032x}")).collect();
    let kept = Kept { asked: erasure.what.asked.clone(), ids, receipt: erasure.receipt() };
    replace(&erasures(data_dir), erasure.id, &kept)
}

pub(super) fn remove(data_dir: &Path, id: u128) -> io::Result<()> {
    let directory = erasures(data_dir);
    fs::remove_file(file(&directory, id))?;
    File::open(directory)?.sync_all()
}

pub(super) fn write_receipt(data_dir: &Path, receipt: &Receipt) -> io::Result<()> {
    let id = u128::from_str_radix(&receipt.id, 16).map_err(io::Error::other)?;
    replace(&receipts(data_dir), id, receipt)
}

pub(super) fn read_receipt(data_dir: &Path, id: u128) -> Option<Receipt> {
    serde_json::from_slice(&fs::read(file(&receipts(data_dir), id)).ok()?).ok()
}

fn replace(directory: &Path, id: u128, content: &impl Serialize) -> io::Result<()> {
    let path = file(directory, id);
    let beside = path.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    out.write_all(&serde_json::to_vec_pretty(content)?)?;
    out.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(directory)?.sync_all()
}
