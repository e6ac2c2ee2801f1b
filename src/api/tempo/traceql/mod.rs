//! The part of TraceQL that one record can answer: what Grafana's search form writes, and what people type first.
//!
//! `{ conditions }` joined by `&&` and `||`, parentheses included; `| select(fields)` and `with (hints)` behind them. A
//! condition compares a field with a value by `=`, `!=`, `<`, `<=`, `>`, `>=`, `=~` or `!~` (regular expressions fit
//! the whole text), or with `nil`. Structural operators, aggregates, arithmetic and metrics are refused with a sentence.
//!
//! Values of two types are neither the same nor different: a comparison with a record that does not say the field, or
//! says it in another type, does not fit, whatever the operator.

mod field;
mod lexer;
mod matching;
mod parser;
mod prefilter;
#[cfg(test)]
mod tests;

pub(super) use field::{Field, INTRINSICS, Intrinsic};
pub(super) use lexer::duration_ns;
pub(super) use matching::{Trace, text_of};
pub(super) use parser::{parse, parse_lenient};

/// Longest query, bytes.
const MAX_QUERY_BYTES: usize = 4_096;
/// Most conditions of a query.
const MAX_CONDITIONS: usize = 64;
/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 16;

/// A query.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Which traces, by the spans they have.
    pub(super) spansets: Spansets,
    /// Fields to show of each span beside those that are compared.
    pub(super) select: Vec<Field>,
}

/// Conditions on a trace: that it has spans that fit.
#[derive(Debug, Clone)]
pub(super) enum Spansets {
    /// Has a span that fits.
    One(Expression),
    /// All of these.
    All(Vec<Spansets>),
    /// One of these.
    Any(Vec<Spansets>),
}

/// Conditions on one span.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// All of these; none is always true.
    All(Vec<Expression>),
    /// One of these; none is never true.
    Any(Vec<Expression>),
    /// A comparison.
    Is(Condition),
}

/// A field against a value.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) field: Field,
    pub(super) operator: store::query::tempo::Operator,
    pub(super) value: Literal,
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// The text of a regular expression, and what it compiles to.
    Pattern(String, regex::Regex),
    /// `nil`.
    Nothing,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "TraceQL at character {at}: {what}. Understood are spansets such as {{ resource.service.name = \"cart\" && \
     span.http.response.status_code >= 500 && duration > 100ms }}, joined by && and ||, and `| select(fields)` behind \
     them; not structural operators, aggregates, arithmetic and metrics"
)]
pub(super) struct Refused {
    /// Bytes before the place.
    pub(super) at: usize,
    pub(super) what: String,
}

impl Query {
    /// A query that every span fits which fits all of these.
    pub(super) fn of(conditions: Vec<Condition>) -> Self {
        let all = conditions.into_iter().map(Expression::Is).collect();
        Self { spansets: Spansets::One(Expression::All(all)), select: Vec::new() }
    }

    /// The same query, whose spans must also fit all of these.
    pub(super) fn and(self, conditions: Vec<Condition>) -> Self {
        if conditions.is_empty() {
            return self;
        }
        let spansets = Spansets::All(vec![self.spansets, Self::of(conditions).spansets]);
        Self { spansets, select: self.select }
    }

    /// Fields that are compared or selected, each once.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        self.spansets.conditions(&mut |condition| fields.push(condition.field.clone()));
        fields.extend(self.select.iter().cloned());
        let mut once: Vec<Field> = Vec::new();
        for field in fields {
            if !once.contains(&field) {
                once.push(field);
            }
        }
        once
    }
}

impl Spansets {
    fn conditions<'s>(&'s self, each: &mut impl FnMut(&'s Condition)) {
        match self {
            Self::One(expression) => expression.conditions(each),
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|it| it.conditions(each)),
        }
    }
}

impl Expression {
    fn conditions<'s>(&'s self, each: &mut impl FnMut(&'s Condition)) {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|it| it.conditions(each)),
            Self::Is(condition) => each(condition),
        }
    }
}
