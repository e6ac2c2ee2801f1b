//! A query as a condition on single records: every record of a span that fits the query fits it, and some others do.

use store::query::tempo::{Column, Comparison, Filter, Operand, Operator, Value};

use super::{Condition, Expression, Field, Intrinsic, Literal, Query, Spansets};

impl Query {
    /// What a record must say to be worth a look. A trace needs a record for each spanset, so one for any of them.
    pub(in crate::api::tempo) fn prefilter(&self) -> Filter {
        match &self.spansets {
            // What is said of the root alone, the root's own record fits.
            Spansets::One(expression) if expression.is_of_the_root() => expression.root_filter(),
            spansets => spansets.prefilter(),
        }
    }

    /// An id, as it was written, that every trace that fits must carry, where the query names one: it is looked up,
    /// not searched for.
    pub(in crate::api::tempo) fn id(&self) -> Option<&str> {
        match &self.spansets {
            Spansets::One(expression) => expression.id(),
            Spansets::All(all) => all.iter().find_map(|one| match one {
                Spansets::One(expression) => expression.id(),
                _ => None,
            }),
            Spansets::Any(_) => None,
        }
    }
}

impl Spansets {
    fn prefilter(&self) -> Filter {
        match self {
            Self::One(expression) => expression.prefilter(),
            Self::All(inner) => {
                // The most telling one would do; that is the one with a condition that a record can answer.
                let filters: Vec<_> = inner.iter().map(Self::prefilter).collect();
                let telling = filters.iter().find(|filter| **filter != Filter::ANYTHING).cloned();
                telling.unwrap_or(Filter::ANYTHING)
            }
            Self::Any(inner) => Filter::Any(inner.iter().map(Self::prefilter).collect()),
        }
    }
}

impl Expression {
    fn prefilter(&self) -> Filter {
        match self {
            Self::All(inner) => {
                let filters = inner.iter().map(Self::prefilter);
                let mut telling: Vec<_> = filters.filter(|filter| *filter != Filter::ANYTHING).collect();
                match telling.len() {
                    1 => telling.remove(0),
                    _ => Filter::All(telling),
                }
            }
            Self::Any(inner) => {
                let filters: Vec<_> = inner.iter().map(Self::prefilter).collect();
                if filters.contains(&Filter::ANYTHING) { Filter::ANYTHING } else { Filter::Any(filters) }
            }
            Self::Is(condition) => condition.prefilter(),
        }
    }

    /// Whether every condition is one of the root, and there is one.
    fn is_of_the_root(&self) -> bool {
        match self {
            Self::All(inner) | Self::Any(inner) => {
                !inner.is_empty() && inner.iter().all(Self::is_of_the_root)
            }
            Self::Is(condition) => condition.root_column().is_some(),
        }
    }

    fn root_filter(&self) -> Filter {
        match self {
            Self::All(inner) => Filter::All(inner.iter().map(Self::root_filter).collect()),
            Self::Any(inner) => Filter::Any(inner.iter().map(Self::root_filter).collect()),
            Self::Is(condition) => match condition.root_column().and_then(Column::named) {
                Some(column) => condition.comparison(Operand::Column(column)),
                None => Filter::ANYTHING,
            },
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::All(inner) => inner.iter().find_map(Self::id),
            Self::Any(_) => None,
            Self::Is(condition) => condition.id(),
        }
    }
}

impl Field {
    /// The column, or unmapped field, that one record answers it with; `None` where only the whole trace can tell.
    pub(in crate::api::tempo) fn operand(&self) -> Option<Operand> {
        let column = |name: &str| Column::named(name).map(Operand::Column);
        match self {
            Self::Tag(tag) => column(tag.column),
            Self::Attribute(name) => Some(Operand::Attribute(name.clone())),
            Self::Intrinsic(intrinsic) => match intrinsic {
                Intrinsic::Name => column("span_name"),
                Intrinsic::Status => column("span_status"),
                Intrinsic::StatusMessage => column("span_status_message"),
                Intrinsic::Kind => column("span_kind"),
                Intrinsic::Duration => column("duration_ns"),
                Intrinsic::SpanId => column("span"),
                Intrinsic::ParentId
                | Intrinsic::TraceId
                | Intrinsic::RootService
                | Intrinsic::RootName
                | Intrinsic::TraceDuration
                | Intrinsic::AnyId
                | Intrinsic::Summary
                | Intrinsic::Complete
                | Intrinsic::Gaps => None,
            },
            Self::Unknown(_) => None,
        }
    }
}

impl Condition {
    fn prefilter(&self) -> Filter {
        if let Field::Unknown(_) = self.field {
            let fits = self.operator == Operator::Absent;
            return if fits { Filter::ANYTHING } else { Filter::Any(Vec::new()) };
        }
        // What only the whole trace can tell, no record contradicts.
        self.field.operand().map_or(Filter::ANYTHING, |operand| self.comparison(operand))
    }

    fn comparison(&self, operand: Operand) -> Filter {
        let value = match &self.value {
            Literal::Text(text) | Literal::Pattern(text, _) => Value::Text(text.clone()),
            Literal::Int(number) => Value::Int(*number),
            Literal::Float(number) => Value::Float(*number),
            Literal::Bool(flag) => Value::Bool(*flag),
            Literal::Nothing => Value::Bool(true),
        };
        Filter::Is(Comparison { operand, operator: self.operator, value })
    }

    /// The column that a root's own record answers it with.
    fn root_column(&self) -> Option<&'static str> {
        match self.field {
            Field::Intrinsic(Intrinsic::RootService) => Some("service_name"),
            Field::Intrinsic(Intrinsic::RootName) => Some("span_name"),
            _ => None,
        }
    }

    /// The id that is asked for, as it was written; `None` where the condition asks for none.
    pub(super) fn id(&self) -> Option<&str> {
        let is_id = match &self.field {
            Field::Intrinsic(Intrinsic::TraceId | Intrinsic::AnyId) => true,
            Field::Tag(tag) => {
                ["correlation_id", "request_id", "edge_request_id", "trace_id"].contains(&tag.column)
            }
            _ => false,
        };
        match (&self.value, self.operator) {
            (Literal::Text(text), Operator::Equal) if is_id => Some(text),
            _ => None,
        }
    }
}
