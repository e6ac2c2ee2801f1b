//! Every input of `fuzz/corpus` through its target: what a fuzzer once found, or was given to begin with, stays found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use testkit::drive::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_of_the_corpus_is_survived() {
    let mut broken = Vec::new();
    for (target, drive) in TARGETS {
        let directory = fuzz().join("corpus").join(target);
        let inputs = names(&directory);
        assert!(!inputs.is_empty(), "fuzz/corpus/{target} is empty");
        for input in inputs {
            let bytes = fs::read(directory.join(&input)).unwrap();
            if catch_unwind(AssertUnwindSafe(|| drive(&bytes))).is_err() {
                broken.push(format!("fuzz/corpus/{target}/{input}"));
            }
        }
    }
    assert!(broken.is_empty(), "promises are broken by (see above): {broken:#?}");
}

#[test]
fn each_target_has_a_corpus_and_a_fuzzer() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let fuzzers = names(&fuzz().join("fuzz_targets"));
    assert_eq!(fuzzers, targets.iter().map(|name| format!("{name}.rs")).collect());
}
