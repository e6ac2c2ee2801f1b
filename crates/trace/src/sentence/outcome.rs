//! What one record says became of the request at its hop.
//!
//! Envoy tells it in the response code details and the flags (RBAC and JWT leave no flag, a timeout leaves both),
//! Fastly in the cache state, our edge in its verdict. Flags are compared as a set.

use event::{Hop, HopEvent};

/// What became of a request at one hop, by that hop's record alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not over when the record was written.
    Running,
    /// A policy refused it here.
    Denied,
    /// The edge sent the client elsewhere: to log in, back from there, or to another address.
    Redirected,
    /// A rate limit refused it here.
    RateLimited,
    /// The rate limit service could not be asked.
    RateLimiterFailed,
    /// The upstream did not answer in time.
    TimedOut,
    /// Nothing moved for too long.
    Idle,
    /// It was cut off at the longest duration that is allowed.
    TooLong,
    /// No route for it.
    NoRoute,
    /// No filter chain for the connection.
    NoFilterChain,
    /// The route names a cluster that does not exist.
    NoCluster,
    /// No healthy host to send it to.
    NoHealthyUpstream,
    /// The circuit breaker of the upstream.
    Overflow,
    /// No connection to the upstream.
    ConnectFailed,
    /// The upstream broke off before it answered.
    ResetBefore,
    /// The upstream broke off in the middle of its answer.
    ResetAfter,
    /// Fault injection.
    Fault,
    /// The hop answers by itself: direct response, redirect.
    Direct,
    /// The downstream peer left.
    ClientLeft,
    /// What came from downstream was no request that it could read.
    BadRequest,
    /// From a cache.
    Cached,
    /// Made up by Fastly on purpose.
    Synthetic,
    /// Made up by Fastly after an error.
    EdgeError,
    /// Passed on as the upstream answered it, or the record says nothing else.
    Passed,
}

impl Outcome {
    /// Reads one record.
    pub(crate) fn of(event: &HopEvent<'_>) -> Self {
        if event.intermediate {
            return Self::Running;
        }
        if let Some(outcome) = of_verdict(event).or_else(|| of_details(event)).or_else(|| of_flags(event)) {
            return outcome;
        }
        match event.cache_result.as_ref() {
            "hit" => Self::Cached,
            "synth" => Self::Synthetic,
            "error" => Self::EdgeError,
            _ => Self::Passed,
        }
    }

    /// One word for it, for JSON and for counting.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Denied => "denied",
            Self::Redirected => "redirected",
            Self::RateLimited => "rate_limited",
            Self::RateLimiterFailed => "rate_limiter_failed",
            Self::TimedOut => "timed_out",
            Self::Idle => "idle",
            Self::TooLong => "too_long",
            Self::NoRoute => "no_route",
            Self::NoFilterChain => "no_filter_chain",
            Self::NoCluster => "no_cluster",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::Overflow => "overflow",
            Self::ConnectFailed => "connect_failed",
            Self::ResetBefore => "reset_before_answer",
            Self::ResetAfter => "reset_after_answer",
            Self::Fault => "fault_injected",
            Self::Direct => "direct_response",
            Self::ClientLeft => "client_left",
            Self::BadRequest => "bad_request",
            Self::Cached => "cached",
            Self::Synthetic => "synthetic",
            Self::EdgeError => "edge_error",
            Self::Passed => "answered",
        }
    }

    /// Whether the hop made the answer itself and sent nothing on, if its record names no upstream either.
    pub(crate) fn is_local_reply(self) -> bool {
        matches!(
            self,
            Self::Denied
                | Self::Redirected
                | Self::RateLimited
                | Self::RateLimiterFailed
                | Self::NoRoute
                | Self::NoFilterChain
                | Self::NoCluster
                | Self::NoHealthyUpstream
                | Self::Overflow
                | Self::Fault
                | Self::Direct
                | Self::BadRequest
                | Self::Cached
                | Self::Synthetic
        )
    }

    /// Whether a failure that this record shows may have come up from a hop below, so that the cause is sought there.
    pub(crate) fn may_come_from_below(self) -> bool {
        matches!(self, Self::Passed | Self::EdgeError | Self::ResetBefore | Self::ResetAfter)
    }
}

