//! What a query may name: attributes by the table of `trace::otlp`, unmapped fields, and what a span or its trace has
//! besides attributes.

use trace::otlp::{ATTRIBUTE_PREFIX, Scope, Tag};

/// Something that a query compares or selects.
#[derive(Debug, Clone)]
pub(in crate::api::tempo) enum Field {
    /// An attribute of the table.
    Tag(&'static Tag),
    /// What a span or its trace has besides attributes.
    Intrinsic(Intrinsic),
    /// An unmapped field of the records, by its own name.
    Attribute(String),
    /// No span has it; the name as it was written.
    Unknown(String),
}

/// What a span or its trace has besides attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api::tempo) enum Intrinsic {
    Name,
    Status,
    StatusMessage,
    Kind,
    Duration,
    SpanId,
    ParentId,
    TraceId,
    RootService,
    RootName,
    TraceDuration,
    /// Any id that the request carries, of whatever kind. The rest of these are the root's alone.
    AnyId,
    Summary,
    Complete,
    Gaps,
}

/// What the assembly finds out of a request: attributes of the root by their spelling, in no record.
const FOUND: &[(&str, Intrinsic)] = &[
    ("throughline.id", Intrinsic::AnyId),
    ("throughline.summary", Intrinsic::Summary),
    ("throughline.complete", Intrinsic::Complete),
    ("throughline.gaps", Intrinsic::Gaps),
];

/// Every spelling of an intrinsic, as TraceQL has them; the first of each is the one that is listed.
pub(in crate::api::tempo) const INTRINSICS: &[(&str, Intrinsic)] = &[
    ("name", Intrinsic::Name),
    ("status", Intrinsic::Status),
    ("statusMessage", Intrinsic::StatusMessage),
    ("kind", Intrinsic::Kind),
    ("duration", Intrinsic::Duration),
    ("span:id", Intrinsic::SpanId),
    ("span:parentID", Intrinsic::ParentId),
    ("trace:id", Intrinsic::TraceId),
    ("rootServiceName", Intrinsic::RootService),
    ("rootName", Intrinsic::RootName),
    ("traceDuration", Intrinsic::TraceDuration),
    ("span:name", Intrinsic::Name),
    ("span:status", Intrinsic::Status),
    ("span:statusMessage", Intrinsic::StatusMessage),
    ("span:kind", Intrinsic::Kind),
    ("span:duration", Intrinsic::Duration),
    ("trace:rootService", Intrinsic::RootService),
    ("trace:rootName", Intrinsic::RootName),
    ("trace:duration", Intrinsic::TraceDuration),
];

/// Scopes of TraceQL that hop events have nothing in.
const EMPTY_SCOPES: &[&str] = &["event.", "link.", "instrumentation.", "parent."];

impl Field {
    /// An attribute by scope (any where `None`) and name. What no record says is a field all the same: it is absent.
    pub(in crate::api::tempo) fn attribute(scope: Option<Scope>, name: &str) -> Self {
        if let Some(tag) = Tag::named(scope, name) {
            return Self::Tag(tag);
        }
        let found = FOUND.iter().find(|(own, _)| *own == name && scope != Some(Scope::Resource));
        if let Some((_, found)) = found {
            return Self::Intrinsic(*found);
        }
        match name.strip_prefix(ATTRIBUTE_PREFIX) {
            Some(own) if scope != Some(Scope::Resource) => Self::Attribute(own.to_owned()),
            _ => Self::Unknown(name.to_owned()),
        }
    }

    /// A field as TraceQL names it: `resource.service.name`, `.http.route`, `status`, `trace:id`. `None` for what is no
    /// name of TraceQL, or of a scope that is always empty here.
    pub(in crate::api::tempo) fn named(text: &str) -> Option<Self> {
        if let Some((_, intrinsic)) = INTRINSICS.iter().find(|(name, _)| *name == text) {
            return Some(Self::Intrinsic(*intrinsic));
        }
        let scopes = [("resource.", Some(Scope::Resource)), ("span.", Some(Scope::Span)), (".", None)];
        let scoped = scopes.into_iter().find_map(|(prefix, scope)| Some((scope, text.strip_prefix(prefix)?)));
        scoped.filter(|(_, name)| !name.is_empty()).map(|(scope, name)| Self::attribute(scope, name))
    }

    /// Whether the text is of a scope that is always empty here.
    pub(super) fn is_of_empty_scope(text: &str) -> bool {
        EMPTY_SCOPES.iter().any(|scope| text.starts_with(scope))
    }

    /// Whether an answer shows it beside a span: not what every span has a place of its own for, nor what is the same
    /// for the whole trace.
    pub(in crate::api::tempo) fn is_shown(&self) -> bool {
        matches!(
            self,
            Self::Tag(_)
                | Self::Attribute(_)
                | Self::Intrinsic(Intrinsic::Status | Intrinsic::StatusMessage | Intrinsic::Kind)
                | Self::Intrinsic(Intrinsic::Summary | Intrinsic::Complete | Intrinsic::Gaps)
        )
    }

    /// Whether it tells of a person. The address of a peer is made of the downstream's.
    pub(in crate::api::tempo) fn is_personal(&self) -> bool {
        match self {
            Self::Tag(tag) => {
                event::is_personal(tag.column) || matches!(tag.column, "peer_address" | "peer_port")
            }
            Self::Attribute(_) => true,
            Self::Intrinsic(_) | Self::Unknown(_) => false,
        }
    }

    /// The name that an answer shows it under.
    pub(in crate::api::tempo) fn shown(&self) -> String {
        match self {
            Self::Tag(tag) => tag.name.to_owned(),
            Self::Intrinsic(intrinsic) => {
                let name = INTRINSICS.iter().chain(FOUND).find(|(_, it)| it == intrinsic);
                name.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
            }
            Self::Attribute(name) => format!("{ATTRIBUTE_PREFIX}{name}"),
            Self::Unknown(name) => name.clone(),
        }
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tag(a), Self::Tag(b)) => a.name == b.name && a.scope == b.scope,
            (Self::Intrinsic(a), Self::Intrinsic(b)) => a == b,
            (Self::Attribute(a), Self::Attribute(b)) | (Self::Unknown(a), Self::Unknown(b)) => a == b,
            _ => false,
        }
    }
}
