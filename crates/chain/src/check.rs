//! Holds the answer of the query API to what was declared of a request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::declared::{Declared, Hop};
use crate::drive::{CLAIMED_ID, Driven};
use crate::edge::IDENTITY;
use crate::http::get;
use crate::mesh::{GATEWAY, ORDERS, Place};
use crate::pki::identity;
use crate::whole::Chain;

/// The edge delivers every half second, ALS and OTLP every second, segments ship after one; a loaded machine gets a minute.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A driven request with what the service answers of it.
#[derive(Debug, Clone)]
pub struct Traced {
    /// The request.
    pub driven: Driven,
    /// The answer for its correlation id; null where there is none.
    pub answer: Value,
    /// What is not as declared, a sentence each.
    pub faults: Vec<String>,
}

impl Chain {
    /// Asks the service at `http` for each request, until the trace is as complete as declared, a minute is over or
    /// `stop` is true, and checks each.
    pub fn traced(&self, http: SocketAddr, driven: &[Driven], stop: &AtomicBool) -> Vec<Traced> {
        let deadline = Instant::now() + PATIENCE;
        let wait = |driven: &Driven| loop {
            let answer = ask(http, &driven.correlation_id);
            let has = answer["spans"].as_array().map_or(0, Vec::len);
            let is_settled = !list(&answer, "gaps").any(|gap| gap["reason"] == "settling");
            let is_whole = has >= driven.declared.hops.len() && is_settled;
            if is_whole || Instant::now() >= deadline || stop.load(Ordering::Relaxed) {
                return answer;
            }
            thread::sleep(LOOK_EVERY);
        };
        let answers: Vec<Value> = driven.iter().map(wait).collect();
        let check = |(driven, answer): (&Driven, Value)| {
            let faults = self.faults(driven, &answer);
            Traced { driven: driven.clone(), answer, faults }
        };
        let mut traced: Vec<Traced> = driven.iter().zip(answers).map(check).collect();
        relate(&mut traced);
        if let Some(first) = traced.first_mut()
            && ask(http, CLAIMED_ID) != Value::Null
        {
            first.faults.push(format!("the id that clients claimed, {CLAIMED_ID}, is on a record"));
        }
        traced
    }

    fn faults(&self, driven: &Driven, answer: &Value) -> Vec<String> {
        let declared = &driven.declared;
        let mut faults = Vec::new();
        let mut hold = |is_so: bool, what: String| {
            if !is_so {
                faults.push(what);
            }
        };
        hold(driven.status == declared.status, format!("the client got {}", driven.status));
        if answer.is_null() {
            hold(false, format!("no trace for {}", driven.correlation_id));
            return faults;
        }
        let is_own = driven.correlation_id != CLAIMED_ID;
        hold(is_own, "the client chose its correlation id".to_owned());
        let id = &answer["correlation_id"];
        hold(*id == driven.correlation_id.as_str(), format!("the trace is of {id}"));
        let is_shared = list(answer, "others").any(|other| other["only_related"] != true);
        hold(!is_shared, "other requests carry its id".to_owned());
        hold(answer["status"] == declared.status, format!("the trace says {}", answer["status"]));
        self.hops(declared, answer, &mut hold);
        gaps(driven, answer, &mut hold);
        for span in list(answer, "spans") {
            let own = &span["event"]["correlation_id"];
            hold(*own == driven.correlation_id.as_str(), format!("a hop logged the correlation id {own}"));
            let told = &span["event"]["attributes"]["http.request.header.x-edge-jti"];
            if self.place_of(span) == Some(Place::Gateway) && declared.verdict.is_some() {
                hold(*told == driven.correlation_id.as_str(), format!("the edge token's id is {told}"));
            }
        }
        faults
    }