fn of_verdict(event: &HopEvent<'_>) -> Option<Outcome> {
    let is_answered_above = (200..300).contains(&event.status) || event.status == 101;
    match event.verdict.as_ref() {
        "" | "allow" | "allowed" => None,
        "rate_limited" if !is_answered_above => Some(Outcome::RateLimited),
        "deny" | "denied" if !is_answered_above => Some(Outcome::Denied),
        "redirect" if (300..400).contains(&event.status) => Some(Outcome::Redirected),
        // Another word of an edge (`challenge`, `block`) refuses only where the record shows no upstream.
        _ if matches!(event.hop, Hop::Edge | Hop::Shield)
            && event.status >= 300
            && event.upstream_tx_first_ns.is_none() =>
        {
            Some(Outcome::Denied)
        }
        _ => None,
    }
}

fn of_details(event: &HopEvent<'_>) -> Option<Outcome> {
    let details = event.details.as_ref();
    Some(match details {
        "response_timeout" | "upstream_per_try_timeout" => Outcome::TimedOut,
        "stream_idle_timeout" => Outcome::Idle,
        "max_duration_timeout" | "upstream_max_stream_duration_reached" => Outcome::TooLong,
        "route_not_found" => Outcome::NoRoute,
        "filter_chain_not_found" => Outcome::NoFilterChain,
        "cluster_not_found" => Outcome::NoCluster,
        "no_healthy_upstream" => Outcome::NoHealthyUpstream,
        "rate_limiter_error" => Outcome::RateLimiterFailed,
        "fault_filter_abort" => Outcome::Fault,
        "direct_response" => Outcome::Direct,
        "downstream_remote_disconnect" | "http2.remote_reset" | "http2.remote_refuse" => Outcome::ClientLeft,
        "low_version" | "missing_host_header" => Outcome::BadRequest,
        "ext_authz_denied" | "ext_authz_error" => Outcome::Denied,
        "local_rate_limited" | "request_rate_limited" => Outcome::RateLimited,
        _ if details.starts_with("rbac_access_denied") || details.starts_with("jwt_authn_access_denied") => {
            Outcome::Denied
        }
        _ if details.starts_with("upstream_reset_after_response_started") => Outcome::ResetAfter,
        _ if details.starts_with("upstream_reset_before_response_started") => {
            match reset_reason(details).split('|').next().unwrap_or_default() {
                "overflow" => Outcome::Overflow,
                "remote_connection_failure"
                | "local_connection_failure"
                | "connection_failure"
                | "connection_timeout" => Outcome::ConnectFailed,
                _ => Outcome::ResetBefore,
            }
        }
        _ if details.starts_with("http1.")
            || details.starts_with("http2.")
            || details.starts_with("http3.") =>
        {
            Outcome::BadRequest
        }
        _ => return None,
    })
}

/// What stands in the braces of `upstream_reset_…{…}`.
pub(crate) fn reset_reason(details: &str) -> &str {
    let inner = details.split_once('{').map_or("", |(_, rest)| rest);
    inner.strip_suffix('}').unwrap_or(inner)
}

/// For records without details: ALS and OTLP may leave them out, TCP has none.
fn of_flags(event: &HopEvent<'_>) -> Option<Outcome> {
    const MEANINGS: [(&str, Outcome); 19] = [
        ("UAEX", Outcome::Denied),
        ("RL", Outcome::RateLimited),
        ("RLSE", Outcome::RateLimiterFailed),
        ("FI", Outcome::Fault),
        ("NR", Outcome::NoRoute),
        ("NC", Outcome::NoCluster),
        ("UH", Outcome::NoHealthyUpstream),
        ("UO", Outcome::Overflow),
        ("UT", Outcome::TimedOut),
        ("SI", Outcome::Idle),
        ("DT", Outcome::TooLong),
        ("UMSDR", Outcome::TooLong),
        ("UF", Outcome::ConnectFailed),
        ("DPE", Outcome::BadRequest),
        ("DC", Outcome::ClientLeft),
        ("DR", Outcome::ClientLeft),
        ("UC", Outcome::ResetBefore),
        ("UR", Outcome::ResetBefore),
        ("UPE", Outcome::ResetBefore),
    ];
    let (_, outcome) = MEANINGS.into_iter().find(|&(flag, _)| has_flag(event, flag))?;
    let has_begun = (100..600).contains(&event.status) && event.response_bytes.is_some_and(|bytes| bytes > 0);
    Some(match outcome {
        Outcome::NoRoute if is_connection(event) => Outcome::NoFilterChain,
        // A connection has no status: whatever it carried before is in the bytes.
        Outcome::ResetBefore if has_begun && event.status < 400 => Outcome::ResetAfter,
        outcome => outcome,
    })
}

