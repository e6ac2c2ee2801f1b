//! A query against an assembled request: the exact answer, from the same readings that become attributes.

use std::cmp::Ordering;

use correlation::Id;
use store::query::tempo::Operator;
use trace::Request;
use trace::otlp::{Reading, Tag, gap_text, is_client, is_error, span_name, status_message};

use super::{Condition, Expression, Field, Intrinsic, Literal, Query, Spansets};

/// A request as a trace, with what all its spans share.
#[derive(Debug)]
pub(in crate::api::tempo) struct Trace<'r> {
    request: &'r Request,
    trace_id: String,
    root_service: String,
    root_name: String,
    /// First start to last end, by raw clocks, nanoseconds.
    duration_ns: i64,
    start_ns: i64,
}

impl<'r> Trace<'r> {
    pub(in crate::api::tempo) fn new(request: &'r Request) -> Self {
        let root = request.entry().map(|span| &span.event);
        let service = Tag::named(None, "service.name");
        let root_service = match root.zip(service).and_then(|(root, tag)| tag.read(root)) {
            Some(Reading::Text(text)) => text.into_owned(),
            _ => String::new(),
        };
        let start_ns = request.spans.iter().map(|span| span.event.start_ns).min().unwrap_or(0);
        let end_ns = request.spans.iter().map(trace::Span::end_ns).max().unwrap_or(start_ns);
        Self {
            request,
            trace_id: format!("{:032x}", request.trace_id),
            root_service,
            root_name: root.map(span_name).unwrap_or_default(),
            duration_ns: end_ns.saturating_sub(start_ns),
            start_ns,
        }
    }

    pub(in crate::api::tempo) fn root_service(&self) -> &str {
        &self.root_service
    }

    pub(in crate::api::tempo) fn root_name(&self) -> &str {
        &self.root_name
    }

    pub(in crate::api::tempo) fn duration_ns(&self) -> i64 {
        self.duration_ns
    }

    pub(in crate::api::tempo) fn start_ns(&self) -> i64 {
        self.start_ns
    }

    /// What the span at `index` says of a field.
    pub(in crate::api::tempo) fn read<'s>(&'s self, index: usize, field: &Field) -> Option<Reading<'s>> {
        let span = self.request.spans.get(index)?;
        let text = |text: &'s str| (!text.is_empty()).then_some(Reading::Text(text.into()));
        match field {
            Field::Tag(tag) => tag.read(&span.event),
            Field::Attribute(name) => {
                let pair = span.event.attributes.iter().find(|(own, _)| own == name);
                pair.and_then(|(_, value)| text(value))
            }
            Field::Unknown(_) => None,
            Field::Intrinsic(intrinsic) => match intrinsic {
                Intrinsic::Name => Some(Reading::Text(span_name(&span.event).into())),
                Intrinsic::Status => text(if is_error(&span.event) { "error" } else { "unset" }),
                Intrinsic::StatusMessage => text(status_message(&span.event)),
                Intrinsic::Kind => text(if is_client(&span.event) { "client" } else { "server" }),
                Intrinsic::Duration => {
                    span.event.duration_ns.map(|ns| Reading::Int(i64::try_from(ns).unwrap_or(i64::MAX)))
                }
                Intrinsic::SpanId => Some(Reading::Text(format!("{:016x}", span.span_id).into())),
                Intrinsic::ParentId => {
                    let parent = self.request.spans.get(span.link.as_ref()?.parent)?;
                    Some(Reading::Text(format!("{:016x}", parent.span_id).into()))
                }
                Intrinsic::TraceId => text(&self.trace_id),
                Intrinsic::RootService => text(&self.root_service),
                Intrinsic::RootName => text(&self.root_name),
                Intrinsic::TraceDuration => Some(Reading::Int(self.duration_ns)),
                Intrinsic::AnyId | Intrinsic::Summary | Intrinsic::Complete | Intrinsic::Gaps
                    if index != 0 =>
                {
                    None
                }
                Intrinsic::AnyId => text(&self.trace_id),
                Intrinsic::Summary => Some(Reading::Text(trace::summary(self.request).into())),
                Intrinsic::Complete => Some(Reading::Bool(self.request.is_complete())),
                Intrinsic::Gaps => {
                    let gaps: Vec<String> = self.request.gaps.iter().map(gap_text).collect();
                    (!gaps.is_empty()).then(|| Reading::Text(gaps.join("; ").into()))
                }
            },
        }
    }
}

