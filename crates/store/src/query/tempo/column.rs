//! A column of `events`, or an expression over columns, as searches and views read it.

use std::borrow::Cow;

use event::Notes;

use super::derived::{DERIVED, SPAN_ID};
use crate::batch::events::FIELDS;

/// The type of a column's values, as a search compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text; empty for "the record does not say".
    Text,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
}

/// Something that a search may compare, name values of, or show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    sql: Cow<'static, str>,
    present: Cow<'static, str>,
    shape: Shape,
}

impl Column {
    /// A field of the hop event, or a derived value, by name; `None` if there is neither.
    pub fn named(name: &str) -> Option<Self> {
        special(name)
            .or_else(|| DERIVED.iter().find(|row| row.0 == name).map(|row| Self::derived(row.1, row.2)))
            .or_else(|| {
                FIELDS.iter().find(|field| field.0 == name).and_then(|field| Self::field(field.0, field.1))
            })
    }

    fn derived(shape: Shape, sql: &'static str) -> Self {
        let absent = if shape == Shape::Text { "''" } else { "0" };
        Self { sql: sql.into(), present: format!("{sql} != {absent}").into(), shape }
    }

    fn field(name: &'static str, type_name: &str) -> Option<Self> {
        let (present, shape) = match type_name {
            "String" => (format!("{name} != ''"), Shape::Text),
            "Float64" => (format!("{name} != 0"), Shape::Float),
            "Bool" => (name.to_owned(), Shape::Bool),
            "Nullable(Bool)" => (format!("isNotNull({name})"), Shape::Bool),
            // Only numbers: times, ids and maps have no shape of their own.
            _ if type_name.starts_with("Nullable(UInt") => (format!("isNotNull({name})"), Shape::Int),
            _ if type_name.starts_with("UInt") => (format!("{name} != 0"), Shape::Int),
            _ => return None,
        };
        Some(Self { sql: name.into(), present: present.into(), shape })
    }

    /// An unmapped field of the record. Its name is a parameter, given as its placeholder.
    pub(super) fn attribute(placeholder: &str) -> Self {
        let sql = format!("attributes[{placeholder}]");
        let present = format!("{sql} != ''").into();
        Self { sql: sql.into(), present, shape: Shape::Text }
    }

    /// The value, as SQL.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether the record has it, as SQL.
    pub fn present(&self) -> &str {
        &self.present
    }

    /// The type of its values.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The value as text, empty where the record has none, as SQL.
    pub fn text(&self) -> String {
        match self.shape {
            Shape::Text => format!("toString({})", self.sql),
            _ => format!("if({}, toString(assumeNotNull({})), '')", self.present, self.sql),
        }
    }
}

/// Columns whose values are shown in another form than they are stored in.
fn special(name: &str) -> Option<Column> {
    let column = |sql: String, present: &str| {
        Some(Column { sql: sql.into(), present: present.to_owned().into(), shape: Shape::Text })
    };
    // Hex and addresses are empty where there is none, as text columns are.
    let optional = |present: &str, sql: &str| column(format!("if({present}, {sql}, '')"), present);
    match name {
        "hop" | "direction" | "start_precision" => column(format!("toString({name})"), "true"),
        "event_key" | "parent_span_id" | "span_id" => {
            optional(&format!("{name} != 0"), &format!("leftPad(lower(hex({name})), 16, '0')"))
        }
        "span" => column(format!("leftPad(lower(hex({SPAN_ID})), 16, '0')"), "true"),
        // As it was logged, where that text was kept.
        "correlation_id" | "request_id" | "edge_request_id" => optional(
            &format!("notEmpty({name})"),
            &format!("if(mapContains(attributes, '{name}'), attributes['{name}'], UUIDNumToString({name}))"),
        ),
        "trace_id" => optional(
            "notEmpty(trace_id)",
            "if(mapContains(attributes, 'trace_id'), attributes['trace_id'], lower(hex(trace_id)))",
        ),
        "client_address" => optional(
            "client_address != toIPv6('::')",
            "replaceRegexpOne(toString(client_address), '^::ffff:([0-9.]+)$', '\\\\1')",
        ),
        "notes" => optional("notes != 0", &notes()),
        _ => None,
    }
}

/// The names of the notes, comma-separated.
fn notes() -> String {
    let pairs: Vec<_> = Notes::ALL.iter().map(|(note, name)| format!("({}, '{name}')", note.0)).collect();
    format!(
        "arrayStringConcat(arrayMap(note -> note.2, arrayFilter(note -> bitAnd(notes, note.1) != 0, [{}])), ',')",
        pairs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_shape_is_a_column_and_the_rest_is_not() {
        assert_eq!(Column::named("path").unwrap().shape(), Shape::Text);
        assert_eq!(Column::named("status").unwrap().present(), "status != 0");
        assert_eq!(Column::named("to_shield").unwrap().shape(), Shape::Bool);
        assert_eq!(Column::named("server_port").unwrap().shape(), Shape::Int);
        for no_column in ["start_ns", "attributes", "'; DROP TABLE events", ""] {
            assert_eq!(Column::named(no_column), None, "{no_column}");
        }
    }
}
