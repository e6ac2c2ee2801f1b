//! What a policy point inside Envoy decided, read from the details it leaves and from RBAC's own metadata.
//!
//! Response flags do not tell: RBAC and JWT denials carry none.

use std::borrow::Cow;

use event::{HopEvent, Text};

/// Fills the verdict from response code details (HTTP) or connection termination details (TCP). A denial in the
/// details outranks an `allow` of an earlier filter.
pub(crate) fn from_details(event: &mut HopEvent<'_>) {
    if event.details.is_empty() && event.termination_details.is_empty() {
        return;
    }
    for which in [0, 1] {
        let details = if which == 0 { &event.details } else { &event.termination_details };
        let Some((verdict, rule, reason)) = read(details) else { continue };
        event.verdict_reason = Cow::Owned(reason.to_owned());
        if !rule.is_empty() {
            event.verdict_rule = Cow::Owned(rule.to_owned());
        }
        event.verdict = Cow::Borrowed(verdict);
        return;
    }
}

/// Verdict, rule and reason of known details; `None` where they tell of no policy.
fn read(details: &str) -> Option<(&'static str, &str, &str)> {
    if let Some(rest) = details.strip_prefix("rbac_access_denied") {
        let rule =
            rest.strip_prefix("_matched_policy[").map_or("", |rule| rule.strip_suffix(']').unwrap_or(rule));
        return Some(("deny", rule, "rbac_access_denied"));
    }
    if let Some(rest) = details.strip_prefix("jwt_authn_access_denied") {
        let reason = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(details);
        return Some(("deny", "jwt_authn", reason));
    }
    match details {
        "ext_authz_denied" | "ext_authz_error" => Some(("deny", "ext_authz", details)),
        "local_rate_limited" => Some(("rate_limited", "local_ratelimit", details)),
        "request_rate_limited" => Some(("rate_limited", "ratelimit", details)),
        _ => None,
    }
}

/// One fact of `envoy.filters.http.rbac` or its network sibling. `false` if the name is not one of its facts.
pub(crate) fn rbac_fact<'a>(event: &mut HopEvent<'a>, name: &str, value: Text<'a>) -> bool {
    match name {
        "enforced_engine_result" => {
            event.verdict = match value.as_ref() {
                "allowed" => Cow::Borrowed("allow"),
                "denied" => Cow::Borrowed("deny"),
                _ => value,
            };
        }
        "enforced_effective_policy_id" => event.verdict_rule = value,
        "shadow_engine_result" => event.attributes.push((Cow::Borrowed("rbac.shadow_engine_result"), value)),
        "shadow_effective_policy_id" => {
            event.attributes.push((Cow::Borrowed("rbac.shadow_effective_policy_id"), value));
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_what_the_brackets_hold() {
        let details = "rbac_access_denied_matched_policy[ns[default]-policy[deny-x]-rule[0]]";
        assert_eq!(read(details), Some(("deny", "ns[default]-policy[deny-x]-rule[0]", "rbac_access_denied")));
        assert_eq!(
            read("jwt_authn_access_denied{Jwt_is_missing}"),
            Some(("deny", "jwt_authn", "Jwt_is_missing"))
        );
        assert_eq!(read("via_upstream"), None);
    }
}