impl Query {
    /// The spans (indices) of the trace that fit; empty where the trace does not fit.
    pub(in crate::api::tempo) fn spans(&self, trace: &Trace<'_>) -> Vec<usize> {
        self.spansets.spans(trace)
    }
}

impl Spansets {
    fn spans(&self, trace: &Trace<'_>) -> Vec<usize> {
        match self {
            Self::One(expression) => {
                (0..trace.request.spans.len()).filter(|&index| expression.fits(trace, index)).collect()
            }
            Self::All(inner) => {
                let each: Vec<_> = inner.iter().map(|one| one.spans(trace)).collect();
                if each.iter().any(Vec::is_empty) { Vec::new() } else { merged(each) }
            }
            Self::Any(inner) => merged(inner.iter().map(|one| one.spans(trace)).collect()),
        }
    }
}

fn merged(lists: Vec<Vec<usize>>) -> Vec<usize> {
    let mut all: Vec<usize> = lists.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Expression {
    fn fits(&self, trace: &Trace<'_>, index: usize) -> bool {
        match self {
            Self::All(inner) => inner.iter().all(|one| one.fits(trace, index)),
            Self::Any(inner) => inner.iter().any(|one| one.fits(trace, index)),
            Self::Is(condition) if condition.field == Field::Intrinsic(Intrinsic::AnyId) => {
                let carried =
                    |asked| trace.request.carries(&Id::candidates(asked)) || trace.trace_id == asked;
                index == 0 && condition.id().is_none_or(carried)
            }
            Self::Is(condition) => condition.fits(trace.read(index, &condition.field)),
        }
    }
}

impl Condition {
    fn fits(&self, reading: Option<Reading<'_>>) -> bool {
        let Some(reading) = reading else { return self.operator == Operator::Absent };
        // An id is the same in whatever form it is written.
        if let Some(asked) = self.id() {
            let asked = Id::candidates(asked);
            return Id::candidates(&text_of(&reading)).iter().any(|id| asked.contains(id));
        }
        match self.operator {
            Operator::Present => return true,
            Operator::Absent => return false,
            Operator::Contains => {
                let Literal::Text(wanted) = &self.value else { return false };
                return text_of(&reading).to_lowercase().contains(&wanted.to_lowercase());
            }
            Operator::Matches | Operator::DoesNotMatch => {
                let (Literal::Pattern(_, pattern), Reading::Text(text)) = (&self.value, &reading) else {
                    return false;
                };
                return pattern.is_match(text) == (self.operator == Operator::Matches);
            }
            _ => {}
        }
        let Some(order) = order(&reading, &self.value) else { return false };
        match self.operator {
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }
    }
}

/// How a reading stands to a value; `None` for two types.
fn order(reading: &Reading<'_>, value: &Literal) -> Option<Ordering> {
    match (reading, value) {
        (Reading::Text(a), Literal::Text(b)) => Some(a.as_ref().cmp(b)),
        (Reading::Int(a), Literal::Int(b)) => Some(a.cmp(b)),
        (Reading::Int(a), Literal::Float(b)) => (*a as f64).partial_cmp(b),
        (Reading::Float(a), Literal::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Reading::Float(a), Literal::Float(b)) => a.partial_cmp(b),
        (Reading::Bool(a), Literal::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A reading as text.
pub(in crate::api::tempo) fn text_of(reading: &Reading<'_>) -> String {
    match reading {
        Reading::Text(text) => text.to_string(),
        Reading::Int(number) => number.to_string(),
        Reading::Float(number) => number.to_string(),
        Reading::Bool(flag) => flag.to_string(),
    }
}
