//! Puts the boards of `dashboards/` into the binary, so that a new file comes along without being listed anywhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=dashboards");
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let boards = variable("CARGO_MANIFEST_DIR")?.join("dashboards");
    let mut files: Vec<PathBuf> = fs::read_dir(&boards)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let name = file.file_name().map(Path::new).unwrap_or(file);
        let _ = writeln!(list, "({:?}, include_str!({:?})),", name.to_string_lossy(), file.to_string_lossy());
    }
    list.push_str("]\n");
    fs::write(variable("OUT_DIR")?.join("boards.rs"), list)
}
