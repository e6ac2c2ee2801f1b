//! The archive that is handed out, made of the program under test: what is in it, that it is the same twice, and that what is
//! unpacked from it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::app::BINARY;

/// Archives the program under test into a directory; the archive.
fn archive(out: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/release");
    let output = Command::new(script)
        .args(["--no-image", "--fast", "--binary", BINARY, "--out"])
        .arg(out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(said.lines().next().expect("the archive's path"))
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_archive_holds_all_is_the_same_twice_and_runs() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = archive(one.path());
    let name = first.file_name().unwrap().to_str().unwrap();
    run("sha256sum", &["--check", "--quiet", &format!("{name}.sha256")], one.path());
    // Times, owners and the order of a directory would all show in the bytes.
    let second = archive(two.path());
    assert!(
        std::fs::read(&first).unwrap() == std::fs::read(second).unwrap(),
        "two archives of one commit differ"
    );

    let listing = run("tar", &["--list", "--gzip", "--file", name], one.path());
    let root = name.trim_end_matches(".tar.gz");
    for path in [
        "bin/throughline",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "completions/throughline.bash",
        "completions/throughline.zsh",
        "completions/throughline.fish",
        "dashboards/overview.json",
        "deploy/docker/Dockerfile",
        "docker-compose.yml",
        "docs/configuration.md",
        "docs/schema.md",
        "schemas/openapi.json",
        "schemas/fastly/README.md",
        "scripts/engine-lib",
    ] {
        assert!(listing.lines().any(|line| line == format!("{root}/{path}")), "{path} is not in\n{listing}");
    }
    assert!(!listing.contains("/target/") && !listing.contains("/.git"), "{listing}");
    run("tar", &["--extract", "--gzip", "--file", name], one.path());
    let program = one.path().join(root).join("bin/throughline");
    let version = run(program.to_str().unwrap(), &["--version"], one.path());
    assert_eq!(version, concat!("throughline ", env!("CARGO_PKG_VERSION"), "\n"));
    let completions =
        std::fs::read_to_string(one.path().join(root).join("completions/throughline.bash")).unwrap();
    assert!(completions.contains("doctor"), "{completions}");
}
