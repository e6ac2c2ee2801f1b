//! Files that are made at the first start and kept: there whole or not at all, wherever the process is killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Makes a file that only its owner reads, durably. Fails with [`io::ErrorKind::AlreadyExists`] rather than replace one:
/// another instance may have made it in the meantime, and both must go by the same.
fn make(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    let made = fs::hard_link(beside, path);
    fs::remove_file(beside)?;
    made?;
    match path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// The key of subject pseudonyms: 32 random bytes, made once. Whoever wants pseudonyms to agree over instances
/// configures one file for all of them.
///
/// An empty file is what an older version left where it was killed: no key was ever in it.
pub(super) fn subject_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    match fs::read(path) {
        Ok(key) if key.len() >= 16 => return Ok(key),
        Ok(key) if key.is_empty() => {
            fs::remove_file(path).with_context(|| format!("remove the empty {}", path.display()))?;
        }
        Ok(_) => anyhow::bail!("the key in {} is shorter than 16 bytes", path.display()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("read the key of subject pseudonyms {}", path.display()));
        }
        Err(_) => {}
    }
    let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    make(path, &key).with_context(|| format!("write the key of subject pseudonyms {}", path.display()))?;
    Ok(key)
}

/// The instance's name in the store: random, kept with its spool.
pub(super) fn instance(data_dir: &Path) -> anyhow::Result<String> {
    let path: PathBuf = data_dir.join("instance");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        // As an older version left it where it was killed; instances without a name would pass for one.
        Ok(_) => {
            fs::remove_file(&path).with_context(|| format!("remove the empty {}", path.display()))?;
        }
        Err(_) => {}
    }
    let name = uuid::Uuid::new_v4().to_string();
    make(&path, name.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_whole_for_its_owner_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        make(&path, b"first").unwrap();
        assert_eq!(make(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_killed_start_left_empty_is_made_anew_and_kept_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("subject.key");
        fs::write(&key, "").unwrap();
        fs::write(directory.path().join("instance"), "").unwrap();
        let (made, named) = (subject_key(&key).unwrap(), instance(directory.path()).unwrap());
        assert_eq!((made.len(), named.len()), (32, 36));
        assert_eq!((subject_key(&key).unwrap(), instance(directory.path()).unwrap()), (made, named));
        fs::write(&key, "short").unwrap();
        assert!(subject_key(&key).is_err(), "a key that somebody wrote is theirs to mend");
    }
}