/// Whether a record carries a response flag.
pub(crate) fn has_flag(event: &HopEvent<'_>, flag: &str) -> bool {
    event.response_flags.split(',').any(|one| one == flag)
}

/// Whether the record is of a TCP connection: no request that could be named, and no status.
pub(crate) fn is_connection(event: &HopEvent<'_>) -> bool {
    event.method.is_empty()
        && event.path.is_empty()
        && event.status == 0
        && !matches!(event.hop, Hop::Edge | Hop::Shield)
}

/// Whether the connection changed its protocol and became a tunnel (WebSocket): both of its ends are told as breaks.
pub(crate) fn is_tunnel(event: &HopEvent<'_>) -> bool {
    event.status == 101
}

/// Whether a proxy's record of an HTTP request says nothing of its end: Istio's default formats do not mark the line
/// that Envoy writes when a request begins.
pub(crate) fn tells_no_end(event: &HopEvent<'_>) -> bool {
    let is_proxy = !matches!(event.hop, Hop::Edge | Hop::Shield | Hop::Service | Hop::Origin);
    is_proxy
        && !is_connection(event)
        && event.status == 0
        && event.response_flags.is_empty()
        && event.details.is_empty()
}

/// Whether the hop's downstream got something else than it asked for.
pub(crate) fn has_failed(event: &HopEvent<'_>) -> bool {
    let outcome = Outcome::of(event);
    if outcome == Outcome::Running || is_tunnel(event) {
        return false;
    }
    if is_connection(event) {
        return outcome != Outcome::Passed;
    }
    // A proxy that sent nothing writes 0, with flags or details; elsewhere 0 means that the record does not say.
    let sent_nothing = event.status == 0
        && !tells_no_end(event)
        && !matches!(event.hop, Hop::Edge | Hop::Shield | Hop::Service | Hop::Origin);
    sent_nothing
        || event.status >= 400
        || event.grpc_status.is_some_and(|status| status != 0)
        || matches!(outcome, Outcome::ResetAfter | Outcome::TooLong | Outcome::ClientLeft | Outcome::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, flags: &'static str, details: &'static str) -> Outcome {
        Outcome::of(&HopEvent {
            method: "GET".into(),
            status,
            response_flags: flags.into(),
            details: details.into(),
            ..HopEvent::default()
        })
    }

    #[test]
    fn details_tell_before_flags() {
        let connect = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
        assert_eq!(of(503, "UF,URX", connect), Outcome::ConnectFailed);
        assert_eq!(of(503, "UO", "upstream_reset_before_response_started{overflow}"), Outcome::Overflow);
        assert_eq!(
            of(200, "UPE", "upstream_reset_after_response_started{protocol_error}"),
            Outcome::ResetAfter
        );
        assert_eq!(of(504, "URX,UT", "upstream_per_try_timeout"), Outcome::TimedOut);
        assert_eq!(of(503, "URX", "via_upstream"), Outcome::Passed);
        assert_eq!(of(400, "DPE", "http1.codec_error"), Outcome::BadRequest);
    }

    #[test]
    fn flags_tell_where_there_are_no_details() {
        assert_eq!(of(504, "UT", ""), Outcome::TimedOut);
        assert_eq!(of(0, "DC", ""), Outcome::ClientLeft);
        assert_eq!(of(200, "DI", ""), Outcome::Passed);
        assert_eq!(of(0, "UF,URX", ""), Outcome::ConnectFailed);
    }

    #[test]
    fn a_word_of_the_edge_refuses_only_without_an_upstream() {
        let mut event =
            HopEvent { hop: Hop::Edge, status: 403, verdict: "challenge".into(), ..HopEvent::default() };
        assert_eq!(Outcome::of(&event), Outcome::Denied);
        event.upstream_tx_first_ns = Some(5);
        assert_eq!(Outcome::of(&event), Outcome::Passed);
    }

    #[test]
    fn a_failure_may_hide_under_200() {
        let grpc =
            HopEvent { method: "POST".into(), status: 200, grpc_status: Some(5), ..HopEvent::default() };
        assert!(has_failed(&grpc));
        let tunnel = HopEvent {
            method: "GET".into(),
            status: 101,
            response_flags: "DC".into(),
            ..HopEvent::default()
        };
        assert!(!has_failed(&tunnel));
    }
}
