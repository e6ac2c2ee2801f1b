//! `schemas/hop-event.schema.json`: JSON Schema of one event as the query API answers it, made from the table of
//! fields and the vocabularies. Only tests need it: they hold the file current and hold real answers to it.

use correlation::IdKind;
use event::{Direction, Hop, HopEvent, Notes, Precision};
use serde_json::{Map, Value, json};

use super::answer::EventAnswer;

/// The form of one field in an answer.
fn member(name: &str, rust_type: &str) -> Value {
    let is_id = IdKind::ALL.iter().any(|kind| kind.name() == name);
    let words = |names: Vec<&str>| json!({ "type": "string", "enum": names });
    match (name, rust_type) {
        ("hop", _) => words(Hop::ALL.iter().map(|hop| hop.name()).collect()),
        ("direction", _) => words(Direction::ALL.iter().map(|direction| direction.name()).collect()),
        ("start_precision", _) => words(Precision::ALL.iter().map(|precision| precision.name()).collect()),
        ("notes", _) => {
            let names: Vec<&str> = Notes::ALL.iter().map(|(_, name)| *name).collect();
            json!({ "type": "array", "uniqueItems": true, "items": words(names) })
        }
        ("attributes", _) => json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 2 }],
            },
        }),
        ("received_ns" | "start_ns", _) => json!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^-?[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$",
        }),
        ("event_key" | "span_id" | "parent_span_id", _) => {
            json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
        }
        ("request_id_reason", _) => json!({ "type": "string", "pattern": "^[0-9a-f]$" }),
        ("client_address", _) => {
            json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
        }
        // 32 hex digits, a UUID, or the opaque text that was logged.
        _ if is_id => json!({ "type": "string", "minLength": 1 }),
        (_, "bool" | "Option<bool>") => json!({ "type": "boolean" }),
        (_, "u16") => json!({ "type": "integer", "minimum": 0, "maximum": u16::MAX }),
        (_, "u32" | "Option<u32>") => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        (_, "Option<u64>") => json!({ "type": "integer", "minimum": 0 }),
        (_, "f64") => json!({ "type": "number", "exclusiveMinimum": 0 }),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

/// The whole document.
fn schema() -> Value {
    let mut properties = Map::new();
    for field in HopEvent::FIELDS {
        let rust_type: String = field.rust_type.split_whitespace().collect();
        let mut form = member(field.name, &rust_type);
        form["description"] = field.doc.into();
        properties.insert(field.name.to_owned(), form);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Throughline hop event",
        "description": "One request as one hop saw it, as the query API answers it. Absent fields are left out: a \
                        field that is not there was not in the record, or had its default (status 0: none was sent).",
        "type": "object",
        "properties": properties,
        "required": ["hop", "direction", "start_precision"],
        "additionalProperties": false,
    })
}

/// Whether `value` has the form that `form` says: the few keywords that [`member`] uses.
fn fits(value: &Value, form: &Value) -> bool {
    let is_type = match form["type"].as_str() {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    let is_word = form["enum"].as_array().is_none_or(|words| words.contains(value));
    let all_fit = value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, &form["items"])));
    is_type && is_word && all_fit
}

#[test]
fn the_schema_in_the_tree_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/hop-event.schema.json");
    let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == generated,
        "schemas/hop-event.schema.json is old: run UPDATE_SCHEMAS=1 cargo test --bin throughline schema"
    );
}

#[test]
fn answers_have_the_form_that_the_schema_says() {
    let schema = schema();
    let mix = testkit::Mix::new(3);
    let mut events = 0;
    for event in mix.events(100) {
        events += 1;
        let EventAnswer(answer) = EventAnswer::from(&event);
        for (name, value) in &answer {
            let form = &schema["properties"][name];
            assert!(fits(value, form), "{name}: {value} is not {form}");
        }
        let required = schema["required"].as_array().unwrap();
        assert!(required.iter().all(|name| answer.contains_key(name.as_str().unwrap())));
    }
    assert!(events > 0);
}
