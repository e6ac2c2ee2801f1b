//! docs/schema.md: the reference of tables, columns and views, generated from the statements that make them and from the
//! table of fields. Only a test needs it: it holds the file current.

use event::HopEvent;
use store::migrate::{SCHEMA, VIEWS};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema.md");

const INTRODUCTION: &str = "# Schema

What ClickHouse holds, for whoever writes a query or a board: generated from `schemas/clickhouse` and `crates/event/src/fields.rs`, which a test holds
this to (`UPDATE_DOCS=1 cargo test --bin throughline tables`). Every table has the column `tenant`; put it into every `WHERE`. Ids are 16 bytes:
`hex(correlation_id)` is the usual text without dashes. Empty text, 0 and NULL mean that the record did not say.

On a cluster each table `T` is a Distributed table over `T_local` of every shard. What a released statement made is only ever changed by a later one.
";

/// What columns mean that are fields of no event and whose statement, released, says nothing of them. A new table says it
/// in comments of its own.
const SAID_HERE: &[(&str, &str, &str)] = &[
    ("migrations", "version", "The program that ran it."),
    ("migrations", "applied_at", "When, by the store's clock."),
    ("events", "locator", "A hash of the record's strongest id; see above."),
    ("ids", "id", "The id."),
    ("ids", "kind", "What it was on the record."),
    ("ids", "bucket", "Leads to the event, with `locator`."),
    ("rejects", "detail", "Why, in a sentence."),
    ("rejects", "length", "Bytes of the record before it was cut."),
    ("rejects", "bytes", "Its first bytes, redacted."),
    ("rollup_minute", "errors", "Those of them that failed: a status of 5xx, or none and a response flag."),
    ("shipped", "segment", "Its random id."),
    ("shipped", "instance", "Whose spool it came from."),
    ("shipped", "first_received_ns", "Receipt of its first record."),
    ("shipped", "last_received_ns", "Receipt of its last record."),
    ("shipped", "events", "Events in it."),
    ("shipped", "rejects", "Rejects in it."),
    ("recent", "segment", "As in `shipped`."),
    ("recent", "events", "Events in this row."),
    ("recent", "shipped_at", "When it was written, by the store's clock."),
    ("exports", "kind", "What `id` is."),
    ("exports", "spans", "Spans that were sent."),
    ("exports", "decided_at", "When, by the store's clock."),
    ("correlate_terms", "term", "Number of the lease."),
    ("correlate_terms", "holder", "The instance that holds it."),
    ("correlate_terms", "taken_at", "Since when, by the store's clock."),
    ("correlate_progress", "term", "As in `correlate_terms`."),
    ("correlate_progress", "holder", "As in `correlate_terms`."),
    ("correlate_progress", "written_at", "The holder's last sign of life."),
    ("skew", "hour", "The hour it was learnt in."),
    ("skew", "from_server", "The clock compared with."),
    ("skew", "to_server", "The clock that is ahead."),
    ("skew", "low_ns", "At least so far; negative: behind."),
    ("skew", "high_ns", "At most so far."),
    ("ledger", "total", "How many, or how many bytes."),
    ("erasures", "id", "The erasure, as its receipt names it."),
    ("erasures", "asked_at", "When, by the store's clock."),
    ("erasing", "erasure", "As `erasures.id`."),
    ("erasing", "id", "An id to erase."),
    ("erasing", "noted_at", "When it was noted."),
];

/// The lines of a comment at the start of some lines, as one text; and the rest.
fn comment<'l>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'l str>>) -> String {
    let mut words = Vec::new();
    while let Some(line) = lines.next_if(|line| line.trim_start().starts_with("--")) {
        words.push(line.trim_start().trim_start_matches("--").trim());
    }
    words.join(" ")
}

/// What a field of the event means, with its unit.
fn of_field(name: &str) -> &'static str {
    HopEvent::FIELDS.iter().find(|field| field.name == name).map_or("", |field| field.doc.trim())
}

