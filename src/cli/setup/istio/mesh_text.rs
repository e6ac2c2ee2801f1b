//! meshConfig with a provider more or less, as text: comments, order and spelling of all the rest stay as they are.
//!
//! A change is made by lines and then proved by reading both texts; where lines do not do (another style, an anchor), the whole
//! is written anew, and the caller is told.

use serde_json::{Value, json};

use crate::cli::setup::mesh::yaml::yaml;

const KEY: &str = "extensionProviders";

/// A changed text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) text: String,
    /// All of it was written anew, not only what changed.
    pub(super) is_rewritten: bool,
}

/// The list of providers in a read meshConfig.
pub(super) fn providers(mesh: &Value) -> &[Value] {
    mesh[KEY].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text with these providers: each replaces one of its name, or comes last. `None` where they stand there as they are.
///
/// # Errors
/// The text is not a mapping in YAML.
pub(super) fn with(text: &str, added: &[Value]) -> Result<Option<Changed>, String> {
    let mesh = read(text)?;
    let same = |provider: &Value| providers(&mesh).contains(provider);
    if added.iter().all(same) {
        return Ok(None);
    }
    let missing: Vec<&Value> = added.iter().filter(|provider| !same(provider)).collect();
    let replaced: Vec<&str> = missing.iter().filter_map(|provider| provider["name"].as_str()).collect();
    let mut wanted: Vec<Value> =
        providers(&mesh).iter().filter(|it| !is_named(it, &replaced)).cloned().collect();
    wanted.extend(missing.iter().copied().cloned());
    let lines = take_out(text, &replaced).and_then(|text| put_in(&text, &missing));
    Ok(Some(proved(lines, mesh, wanted)))
}

/// The text without the providers of these names. `None` where there are none.
///
/// # Errors
/// As [`with`].
pub(super) fn without(text: &str, names: &[&str]) -> Result<Option<Changed>, String> {
    let mesh = read(text)?;
    let wanted: Vec<Value> = providers(&mesh).iter().filter(|it| !is_named(it, names)).cloned().collect();
    if wanted.len() == providers(&mesh).len() {
        return Ok(None);
    }
    let lines = take_out(text, names);
    Ok(Some(proved(lines, mesh, wanted)))
}

fn read(text: &str) -> Result<Value, String> {
    match serde_yaml_ng::from_str(text) {
        Ok(Value::Null) => Ok(json!({})),
        Ok(mesh @ Value::Object(_)) => Ok(mesh),
        Ok(_) => Err("it is no mapping".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_named(provider: &Value, names: &[&str]) -> bool {
    provider["name"].as_str().is_some_and(|name| names.contains(&name))
}

/// The lines if they read as wanted, else the whole written anew.
fn proved(lines: Option<String>, mut mesh: Value, wanted: Vec<Value>) -> Changed {
    mesh[KEY] = wanted.into();
    let reads_so = |text: &String| {
        let mut read = read(text).unwrap_or_default();
        if read.get(KEY).is_none_or(Value::is_null) {
            read[KEY] = json!([]);
        }
        read == mesh
    };
    match lines.filter(reads_so) {
        Some(text) => Changed { text, is_rewritten: false },
        None => Changed { text: yaml(&mesh), is_rewritten: true },
    }
}

/// Where the list stands: the line of its key, and the lines of its items up to the first that belongs to something else.
fn list_of(lines: &[&str]) -> Option<(usize, std::ops::Range<usize>)> {
    let key = lines.iter().position(|line| line.trim_end() == format!("{KEY}:"))?;
    let is_outside = |line: &&str| !line.trim().is_empty() && !line.starts_with([' ', '-', '#']);
    let end = lines[key + 1..].iter().position(is_outside).map_or(lines.len(), |at| key + 1 + at);
    // Blank lines and comments at the end stand before what follows.
    let last = lines[key + 1..end].iter().rposition(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Some((key, key + 1..last.map_or(key + 1, |last| key + 2 + last)))
}

/// The blanks before each item's dash.
fn indent_of<'a>(items: &[&'a str]) -> Option<&'a str> {
    let first = items.iter().find(|line| line.trim_start().starts_with("- "))?;
    Some(&first[..first.len() - first.trim_start().len()])
}

fn joined(lines: &[&str]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn take_out(text: &str, names: &[&str]) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let Some((key, range)) = list_of(&lines) else { return Some(text.to_owned()) };
    let Some(indent) = indent_of(&lines[range.clone()]) else { return Some(text.to_owned()) };
    let dash = format!("{indent}- ");
    let starts: Vec<usize> = range.clone().filter(|at| lines[*at].starts_with(&dash)).collect();
    let mut kept: Vec<&str> = lines[..starts[0]].to_vec();
    let mut is_empty = true;
    for (nth, start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(range.end);
        let item: Value = serde_yaml_ng::from_str(&joined(&lines[*start..end])).ok()?;
        if !is_named(&item[0], names) {
            kept.extend(&lines[*start..end]);
            is_empty = false;
        }
    }
    if is_empty {
        kept.remove(key);
    }
    kept.extend(&lines[range.end..]);
    Some(joined(&kept))
}

fn put_in(text: &str, added: &[&Value]) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| line.trim_end() != format!("{KEY}: []")).collect();
    let items = Value::Array(added.iter().copied().cloned().collect());
    let items = yaml(&items);
    let Some((_, range)) = list_of(&lines) else {
        let mut lines = lines;
        let key = format!("{KEY}:");
        lines.push(&key);
        lines.extend(items.lines());
        return Some(joined(&lines));
    };
    let indent = indent_of(&lines[range.clone()]).unwrap_or_default();
    let items: Vec<String> = items.lines().map(|line| format!("{indent}{line}")).collect();
    let mut all = lines[..range.end].to_vec();
    all.extend(items.iter().map(String::as_str));
    all.extend(&lines[range.end..]);
    Some(joined(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESH: &str = "# hand-written\naccessLogFile: /dev/stdout\ndefaultConfig:\n  proxyMetadata: {A: 'yes'}\nenableTracing: yes\nextensionProviders:\n\
        - name: otel # ours since 2024\n  opentelemetry:\n    port: 4317\n    service: otel.example.com\n\n- envoyOtelAls:\n    port: 4317\n    service: x\n  name: logs\n\
        # the rest\nrootNamespace: istio-system\n";

    fn provider(port: u16) -> Value {
        json!({"name": "throughline", "envoyHttpAls": {"port": port, "service": "a.b.svc"}})
    }

    #[test]
    fn a_provider_comes_and_goes_without_a_trace() {
        let added = with(MESH, &[provider(4317)]).unwrap().unwrap();
        assert!(!added.is_rewritten, "{}", added.text);
        let expected = MESH.replace(
            "  name: logs\n",
            "  name: logs\n- name: throughline\n  envoyHttpAls:\n    port: 4317\n    service: a.b.svc\n",
        );
        assert_eq!(added.text, expected);
        assert_eq!(with(&added.text, &[provider(4317)]).unwrap(), None, "it is there");
        let back = without(&added.text, &["throughline"]).unwrap().unwrap();
        assert_eq!(back, Changed { text: MESH.to_owned(), is_rewritten: false });
        assert_eq!(without(MESH, &["throughline"]).unwrap(), None);
        let moved = with(&added.text, &[provider(9000)]).unwrap().unwrap();
        assert_eq!(
            moved.text,
            expected.replace("    port: 4317\n    service: a.b", "    port: 9000\n    service: a.b")
        );
    }

    #[test]
    fn every_place_for_a_list_is_found() {
        let item = "- name: throughline\n  envoyHttpAls:\n    port: 1\n    service: a.b.svc\n";
        let indented = item
            .replace("- name", "  - name")
            .replace("\n  e", "\n    e")
            .replace("\n    p", "\n      p")
            .replace("\n    s", "\n      s");
        for (before, after) in [
            ("", format!("extensionProviders:\n{item}")),
            ("a: 1", format!("a: 1\nextensionProviders:\n{item}")),
            ("extensionProviders: []\na: 1\n", format!("a: 1\nextensionProviders:\n{item}")),
            ("extensionProviders:\na: 1\n", format!("extensionProviders:\n{item}a: 1\n")),
            (
                "extensionProviders:\n  - name: x\n    zipkin: {}\na: 1\n",
                format!("extensionProviders:\n  - name: x\n    zipkin: {{}}\n{indented}a: 1\n"),
            ),
        ] {
            let changed = with(before, &[provider(1)]).unwrap().unwrap();
            assert_eq!((changed.text, changed.is_rewritten), (after, false), "{before}");
        }
        let only = format!("a: 1\nextensionProviders:\n{item}b: 2\n");
        assert_eq!(without(&only, &["throughline"]).unwrap().unwrap().text, "a: 1\nb: 2\n");
    }

    #[test]
    fn other_styles_are_written_anew_and_say_so() {
        for text in [
            "{\"extensionProviders\": [{\"name\": \"x\", \"zipkin\": {}}], \"rootNamespace\": \"r\"}",
            "extensionProviders: [{name: x, zipkin: {}}]\nrootNamespace: r\n",
            "rootNamespace: r\n\"extensionProviders\":\n- {name: x, zipkin: {}}\n",
        ] {
            let changed = with(text, &[provider(1)]).unwrap().unwrap();
            assert!(changed.is_rewritten, "{text}");
            let read: Value = serde_yaml_ng::from_str(&changed.text).unwrap();
            assert_eq!(
                read,
                json!({"rootNamespace": "r", "extensionProviders": [{"name": "x", "zipkin": {}}, provider(1)]})
            );
        }
        assert!(with("- a\n", &[provider(1)]).is_err());
        assert!(with("a: [", &[provider(1)]).is_err());
    }
}
