//! Holds the reference in docs/configuration.md to the code: the table of keys is generated from [`KEYS`], and every
//! member of `[[source]]` and `[[reader]]` stands there.

use super::KEYS;
use super::sources::{READER_KEYS, SOURCE_KEYS};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const HEAD: &str = "| key | default | what for, and why this default |\n|---|---|---|\n";

/// The table as the code has it.
fn table() -> String {
    let rows = KEYS.iter().map(|key| {
        let default = if key.default.is_empty() { "empty".to_owned() } else { format!("`{}`", key.default) };
        let secret = if key.secret { ", secret" } else { "" };
        format!("| `{}` | {default}{secret} | {} |\n", key.name, key.doc.replace('|', "\\|"))
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[test]
fn the_table_of_keys_in_the_tree_is_current() {
    let kept = std::fs::read_to_string(PATH).unwrap();
    let begin = kept.find(HEAD).expect("docs/configuration.md has the table's head");
    let length = kept[begin..].find("\n\n").expect("an empty line after the table") + 1;
    let generated = format!("{}{}{}", &kept[..begin], table(), &kept[begin + length..]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &generated).unwrap();
    } else {
        let old = "docs/configuration.md is old: run UPDATE_DOCS=1 cargo test --bin throughline reference";
        assert!(kept == generated, "{old}");
    }
}

#[test]
fn every_member_of_a_source_and_a_reader_is_described() {
    let kept = std::fs::read_to_string(PATH).unwrap();
    let missing: Vec<_> = SOURCE_KEYS
        .iter()
        .chain(READER_KEYS)
        .filter(|member| !kept.contains(&format!("`{member}`")))
        .collect();
    assert!(missing.is_empty(), "docs/configuration.md does not name {missing:?}");
}
