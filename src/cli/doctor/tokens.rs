//! Whether each source opens to its token and to no other. What is sent is empty: no record comes of it, only one
//! delivery without records in the books.

use super::finding::Finding;
use super::given::Given;
use crate::api::answer::{EntranceAnswer, ServiceAnswer};

/// What a source answered to an empty delivery.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    pub(super) source: EntranceAnswer,
    /// With its token, or without one where it needs none; absent where no token was given.
    pub(super) right: Option<Reply>,
    /// With a token that nobody has; absent where it needs none.
    pub(super) wrong: Option<Reply>,
}

/// A status, in HTTP's numbers also for gRPC; 0 and why for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) said: String,
}

impl Reply {
    /// gRPC's code as the status that the same refusal has over HTTP.
    pub(super) fn of_grpc(code: &str, said: String) -> Self {
        let status = match code {
            "" | "0" => 200,
            "16" => 401,
            "7" => 403,
            "5" | "12" => 404,
            _ => 503,
        };
        Self { status, said }
    }
}

pub(super) fn check(given: &Given, service: &ServiceAnswer, tried: &[Tried]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut open, mut closed, mut untried) = (Vec::new(), Vec::new(), Vec::new());
    for one in tried {
        let name = format!("{} ({})", one.source.source, one.source.kind);
        let before = findings.len();
        findings.extend(one.wrong.as_ref().and_then(|reply| wrong(&name, reply)));
        match &one.right {
            None if one.source.needs_token => untried.push(one.source.source.as_str()),
            None => {}
            Some(reply) => findings.extend(right(&name, &one.source, reply)),
        }
        if findings.len() == before && one.right.is_some() {
            let list = if one.source.needs_token { &mut closed } else { &mut open };
            list.push(one.source.source.as_str());
        }
    }
    if !closed.is_empty() {
        let what = format!("open to their token and to no other: {}", closed.join(", "));
        findings.insert(0, Finding::ok("tokens", what));
    }
    if !open.is_empty() {
        let what = format!("{} take deliveries without a token", open.join(", "));
        let inside = given.is_local() && !service.http.tls;
        findings.push(if inside {
            Finding::ok("tokens", what)
        } else {
            Finding::problem(
                "tokens",
                what,
                "whoever reaches the port can write: give each [[source]] a token",
            )
        });
    }
    if !untried.is_empty() {
        let what = format!("not tried: {}", untried.join(", "));
        let advice =
            "pass --config with the service's file, or --source-token NAME=TOKEN, to see whether they open";
        findings.push(Finding::note("tokens", what, advice));
    }
    findings
}

fn right(name: &str, source: &EntranceAnswer, reply: &Reply) -> Option<Finding> {
    match reply.status {
        200 => None,
        401 => Some(Finding::problem(
            "tokens",
            format!("{name} does not open to the token that it was given here (401)"),
            format!(
                "a sender with that token is refused for good: compare it with the [[source]], and the header, which is `{}`; \
                 `throughline token` makes a token with its hash",
                source.header
            ),
        )),
        403 | 503 if source.is_bounded => Some(Finding::note(
            "tokens",
            format!("{name} cannot be tried from here: {}", reply.said),
            "it takes deliveries from its listed addresses or certificates only; ask from one of them",
        )),
        0 => Some(Finding::problem(
            "tokens",
            format!("{name} does not answer: {}", reply.said),
            "look at `ports` above",
        )),
        status => Some(Finding::problem(
            "tokens",
            format!("{name} refuses an empty delivery with its token ({status}): {}", reply.said),
            "503 means later: look at `service` and `spool`; 404: a proxy before the service does not pass the path on",
        )),
    }
}

fn wrong(name: &str, reply: &Reply) -> Option<Finding> {
    match reply.status {
        401 | 403 | 503 | 0 => None,
        200 => Some(Finding::problem(
            "tokens",
            format!("{name} takes a delivery with a token that nobody has"),
            "a proxy before the service adds a token to whatever comes: take that away",
        )),
        status => Some(Finding::note(
            "tokens",
            format!("{name} refuses a wrong token with {status} instead of 401: {}", reply.said),
            "somebody before the service answers: look at the proxy",
        )),
    }
}
