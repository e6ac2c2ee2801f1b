//! Rules of this tree that neither the compiler nor clippy holds. Each failure lists every offence as `file:line: what`.
//!
//! Patterns are written in two pieces, so that this file does not report itself.
#![allow(clippy::expect_used, clippy::panic, reason = "these helpers serve tests only")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files may be longer only if they are tables of data, each with the reason.
const LONG_FILES: [&str; 0] = [];
/// A reader holds this much at once; a longer file has two subjects.
const MOST_LINES: usize = 800;
/// Crates that compute and nothing else: time, input and settings come in as arguments.
const PURE_CRATES: [&str; 4] = ["correlation", "event", "decode", "trace"];
/// Each room and the rooms it may use; the root package may use all. `testkit` is for tests, so it may see
/// the pure ones, and the spool that it lets fuzzers read.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("correlation", &[]),
    ("event", &["correlation"]),
    ("decode", &["correlation", "event"]),
    ("trace", &["correlation", "event"]),
    ("store", &["correlation", "event"]),
    ("spool", &[]),
    ("engine", &[]),
    ("edge-token", &[]),
    ("testkit", &["correlation", "event", "decode", "trace", "spool"]),
    ("chain", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Tracked files and files about to be, relative to the root. Deleted ones and links are left out.
fn files() -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("run git ls-files");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let mut paths: Vec<PathBuf> = listing
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(std::str::from_utf8(name).expect("a UTF-8 file name")))
        .filter(|path| root().join(path).symlink_metadata().is_ok_and(|meta| meta.is_file()))
        .collect();
    paths.dedup();
    assert!(paths.len() > 20, "git lists only {} files; is this the whole checkout?", paths.len());
    paths
}

/// Text of the files with this ending; files that are no UTF-8 (captures with bad bytes) are passed over.
fn texts(ending: &str) -> Vec<(String, String)> {
    let named = files().into_iter().filter(|path| path.to_string_lossy().ends_with(ending));
    named
        .filter_map(|path| {
            let text = String::from_utf8(fs::read(root().join(&path)).ok()?).ok()?;
            Some((path.to_string_lossy().into_owned(), text))
        })
        .collect()
}

/// The part of a source file before its unit tests, which this tree keeps last in the file.
fn without_unit_tests(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |at| &text[..at])
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.starts_with("tests/")
        || path.contains("/benches/")
        || path.starts_with("benches/")
        || path.ends_with("tests.rs")
}

/// Every line of `text` that holds one of `patterns`, as `path:line: pattern`.
fn hits(path: &str, text: &str, patterns: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for pattern in patterns.iter().filter(|pattern| line.contains(pattern.as_str())) {
            found.push(format!("{path}:{}: {pattern}", number + 1));
        }
    }
    found
}

fn code_only(text: &str) -> String {
    let blank_comments =
        |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    text.lines().map(blank_comments).collect::<Vec<_>>().join("\n")
}

fn glued(pieces: &[(&str, &str)]) -> Vec<String> {
    pieces.iter().map(|(start, end)| format!("{start}{end}")).collect()
}

fn none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let offences =
        texts(".rs").into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    none("a source file opens with `//!` and what it is for", offences);
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_hold() {
    let long = |(path, text): (String, String)| {
        let lines = text.lines().count();
        (lines > MOST_LINES && !LONG_FILES.contains(&path.as_str())).then(|| format!("{path}: {lines} lines"))
    };
    none(
        "at most 800 lines a file, except tables of data",
        texts(".rs").into_iter().filter_map(long).collect(),
    );
}

#[test]
fn nothing_is_left_for_later_in_the_source() {
    let patterns = glued(&[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("unimplem", "ented!"), ("tod", "o!(")]);
    let mut offences = Vec::new();
    for ending in [".rs", ".toml", ".sql", "Makefile", ".yml", ".yaml", ".md"] {
        for (path, text) in texts(ending) {
            offences.extend(hits(&path, &text, &patterns));
        }
    }
    none("what is left for later is an issue, not a mark in the source", offences);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let patterns = glued(&[("/wo", "rk/"), ("/ro", "ot/"), ("../sha", "red"), ("/ho", "me/")]);
    // A unit of systemd or an image may have to say such a path; none does so far.
    let offences = texts("").iter().flat_map(|(path, text)| hits(path, text, &patterns)).collect();
    none("a path of one machine works on no other", offences);
}

