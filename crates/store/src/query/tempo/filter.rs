//! What a record must say, as a condition in SQL whose values are parameters.

use super::column::{Column, Shape};

/// A condition over one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these; none is always true.
    All(Vec<Filter>),
    /// One of these; none is never true.
    Any(Vec<Filter>),
    /// A comparison.
    Is(Comparison),
}

/// What a record says against a value. A record that does not say it fits no comparison but [`Operator::Absent`].
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is compared.
    pub operand: Operand,
    /// How.
    pub operator: Operator,
    /// With what; not used by `Present` and `Absent`.
    pub value: Value,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A column, or an expression over columns.
    Column(Column),
    /// An unmapped field of the record, by name.
    Attribute(String),
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The same.
    Equal,
    /// Another.
    NotEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
    /// More.
    Greater,
    /// More or the same.
    GreaterOrEqual,
    /// The whole text fits a regular expression.
    Matches,
    /// The whole text does not fit a regular expression.
    DoesNotMatch,
    /// The value as text contains a text, whatever the case.
    Contains,
    /// The record says it.
    Present,
    /// The record does not say it.
    Absent,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// Parameters of a statement, by name.
pub(super) type Parameters = Vec<(String, String)>;

impl Filter {
    /// Fits every record.
    pub const ANYTHING: Self = Self::All(Vec::new());

    /// The condition in SQL; its values go to `parameters`.
    pub(super) fn sql(&self, parameters: &mut Parameters) -> String {
        let mut join = |filters: &[Self], word: &str, none: &str| {
            let parts: Vec<_> = filters.iter().map(|filter| filter.sql(parameters)).collect();
            if parts.is_empty() { none.to_owned() } else { format!("({})", parts.join(word)) }
        };
        match self {
            Self::All(filters) => join(filters, " AND ", "true"),
            Self::Any(filters) => join(filters, " OR ", "false"),
            Self::Is(comparison) => comparison.sql(parameters),
        }
    }
}

fn parameter(value: String, kind: &str, parameters: &mut Parameters) -> String {
    let name = format!("p{}", parameters.len());
    let placeholder = format!("{{{name}:{kind}}}");
    parameters.push((name, value));
    placeholder
}

impl Comparison {
    fn sql(&self, parameters: &mut Parameters) -> String {
        let attribute;
        let column = match &self.operand {
            Operand::Column(column) => column,
            Operand::Attribute(name) => {
                attribute = Column::attribute(&parameter(name.clone(), "String", parameters));
                &attribute
            }
        };
        let present = column.present();
        let sign = match self.operator {
            Operator::Present => return format!("({present})"),
            Operator::Absent => return format!("(NOT ({present}))"),
            Operator::Contains => {
                let Value::Text(text) = &self.value else { return "false".to_owned() };
                let text = parameter(text.clone(), "String", parameters);
                return format!("(positionCaseInsensitive({}, {text}) > 0)", column.text());
            }
            Operator::Matches | Operator::DoesNotMatch => {
                let (Value::Text(pattern), Shape::Text) = (&self.value, column.shape()) else {
                    return "false".to_owned();
                };
                let pattern = parameter(format!("^(?:{pattern})$"), "String", parameters);
                let not = if self.operator == Operator::Matches { "" } else { "NOT " };
                return format!("({present} AND {not}match({}, {pattern}))", column.sql());
            }
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
        };
        let value = match (column.shape(), &self.value) {
            (Shape::Text, Value::Text(text)) => parameter(text.clone(), "String", parameters),
            (Shape::Int | Shape::Float, Value::Int(number)) => {
                parameter(number.to_string(), "Int64", parameters)
            }
            (Shape::Int | Shape::Float, Value::Float(number)) => {
                parameter(number.to_string(), "Float64", parameters)
            }
            (Shape::Bool, Value::Bool(flag)) => parameter(flag.to_string(), "Bool", parameters),
            // Values of two types are neither the same nor one more than the other.
            _ => return "false".to_owned(),
        };
        format!("({present} AND {} {sign} {value})", column.sql())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(column: &str, operator: Operator, value: Value) -> Filter {
        Filter::Is(Comparison { operand: Operand::Column(Column::named(column).unwrap()), operator, value })
    }

    #[test]
    fn values_are_parameters() {
        let hostile = "x' OR 1 = 1 --";
        let filter = Filter::All(vec![
            is("host", Operator::Equal, Value::Text(hostile.into())),
            Filter::Any(vec![
                is("status", Operator::GreaterOrEqual, Value::Int(500)),
                Filter::Is(Comparison {
                    operand: Operand::Attribute(hostile.into()),
                    operator: Operator::Matches,
                    value: Value::Text("a|b".into()),
                }),
            ]),
        ]);
        let mut parameters = Parameters::new();
        assert_eq!(
            filter.sql(&mut parameters),
            "((host != '' AND host = {p0:String}) AND ((status != 0 AND status >= {p1:Int64}) OR \
             (attributes[{p2:String}] != '' AND match(attributes[{p2:String}], {p3:String}))))"
        );
        let values: Vec<_> = parameters.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [hostile, "500", hostile, "^(?:a|b)$"]);
    }

    #[test]
    fn values_of_two_types_never_compare() {
        let mut parameters = Parameters::new();
        for filter in [
            is("status", Operator::Equal, Value::Text("200".into())),
            is("host", Operator::Less, Value::Int(1)),
            is("status", Operator::Matches, Value::Text("2..".into())),
            is("to_shield", Operator::Equal, Value::Int(1)),
        ] {
            assert_eq!(filter.sql(&mut parameters), "false");
        }
        assert!(parameters.is_empty());
        assert_eq!(Filter::ANYTHING.sql(&mut parameters), "true");
        assert_eq!(Filter::Any(Vec::new()).sql(&mut parameters), "false");
    }
}
