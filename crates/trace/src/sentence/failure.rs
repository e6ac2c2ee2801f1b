//! A failure in words: what happened at the hop nearest to its cause.

use event::HopEvent;

use super::names;
use super::outcome::{Outcome, has_flag, is_connection, reset_reason};
use super::text::{grpc_name, lasted, shown, unfolded};
use crate::model::Request;

/// What became of the request at a hop, as the rest of a sentence that begins with what was asked:
/// `was refused with 403 at the gateway by policy shop/deny-partners (rule 0)`.
pub(crate) fn told(request: &Request, at: usize, outcome: Outcome, tries: usize) -> String {
    let event = &request.spans[at].event;
    let hop = names::hop(request, at);
    let upstream = names::upstream(event).or_else(|| own_workload(request, at));
    let is_unmet = matches!(outcome, Outcome::NoHealthyUpstream | Outcome::Overflow | Outcome::ConnectFailed);
    let named = if is_unmet { names::unmet_upstream(event) } else { upstream.clone() };
    let to = named.unwrap_or_else(|| "its upstream".to_owned());
    let answered = answered(event);
    let after = event.duration_ns.map(|ns| format!(" after {}", lasted(ns))).unwrap_or_default();
    let flags = flags(event);
    let tried = if tries > 1 { format!(" in {tries} tries") } else { String::new() };
    match outcome {
        Outcome::Denied => format!("was refused{} {} {}", with_status(event), place(&hop), rule(event)),
        Outcome::Redirected => redirected(event, &hop),
        Outcome::RateLimited => {
            format!("was refused{} {} by {}", with_status(event), place(&hop), rate_limit(event))
        }
        Outcome::RateLimiterFailed => format!("{answered} by {hop}, whose rate limit service failed{flags}"),
        Outcome::TimedOut => {
            let with = with_status(event);
            format!("was given up by {hop}{after}{tried}{with}{flags} while {to} had not answered")
        }
        Outcome::Idle => {
            format!("was cut off by {hop}{after}{}{flags}: nothing moved on it", with_status(event))
        }
        Outcome::TooLong => {
            let middle = match event.status {
                0 => String::new(),
                status => format!(", in the middle of its {status} answer"),
            };
            format!("was cut off by {hop}{after}, the longest that it allows{middle}{flags}")
        }
        Outcome::NoRoute => format!("{answered} by {hop}: no route matches{flags}"),
        Outcome::NoFilterChain => {
            let sni = if event.sni.is_empty() {
                "without a server name".to_owned()
            } else {
                format!("for server name {}", names::name(&event.sni))
            };
            format!("was refused by {hop}: no filter chain {sni}{flags}")
        }
        Outcome::NoCluster => {
            format!("{answered} by {hop}: its route names a cluster that does not exist{flags}")
        }
        Outcome::NoHealthyUpstream => format!("{answered} by {hop}: no healthy instance of {to}{flags}"),
        Outcome::Overflow => format!("{answered} by {hop}: the circuit breaker of {to} is open{flags}"),
        Outcome::ConnectFailed => {
            let why = connect_failure(event);
            let evidence = [why.as_str(), &event.response_flags].join("; ");
            format!(
                "{answered} by {hop}: it could not connect to {to}{tried} ({})",
                evidence.trim_end_matches("; ")
            )
        }
        Outcome::ResetBefore if is_connection(event) => {
            format!("was broken off: {to} {} ({hop}){flags}", broke(event))
        }
        Outcome::ResetBefore => {
            format!("{answered} by {hop}: {to} {} before it answered{tried}{flags}", broke(event))
        }
        Outcome::ResetAfter => {
            let middle =
                if event.status == 0 { "it".to_owned() } else { format!("its {} answer", event.status) };
            format!("was broken off in the middle of {middle}{after}: {to} {} ({hop}){flags}", broke(event))
        }
        Outcome::Fault => format!("{answered} by the fault injection of {hop}{flags}"),
        Outcome::Direct => format!("{answered} by {hop} itself (direct response)"),
        Outcome::ClientLeft => left(event, &hop, &after, &flags),
        Outcome::BadRequest => format!("{answered} by {hop}, which could not read it{}", because(event)),
        Outcome::EdgeError => format!("{answered} by {hop} itself ({})", names::name(&event.cache_state)),
        Outcome::Cached => {
            format!("{answered} from the cache of {hop} ({})", names::name(&event.cache_state))
        }
        Outcome::Synthetic => format!("{answered} by {hop} itself ({})", names::name(&event.cache_state)),
        // The records below say something else than this: the answer was made here.
        Outcome::Passed if is_fastly(event) && request.children(at).next().is_some() => {
            format!("{answered} by {hop}")
        }
        Outcome::Running | Outcome::Passed => passed(event, &hop, upstream, &answered, tries),
    }
}

