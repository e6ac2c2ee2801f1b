//! JSON values as YAML that people read and every reader takes the same way.
//!
//! kubectl and istiod read YAML 1.1, in which `yes`, `on` and `0123` are no strings; a writer of YAML 1.2 prints them bare. Here
//! whatever is not plainly a word is quoted.

use serde_json::{Map, Value};

/// Keys that stand first in their object, in this order; the others follow by name.
const FIRST: [&str; 6] = ["apiVersion", "kind", "metadata", "name", "@type", "providers"];
/// What YAML 1.1 takes for no string.
const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

/// The value as a block of YAML that ends with a line break.
pub(in super::super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

/// Writes a value that begins at the start of a line.
fn write(to: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (at, (key, member)) in ordered(members).into_iter().enumerate() {
                if at > 0 {
                    to.push_str(&" ".repeat(indent));
                }
                to.push_str(&scalar(key));
                to.push(':');
                write_member(to, member, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    to.push_str(&" ".repeat(indent));
                }
                to.push_str("- ");
                write(to, item, indent + 2);
            }
        }
        other => {
            to.push_str(&inline(other));
            to.push('\n');
        }
    }
}

fn write_member(to: &mut String, member: &Value, indent: usize) {
    match member {
        Value::Object(members) if !members.is_empty() => {
            to.push('\n');
            to.push_str(&" ".repeat(indent + 2));
            write(to, member, indent + 2);
        }
        Value::Array(items) if items.iter().all(is_word) => {
            let words: Vec<String> = items.iter().map(inline).collect();
            to.push_str(&format!(" [{}]\n", words.join(", ")));
        }
        Value::Array(items) if !items.is_empty() => {
            to.push('\n');
            to.push_str(&" ".repeat(indent + 2));
            write(to, member, indent + 2);
        }
        Value::String(text) if is_block(text) => {
            to.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                if !line.is_empty() {
                    to.push_str(&" ".repeat(indent + 2));
                }
                to.push_str(line);
                to.push('\n');
            }
        }
        other => {
            to.push(' ');
            to.push_str(&inline(other));
            to.push('\n');
        }
    }
}

fn ordered(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = members.iter().collect();
    all.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    all
}

/// Short enough to stand beside others of its kind.
fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() <= 30 && is_plain(text))
}

/// Whether it reads the same as a block of lines: no line may begin the block with a blank, and one line break ends it at most.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && text.lines().all(|line| !line.ends_with(' '))
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // Objects and arrays come here empty only.
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_first = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'/');
    bytes.first().is_some_and(is_first)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(byte))
        && !text.eq_ignore_ascii_case("null")
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "empty": {}, "none": [], "nothing": null, "yes": "no",
            "numbers": [1, -2, 0.5, "0123", "1e3", "0x1f", "12:30:00"],
            "texts": ["a: b", "- c", "# d", "%REQ(:METHOD)%", "", " blank ", "tab\t", "quote\"d", "*", "&a", "!t", "{}", "~", "é"],
            "nested": [{"name": "x", "list": [{"a": [["deep"], []]}], "z": {"b": true}}, {}, []],
            "block": "a: 1\n\nb:\n  - c # d\n", "chomped": "a\nb", "odd": "a\n\n", "led": " a\nb", "ragged": "a \nb",
        });
        let text = yaml(&value);
        let read: Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert_eq!(read, value, "{text}");
        assert!(text.starts_with("apiVersion: v1\nkind: ConfigMap\n"), "{text}");
        assert!(text.contains("\nblock: |\n  a: 1\n\n  b:\n    - c # d\n"), "{text}");
    }

    #[test]
    fn nothing_is_left_to_what_an_older_reader_makes_of_a_bare_word() {
        for word in
            ["yes", "No", "ON", "off", "y", "true", "Null", "012", "1_000", "1:20", ".5", "~", "<<", "="]
        {
            assert_eq!(yaml(&json!({ "a": word })), format!("a: \"{word}\"\n"));
        }
        assert_eq!(yaml(&json!({"a": "x-correlation-id"})), "a: x-correlation-id\n");
    }
}