#[test]
fn no_spans_of_receiving_shipping_or_exporting() {
    let patterns =
        glued(&[("#[inst", "rument"), ("tracing::inst", "rument"), ("_sp", "an!("), ("Trace", "Layer")]);
    let rooms = ["src/accept", "src/ingest", "src/ship", "src/correlate", "src/export"];
    let mut offences = Vec::new();
    for (path, text) in texts(".rs") {
        if rooms.iter().any(|room| path.starts_with(room)) {
            offences.extend(hits(&path, &code_only(&text), &patterns));
        }
    }
    none("the service's own spans would come back as input, each making the next", offences);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = texts(".md");
    let outside_code = |text: &str| -> String { text.split("```").step_by(2).collect::<Vec<_>>().join("\n") };
    // As the sites that show Markdown name headings: letters, digits, `-` and `_`; spaces become `-`.
    let anchor = |heading: &str| -> String {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let has_heading = |text: &str, wanted: &str| {
        let text = outside_code(text);
        text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted)
    };
    let mut offences = Vec::new();
    let mut followed = 0;
    for (path, text) in &documents {
        let here = Path::new(path).parent().unwrap_or(Path::new(""));
        for link in outside_code(text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains(':') || link.contains(char::is_whitespace) {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(path) } else { root().join(here).join(file) };
            let found = if heading.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target).is_ok_and(|text| has_heading(&text, heading))
            };
            if !found {
                offences.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(followed > 50, "only {followed} links; is this the whole checkout?");
    none("links between documents lead somewhere", offences);
}

#[test]
fn no_test_is_skipped() {
    let patterns = glued(&[("#[ign", "ore"), ("#![ign", "ore")]);
    let offences = texts(".rs").iter().flat_map(|(path, text)| hits(path, text, &patterns)).collect();
    none("a skipped test is a false green: mend it or delete it", offences);
}

#[test]
fn sql_lives_in_the_store_and_the_schemas() {
    let patterns = glued(&[
        ("SELE", "CT "),
        ("INSERT ", "INTO"),
        ("CREATE ", "TABLE"),
        ("ALTER ", "TABLE"),
        ("DROP ", "TABLE"),
    ]);
    // The engine hosts the database, so it reads statements to tell inserts from queries. The testkit plays a database.
    let at_home = ["crates/store/", "crates/engine/", "crates/testkit/"];
    let mut offences = Vec::new();
    for (path, text) in texts(".rs") {
        if !is_test_file(&path) && !at_home.iter().any(|home| path.starts_with(home)) {
            offences.extend(hits(&path, &code_only(without_unit_tests(&text)), &patterns));
        }
    }
    none("SQL belongs to crates/store and schemas/", offences);
}

#[test]
fn pure_crates_have_no_io_no_clock_no_environment() {
    let patterns = glued(&[
        ("tok", "io::"),
        ("std::", "fs"),
        ("std::", "env"),
        ("std::net::", "Tcp"),
        ("std::net::", "Udp"),
        ("std::", "process"),
        ("std::", "thread"),
        ("SystemTime::", "now"),
        ("Instant::", "now"),
        ("Timestamp::", "now"),
        ("Zoned::", "now"),
    ]);
    let mut offences = Vec::new();
    for (path, text) in texts(".rs") {
        let pure = PURE_CRATES.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
        if pure && !is_test_file(&path) {
            offences.extend(hits(&path, &code_only(without_unit_tests(&text)), &patterns));
        }
    }
    for name in PURE_CRATES {
        for dependency in dependencies(name) {
            if ["tokio", "reqwest", "axum", "hyper", "clickhouse"].contains(&dependency.as_str()) {
                offences.push(format!("crates/{name}/Cargo.toml: {dependency}"));
            }
        }
    }
    none("correlation, event, decode and trace compute and nothing else", offences);
}

#[test]
fn rooms_depend_in_one_direction() {
    let mut offences = Vec::new();
    let mut rooms: Vec<String> = fs::read_dir(root().join("crates"))
        .expect("crates/")
        .map(|entry| entry.expect("an entry of crates/").file_name().to_string_lossy().into_owned())
        .filter(|name| root().join("crates").join(name).join("Cargo.toml").is_file())
        .collect();
    rooms.sort();
    for room in rooms {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            offences.push(format!("crates/{room}: a new room; say in tests/it/tidy.rs what it may use"));
            continue;
        };
        for dependency in dependencies(&room) {
            if let Some(used) = dependency.strip_prefix("throughline-")
                && !allowed.contains(&used)
            {
                offences.push(format!("crates/{room}/Cargo.toml: {used}"));
            }
        }
    }
    none("correlation <- event <- {decode, trace, store} <- src -> {spool, engine}", offences);
}

/// What `crates/NAME` needs to build; dev-dependencies are free to point anywhere, as the tests are not shipped.
fn dependencies(name: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml"))
        .expect("the crate's Cargo.toml");
    let mut found = Vec::new();
    let mut counts = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let (table, inline) = section
                .split_once("dependencies.")
                .map_or((section, None), |(table, key)| (table, Some(key)));
            let development = table.contains("dev-");
            counts = !development && inline.is_none() && section.ends_with("dependencies");
            found.extend(inline.filter(|_| !development).map(str::to_owned));
        } else if counts && !line.starts_with('#') {
            found.extend(line.split(['.', ' ', '=']).next().filter(|key| !key.is_empty()).map(str::to_owned));
        }
    }
    found
}