    /// Every declared hop once and no other, under its caller, with its verdict and the number of its try.
    fn hops(&self, declared: &Declared, answer: &Value, hold: &mut impl FnMut(bool, String)) {
        let spans: Vec<&Value> = list(answer, "spans").collect();
        let hop_of = |span: &Value| {
            let status = span["http"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            self.place_of(span).map(|place| Hop { place, status: status.unwrap_or(0) })
        };
        let mut found: Vec<Hop> = spans.iter().filter_map(|span| hop_of(span)).collect();
        let mut wanted = declared.hops.to_vec();
        found.sort_by_key(|hop| (hop.place, hop.status));
        wanted.sort_by_key(|hop| (hop.place, hop.status));
        let is_all = found == wanted && found.len() == spans.len();
        hold(is_all, format!("it has {} spans, of them known {found:?}, and not {wanted:?}", spans.len()));
        for (at, hop) in declared.hops.iter().enumerate() {
            let Some(span) = spans.iter().find(|span| hop_of(span).as_ref() == Some(hop)) else { continue };
            let before = &declared.hops[..at];
            if let Some(caller) = before.iter().rfind(|before| hop.place.caller() == Some(before.place)) {
                let parent = spans.iter().find(|other| other["span_id"] == span["parent_span_id"]);
                let under = parent.and_then(|parent| hop_of(parent));
                hold(
                    under.as_ref() == Some(caller),
                    format!("{hop:?} hangs under {under:?} and not {caller:?}"),
                );
                let sure = &span["link"]["confidence"];
                hold(sure == "certain" || sure == "likely", format!("{hop:?} is linked with {sure}"));
            } else {
                hold(span["link"].is_null(), format!("{hop:?} is the way in and hangs under another"));
            }
            if matches!(hop.place, Place::Orders | Place::Stock) {
                let attempt = 1 + before.iter().filter(|before| before.place == hop.place).count();
                let told = &span["event"]["attempt"];
                hold(*told == attempt, format!("{hop:?} is try {told} and not {attempt}"));
            }
            let peer = &span["event"]["downstream_peer"];
            let caller = caller_identity(declared, hop.place);
            hold(
                peer.as_str().map(str::to_owned) == caller,
                format!("{hop:?} was called by {peer} and not {caller:?}"),
            );
            verdict(declared, hop, span, hold);
        }
    }

    /// Where a span is of, by the address that it was reached at.
    pub fn place_of(&self, span: &Value) -> Option<Place> {
        if span["hop"] == "edge" {
            return Some(Place::Edge);
        }
        self.place(span["event"]["downstream_local"].as_str()?)
    }
}

/// Who its caller is by the certificate that it showed.
fn caller_identity(declared: &Declared, place: Place) -> Option<String> {
    match place {
        Place::Gateway => declared.verdict.is_some().then(|| IDENTITY.to_owned()),
        Place::Orders => Some(identity(&GATEWAY)),
        Place::Stock => Some(identity(&ORDERS)),
        // Clients of the edge, and orders beside its sidecar, come without TLS.
        Place::Edge | Place::Call => None,
    }
}

fn verdict(declared: &Declared, hop: &Hop, span: &Value, hold: &mut impl FnMut(bool, String)) {
    let told = &span["verdict"];
    if let (Place::Edge, Some(verdict)) = (hop.place, declared.verdict) {
        let parts = [("outcome", verdict.outcome), ("rule", verdict.rule), ("reason", verdict.reason)];
        let is_told = parts.iter().all(|(name, word)| told[name] == *word);
        hold(is_told, format!("the edge's verdict is {told} and not {verdict:?}"));
    }
    if let Some((place, policy)) = declared.denied
        && place == hop.place
    {
        let is_told = told["outcome"] == "deny" && told["rule"] == policy;
        hold(is_told, format!("{place:?}'s verdict is {told} and not a denial by {policy}"));
    }
}

/// Nothing is missing; around the edge, the edge is, and the sentence says no more than that.
fn gaps(driven: &Driven, answer: &Value, hold: &mut impl FnMut(bool, String)) {
    let gaps: Vec<&str> = list(answer, "gaps").filter_map(|gap| gap["expected"].as_str()).collect();
    let wanted: &[&str] = if driven.declared.verdict.is_none() { &["edge"] } else { &[] };
    hold(gaps == wanted, format!("{gaps:?} are missing and not {wanted:?}"));
    let summary = answer["summary"].as_str().unwrap_or_default();
    if driven.declared.verdict.is_none() {
        hold(summary.contains("no record of the edge"), format!("the missing edge is not told: {summary}"));
        hold(!summary.contains("bypass"), format!("more is claimed than is known: {summary}"));
    }
}

/// The requests of one login know each other.
fn relate(traced: &mut [Traced]) {
    let ids: Vec<String> = traced.iter().take(3).map(|one| one.driven.correlation_id.clone()).collect();
    for (at, one) in traced.iter_mut().take(3).enumerate() {
        for (_, id) in ids.iter().enumerate().filter(|(other, _)| *other != at) {
            if !list(&one.answer, "related").any(|related| related["correlation_id"] == id.as_str()) {
                one.faults.push(format!("it does not know of {id}, which is of the same login"));
            }
        }
    }
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

/// The service's answer for an id; null for none.
fn ask(http: SocketAddr, id: &str) -> Value {
    let host = http.to_string();
    match get(http, &format!("/api/v1/traces/{id}"), &[("host", &host)]) {
        Ok(answer) if answer.status == 200 => serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}
