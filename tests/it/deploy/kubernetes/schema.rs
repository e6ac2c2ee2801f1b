//! The part of JSON Schema that Kubernetes' published schemas use. A keyword that is not known here fails the check instead of
//! being passed over.

use std::path::Path;

use serde_json::Value;

/// Keywords that say nothing about whether an object is valid by itself.
const TALK: [&str; 5] = ["description", "$schema", "$id", "format", "default"];

/// All definitions of one release, unknown fields refused.
pub(super) struct Schemas(Value);

impl Schemas {
    pub(super) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup-tests", file.display()));
        Self(serde_json::from_str(&text).unwrap())
    }

    /// What is wrong with an object, each with its place.
    pub(super) fn check(&self, object: &Value) -> Vec<String> {
        let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", object["apiVersion"].as_str().unwrap()),
        };
        let is_kind = |schema: &Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| {
                kinds.iter().any(|it| {
                    it["group"] == group && it["version"] == version && it["kind"] == object["kind"]
                })
            })
        };
        let definitions = self.0["$defs"].as_object().unwrap();
        let Some(schema) = definitions.values().find(|schema| is_kind(schema)) else {
            return vec![format!("no schema for {} {}", object["apiVersion"], object["kind"])];
        };
        let mut wrong = Vec::new();
        self.walk(schema, object, "", &mut wrong);
        wrong
    }

    fn walk(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit_once('/').unwrap().1;
            return self.walk(&self.0["$defs"][name], value, at, wrong);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            // Quantities and ports: a number or a text.
            if !choices.iter().any(|choice| is_type(&choice["type"], value)) {
                wrong.push(format!("{at}: not {}", schema["oneOf"]));
            }
            return;
        }
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "type" if !is_type(rule, value) => wrong.push(format!("{at}: not {rule}")),
                "enum" if !value.is_null() && !rule.as_array().unwrap().contains(value) => {
                    wrong.push(format!("{at}: none of {rule}"));
                }
                "required" => {
                    let missing = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|name| value.get(name.as_str().unwrap()).is_none());
                    wrong.extend(missing.map(|name| format!("{at}: {} is missing", name.as_str().unwrap())));
                }
                "items" => {
                    for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.walk(rule, item, &format!("{at}.{nth}"), wrong);
                    }
                }
                "properties" | "additionalProperties" | "type" | "enum" => {}
                other if TALK.contains(&other) || other.starts_with("x-kubernetes-") => {}
                other => wrong.push(format!("{at}: the schema says {other}, which is not known here")),
            }
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(rule), _) => self.walk(rule, member, &at, wrong),
                (None, rule @ Value::Object(_)) => self.walk(rule, member, &at, wrong),
                (None, Value::Bool(false)) => wrong.push(format!("{at}: unknown field")),
                (None, _) => {}
            }
        }
    }
}

fn is_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        _ => false,
    };
    rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
}