/// `was redirected with 302 at the edge in FRA by rule shop (login needed)`.
pub(crate) fn redirected(event: &HopEvent<'_>, hop: &str) -> String {
    format!("was redirected{} {} {}", with_status(event), place(hop), rule(event))
}

/// What a proxy passed on: its upstream answered it.
fn passed(event: &HopEvent<'_>, hop: &str, upstream: Option<String>, answered: &str, tries: usize) -> String {
    if event.status == 0 {
        return format!("got no answer that {hop} told of{}", flags(event));
    }
    let tried = if tries > 1 { format!(", the last of {tries} tries") } else { String::new() };
    match upstream {
        Some(upstream) if is_workload_side(event) => format!("{answered} by {upstream}{tried}"),
        Some(upstream) => format!("{answered} by {upstream}, as {hop} saw it{tried}"),
        None => format!("{answered} by what is behind {hop}{tried}"),
    }
}

fn is_fastly(event: &HopEvent<'_>) -> bool {
    matches!(event.hop, event::Hop::Edge | event::Hop::Shield)
}

/// Whether the record stands right before the workload, so that what it passed on is the workload's own word.
fn is_workload_side(event: &HopEvent<'_>) -> bool {
    matches!(event.hop, event::Hop::Sidecar | event::Hop::Service | event::Hop::Origin)
        && event.direction != event::Direction::Outbound
}

/// At an inbound sidecar the upstream is the workload beside it.
fn own_workload(request: &Request, at: usize) -> Option<String> {
    let event = &request.spans[at].event;
    if !is_workload_side(event) {
        return None;
    }
    Some(names::workload(request, at).unwrap_or_else(|| "the workload".to_owned()))
}

/// `was answered 503`, with the gRPC status where that is what failed.
pub(crate) fn answered(event: &HopEvent<'_>) -> String {
    match (event.grpc_status.filter(|&status| status != 0), event.status) {
        (Some(grpc), 200) => {
            let name = grpc_name(grpc);
            let named = if name.is_empty() { String::new() } else { format!(" {name}") };
            format!("was answered with gRPC status {grpc}{named} (under HTTP 200)")
        }
        (_, 0) if is_connection(event) => "was ended".to_owned(),
        (_, 0) => "was given no answer".to_owned(),
        (_, status) => format!("was answered {status}"),
    }
}

fn with_status(event: &HopEvent<'_>) -> String {
    if event.status == 0 { String::new() } else { format!(" with {}", event.status) }
}

fn place(hop: &str) -> String {
    format!("at {hop}")
}

/// The flags, as the evidence that one searches for.
fn flags(event: &HopEvent<'_>) -> String {
    if event.response_flags.is_empty() {
        String::new()
    } else {
        format!(" ({})", names::name(&event.response_flags))
    }
}

fn because(event: &HopEvent<'_>) -> String {
    if event.details.is_empty() { flags(event) } else { format!(" ({})", unfolded(&event.details)) }
}