/// A statement that makes a table, as a section; `None` for any other.
fn table(sql: &str) -> Option<String> {
    let mut lines = sql.lines().peekable();
    let about = comment(&mut lines);
    let made = lines.next()?.strip_prefix("CREATE TABLE IF NOT EXISTS {table:")?;
    let name = made.split('}').next()?;
    lines.next_if(|line| *line == "(")?;
    let mut out = format!("\n## `{name}`\n{about}\n\n| column | type | meaning |\n|---|---|---|\n");
    loop {
        let said = comment(&mut lines);
        let line = lines.next()?.trim();
        if line.starts_with(')') {
            break;
        }
        let (column, rest) = line.trim_end_matches(',').split_once(' ')?;
        if column.chars().all(|letter| letter.is_ascii_uppercase()) {
            continue; // INDEX, PROJECTION, CONSTRAINT
        }
        if !rest.starts_with(|first: char| first.is_ascii_uppercase()) {
            continue; // an expression of more than one line
        }
        let clauses = [" CODEC(", " TTL ", " DEFAULT ", " MATERIALIZED ", " ALIAS "];
        let end = clauses.iter().filter_map(|clause| rest.find(clause)).min().unwrap_or(rest.len());
        let kind = &rest[..end];
        let here =
            SAID_HERE.iter().find(|(of, it, _)| *of == name && *it == column).map_or("", |(.., it)| it);
        let meaning = [of_field(column), here, &said];
        let meaning: Vec<&str> = meaning.into_iter().filter(|text| !text.is_empty()).collect();
        let meaning = meaning.join(" ").replace('|', "\\|");
        out += &format!("| `{column}` | `{kind}` | {meaning} |\n");
    }
    let tail: Vec<&str> = lines.map(str::trim).collect();
    for (clause, words) in [("PARTITION BY ", "Partitions"), ("ORDER BY ", "Order")] {
        if let Some(text) = tail.iter().find_map(|line| line.strip_prefix(clause)) {
            out += &format!("\n{words}: `{text}`\n");
        }
    }
    Some(out)
}

/// What a later statement changed, in a line.
fn change(name: &str, sql: &str) -> Option<String> {
    let mut lines = sql.lines().peekable();
    let about = comment(&mut lines);
    let rest: String = lines.collect::<Vec<_>>().join(" ");
    (rest.starts_with("ALTER TABLE")).then(|| format!("- `{name}`: {about}\n"))
}

fn reference() -> String {
    let own = || SCHEMA.iter().filter(|file| !file.name.ends_with("_spread.sql"));
    let mut out = INTRODUCTION.to_owned();
    out.extend(own().filter_map(|file| table(file.sql)));
    out += "\n## Later changes of these tables\n";
    out.extend(own().filter_map(|file| change(file.name, file.sql)));
    out += "\n## Views\n";
    for view in VIEWS {
        let name = view.name.trim_start_matches("views/").trim_end_matches(".sql");
        let name = name.split_once('_').map_or(name, |(_, name)| name);
        out += &format!("\n### `{name}`\n{}\n", comment(&mut view.sql.lines().peekable()));
    }
    out
}

#[test]
fn the_reference_in_the_tree_is_current() {
    let generated = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(PATH).unwrap_or_default();
    let old = "docs/schema.md is old: run UPDATE_DOCS=1 cargo test --bin throughline tables";
    assert!(kept == generated, "{old}");
}

#[test]
fn every_column_says_what_it_means() {
    let reference = reference();
    let silent: Vec<&str> =
        reference.lines().filter(|line| line.starts_with("| `") && line.ends_with("|  |")).collect();
    assert!(silent.is_empty(), "say it in a comment before the column: {silent:#?}");
    assert!(reference.contains("| `correlation_id` | `FixedString(16)` | "), "{reference}");
    assert!(reference.matches("\n## `").count() > 10, "{reference}");
    let known = |(table, column, _): &(&str, &str, &str)| {
        let section = reference.split(&format!("\n## `{table}`\n")).nth(1).unwrap_or_default();
        section.split("\n## ").next().unwrap_or_default().contains(&format!("| `{column}` |"))
    };
    assert!(SAID_HERE.iter().all(known), "a meaning for a column that is gone");
}
