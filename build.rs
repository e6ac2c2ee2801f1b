//! Puts the boards and the alert rules of `dashboards/` into the binary, so that a new file comes along without being listed
//! anywhere. The rules become JSON on the way: the binary has no reader of YAML.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=dashboards");
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let (dashboards, out) = (variable("CARGO_MANIFEST_DIR")?.join("dashboards"), variable("OUT_DIR")?);

    let mut boards = String::from("[\n");
    for file in files(&dashboards, "json")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(boards, "({name:?}, include_str!({:?})),", file.to_string_lossy());
    }
    fs::write(out.join("boards.rs"), boards + "]\n")?;

    let mut alerts = String::from("[\n");
    for file in files(&dashboards.join("provisioning/alerting"), "yaml")? {
        let rules: serde_json::Value =
            serde_yaml_ng::from_str(&fs::read_to_string(&file)?).map_err(io::Error::other)?;
        let _ = writeln!(alerts, "{:?},", rules.to_string());
    }
    fs::write(out.join("alerts.rs"), alerts + "]\n")
}

/// The files of a directory with this ending, in order.
fn files(directory: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|other| other == ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
