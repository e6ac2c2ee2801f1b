//! The requests that are driven, each with what must come of it.

use crate::mesh::{Place, REPORT_PATH, REPORT_POLICY};

/// What must come of a request.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// What it is called.
    pub name: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// What comes as credential.
    pub credential: Credential,
    /// Status at the client.
    pub status: u16,
    /// The edge's verdict; none where it never saw the request.
    pub verdict: Option<Verdict>,
    /// Every hop that must be in the trace, a caller before whom it called.
    pub hops: &'static [Hop],
    /// Who in the mesh refused it, by which policy, in Istio's name for it.
    pub denied: Option<(Place, &'static str)>,
}

/// What comes as credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Nothing, from a script.
    None,
    /// Nothing, from a browser, which follows where it is sent.
    Browser,
    /// An access token as the provider issues it.
    Token,
    /// One that has ended.
    Expired,
    /// One with another key's signature.
    Forged,
    /// Nothing, sent straight to the gateway.
    Around,
    /// A token of one's own making in the header of the edge's, sent straight to the gateway.
    AroundForged,
}

/// What the edge decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// `allow`, `deny`, `redirect` or `error`.
    pub outcome: &'static str,
    /// The route.
    pub rule: &'static str,
    /// One word.
    pub reason: &'static str,
}

/// One hop of a trace. What called it is the nearest one before it of the place that calls this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Where.
    pub place: Place,
    /// What it answered; 0 where its caller had left.
    pub status: u16,
}

impl Place {
    /// Who calls this place.
    pub fn caller(self) -> Option<Self> {
        match self {
            Self::Edge => None,
            Self::Gateway => Some(Self::Edge),
            Self::Orders => Some(Self::Gateway),
            Self::Call => Some(Self::Orders),
            Self::Stock => Some(Self::Call),
        }
    }
}

const fn at(place: Place, status: u16) -> Hop {
    Hop { place, status }
}

const fn by(outcome: &'static str, rule: &'static str, reason: &'static str) -> Option<Verdict> {
    Some(Verdict { outcome, rule, reason })
}

const LET_IN: Option<Verdict> = by("allow", "shop", "verified");
const THROUGHOUT: &[Hop] = &[
    at(Place::Edge, 200),
    at(Place::Gateway, 200),
    at(Place::Orders, 200),
    at(Place::Call, 200),
    at(Place::Stock, 200),
];

const fn declared(
    name: &'static str,
    path: &'static str,
    credential: Credential,
    verdict: Option<Verdict>,
    hops: &'static [Hop],
) -> Declared {
    Declared { name, path, credential, status: hops[0].status, verdict, hops, denied: None }
}

/// Where a browser begins that must log in first, and what its two steps before the page are.
pub const LOGIN: [Declared; 3] = [
    declared(
        "sent to log in",
        "/shop/cart?item=7",
        Credential::Browser,
        by("redirect", "shop", "login_needed"),
        &[at(Place::Edge, 302)],
    ),
    declared(
        "back from the login",
        "/callback",
        Credential::Browser,
        by("redirect", "login", "logged_in"),
        &[at(Place::Edge, 302)],
    ),
    declared("logged in", "/shop/cart?item=7", Credential::Browser, LET_IN, THROUGHOUT),
];

/// Every other request.
pub const REQUESTS: [Declared; 14] = [
    declared("allowed", "/shop/cart", Credential::Token, LET_IN, THROUGHOUT),
    declared(
        "public",
        "/public/page",
        Credential::None,
        by("allow", "public", "public"),
        &[at(Place::Edge, 200), at(Place::Gateway, 200), at(Place::Orders, 200)],
    ),
    declared(
        "denied",
        "/admin/users",
        Credential::Token,
        by("deny", "admin", "missing_scope"),
        &[at(Place::Edge, 403)],
    ),
    declared(
        "expired",
        "/shop/cart",
        Credential::Expired,
        by("deny", "shop", "expired"),
        &[at(Place::Edge, 401)],
    ),
    declared(
        "forged",
        "/shop/cart",
        Credential::Forged,
        by("deny", "shop", "bad_signature"),
        &[at(Place::Edge, 401)],
    ),
    declared(
        "no credential",
        "/shop/cart",
        Credential::None,
        by("deny", "shop", "no_credential"),
        &[at(Place::Edge, 401)],
    ),
    declared(
        "no such place",
        "/elsewhere",
        Credential::Token,
        by("deny", "request", "no_route"),
        &[at(Place::Edge, 404)],
    ),
    Declared {
        denied: Some((Place::Orders, REPORT_POLICY)),
        ..declared(
            "denied by the mesh",
            REPORT_PATH,
            Credential::Token,
            LET_IN,
            &[at(Place::Edge, 403), at(Place::Gateway, 403), at(Place::Orders, 403)],
        )
    },
    Declared {
        denied: Some((Place::Gateway, crate::gate::TOKEN_POLICY)),
        ..declared("around the edge", "/shop/cart", Credential::Around, None, &[at(Place::Gateway, 403)])
    },
    Declared {
        denied: Some((Place::Gateway, "jwt_authn")),
        ..declared(
            "around the edge, forged",
            "/shop/cart",
            Credential::AroundForged,
            None,
            &[at(Place::Gateway, 401)],
        )
    },
    declared(
        "slow",
        "/shop/slow",
        Credential::Token,
        LET_IN,
        &[
            at(Place::Edge, 504),
            at(Place::Gateway, 504),
            at(Place::Orders, 0),
            at(Place::Call, 0),
            at(Place::Stock, 0),
        ],
    ),
    declared(
        "retried by orders",
        "/shop/flaky",
        Credential::Token,
        LET_IN,
        &[
            at(Place::Edge, 200),
            at(Place::Gateway, 200),
            at(Place::Orders, 200),
            at(Place::Call, 200),
            at(Place::Stock, 503),
            at(Place::Stock, 200),
        ],
    ),
    declared(
        "retried by the gateway",
        "/shop/restarting",
        Credential::Token,
        LET_IN,
        &[
            at(Place::Edge, 200),
            at(Place::Gateway, 200),
            at(Place::Orders, 503),
            at(Place::Orders, 200),
            at(Place::Call, 200),
            at(Place::Stock, 200),
        ],
    ),
    declared(
        "failing",
        "/shop/failing",
        Credential::Token,
        LET_IN,
        &[
            at(Place::Edge, 500),
            at(Place::Gateway, 500),
            at(Place::Orders, 500),
            at(Place::Call, 500),
            at(Place::Stock, 500),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_has_its_caller_before_it_and_the_first_is_what_the_client_sees() {
        for declared in LOGIN.iter().chain(&REQUESTS) {
            assert_eq!(declared.hops[0].status, declared.status, "{}", declared.name);
            let is_edge_first = declared.hops[0].place == Place::Edge;
            assert_eq!(is_edge_first, declared.verdict.is_some(), "{}", declared.name);
            for (number, hop) in declared.hops.iter().enumerate().skip(1) {
                let before = &declared.hops[..number];
                let is_called = before.iter().any(|before| Some(before.place) == hop.place.caller());
                assert!(is_called, "{}: {hop:?}", declared.name);
                assert!(!before.contains(hop), "{}: {hop:?} cannot be told from another", declared.name);
            }
            let denied = declared.denied.map(|(place, _)| place);
            assert!(denied.is_none_or(|place| declared.hops.iter().any(|hop| hop.place == place)));
        }
    }
}
