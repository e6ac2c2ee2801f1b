//! Small readings of text that Envoy's formats share.

use std::borrow::Cow;

use event::{HopEvent, Text};

use crate::coerce::Scalar;

pub(super) fn is_same_path(sent: &str, event: &HopEvent<'_>) -> bool {
    let (path, query) = sent.split_once('?').unwrap_or((sent, ""));
    path == event.path && query == event.query
}

/// Path and query, without the `?`.
pub(super) fn split_query(text: Text<'_>) -> (Text<'_>, Text<'_>) {
    match text {
        Cow::Borrowed(text) => {
            let (path, query) = text.split_once('?').unwrap_or((text, ""));
            (path.into(), query.into())
        }
        Cow::Owned(text) => match text.split_once('?') {
            Some((path, query)) => (path.to_owned().into(), query.to_owned().into()),
            None => (text.into(), "".into()),
        },
    }
}

/// `%UPSTREAM_CLUSTER%` shows the alternative stat name, which newer Istio ends with `;`.
pub(super) fn without_suffix(text: Text<'_>) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix(';').unwrap_or(text)),
        Cow::Owned(mut text) => {
            if text.ends_with(';') {
                text.pop();
            }
            Cow::Owned(text)
        }
    }
}

pub(super) fn hex64(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|&id| is_hex && id != 0)
}

/// A gRPC status as number or as one of Envoy's three ways to write its name.
pub(super) fn grpc_number(value: &Scalar<'_>) -> Option<u32> {
    const NAMES: [&str; 17] = [
        "ok",
        "canceled",
        "unknown",
        "invalidargument",
        "deadlineexceeded",
        "notfound",
        "alreadyexists",
        "permissiondenied",
        "resourceexhausted",
        "failedprecondition",
        "aborted",
        "outofrange",
        "unimplemented",
        "internal",
        "unavailable",
        "dataloss",
        "unauthenticated",
    ];
    if let Some(number) = value.to_u64() {
        return u32::try_from(number).ok();
    }
    let Scalar::Text(text) = value else { return None };
    let name: String = text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
    NAMES.iter().position(|known| *known == name).map(|at| at as u32)
}