/// `by policy shop/deny-partners (rule 0)`, and the other policy points in their words.
fn rule(event: &HopEvent<'_>) -> String {
    let rule =
        if event.verdict_rule.is_empty() { rule_in_details(event) } else { event.verdict_rule.as_ref() };
    let reason = event.verdict_reason.as_ref();
    if let Some((namespace, policy, number)) = rbac_rule(rule) {
        return format!(
            "by policy {}/{} (rule {})",
            names::name(namespace),
            names::name(policy),
            names::name(number)
        );
    }
    match (rule, reason) {
        ("none", _) | ("", "rbac_access_denied") => "because no policy allows it".to_owned(),
        ("jwt_authn", reason) => format!("by its JWT check ({})", unfolded(reason)),
        ("ext_authz", "ext_authz_error") => "because its external authorizer failed".to_owned(),
        ("ext_authz", _) => "by its external authorizer".to_owned(),
        ("", "") if has_flag(event, "UAEX") => "by its external authorizer (UAEX)".to_owned(),
        ("", "") => "by a policy that the record does not name".to_owned(),
        ("", reason) => format!("({})", unfolded(reason)),
        (rule, "" | "rbac_access_denied") => format!("by rule {}", shown(rule)),
        (rule, reason) => format!("by rule {} ({})", shown(rule), unfolded(reason)),
    }
}

/// The matched policy, where only the details name it.
fn rule_in_details<'e>(event: &'e HopEvent<'_>) -> &'e str {
    [&event.details, &event.termination_details]
        .into_iter()
        .find_map(|details| details.strip_prefix("rbac_access_denied_matched_policy[")?.strip_suffix(']'))
        .unwrap_or_default()
}

/// Namespace, policy and number of Istio's `ns[shop]-policy[deny-partners]-rule[0]`.
fn rbac_rule(rule: &str) -> Option<(&str, &str, &str)> {
    let (namespace, rest) = rule.strip_prefix("ns[")?.split_once("]-policy[")?;
    let (policy, rest) = rest.split_once("]-rule[")?;
    Some((namespace, policy, rest.strip_suffix(']')?))
}

fn rate_limit(event: &HopEvent<'_>) -> &'static str {
    match event.verdict_rule.as_ref() {
        "local_ratelimit" => "its own rate limit (RL)",
        "ratelimit" => "the rate limit service (RL)",
        _ => "a rate limit",
    }
}

/// Why no connection came up: of the long texts only what tells them apart.
fn connect_failure(event: &HopEvent<'_>) -> String {
    let texts = [event.transport_failure.as_ref(), event.details.as_ref()];
    let has = |needle: &str| texts.iter().any(|text| text.contains(needle));
    if has("Connection_refused") || has("Connection refused") {
        "connection refused".to_owned()
    } else if has("CERTIFICATE_VERIFY_FAILED") {
        "TLS: its certificate could not be verified".to_owned()
    } else if has("connection_timeout") || has("Connection_timed_out") {
        "no answer to the connection attempt".to_owned()
    } else if has("TLS_error") {
        "TLS error".to_owned()
    } else {
        match texts.into_iter().find(|text| !text.is_empty()) {
            Some(text) => unfolded(
                reset_reason(text).split('|').next_back().filter(|text| !text.is_empty()).unwrap_or(text),
            ),
            None => "the record does not say why".to_owned(),
        }
    }
}

/// How an upstream broke off.
fn broke(event: &HopEvent<'_>) -> String {
    match reset_reason(&event.details).split('|').next().unwrap_or_default() {
        "connection_termination" => "closed the connection".to_owned(),
        "remote_reset" | "remote_refused_stream_reset" => "reset the stream".to_owned(),
        "protocol_error" => "broke the protocol".to_owned(),
        "" if has_flag(event, "UC") => "closed the connection".to_owned(),
        "" => "reset the connection".to_owned(),
        reason => format!("broke off ({})", unfolded(reason)),
    }
}

fn left(event: &HopEvent<'_>, hop: &str, after: &str, flags: &str) -> String {
    let told = format!(
        "({hop} says so{})",
        if flags.is_empty() { String::new() } else { format!(":{flags}").replace([')', '('], "") }
    );
    match (event.status, event.response_bytes) {
        (0, _) => format!("was abandoned by its client{after}, before any answer {told}"),
        (status, Some(bytes)) => {
            format!("was abandoned by its client{after}, {bytes} bytes into the {status} answer {told}")
        }
        (status, None) => {
            format!("was abandoned by its client{after}, in the middle of the {status} answer {told}")
        }
    }
}
