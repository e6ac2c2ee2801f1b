//! The answers of the query API, held against what was really called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::apps::Apps;
use super::mesh::{CALL_HEADER, Files, Mesh, Place};
use super::spans::Tracer;
use super::truth::{Forgets, Hop};
use super::{SCENARIOS, Sent};
use crate::app::Service;

/// Links by scenario and confidence: how many are right, and how many there are.
#[derive(Default)]
pub(crate) struct Tally {
    links: BTreeMap<(&'static str, String), (usize, usize)>,
    /// How many links rest on each kind of evidence.
    evidence: BTreeMap<String, usize>,
    /// Hops told by two transports.
    folded: usize,
    /// Of the requests where app a kept only the trace: how often its calls were one request with the first.
    rejoined: (usize, usize),
    /// The last request of each scenario in a sentence.
    summaries: BTreeMap<&'static str, String>,
    /// Links to another parent than the true one, with their confidence.
    wrong: Vec<(String, String)>,
    /// Whatever else is not as it was.
    faults: Vec<String>,
}

/// What answers are checked with.
pub(crate) struct Check<'c> {
    pub(crate) service: &'c Service,
    pub(crate) mesh: &'c Mesh,
    pub(crate) tracer: Option<&'c Tracer>,
    pub(crate) files: Files,
}

type Truth = BTreeMap<Hop, Option<Hop>>;

/// Whether a hop is told by a followed file, too.
pub(crate) fn is_in_file(place: Place, files: Files) -> bool {
    match files {
        Files::TextAtA => matches!(place, Place::InboundA | Place::OutboundA),
        Files::JsonWithSpanIds => place != Place::Edge,
    }
}

impl Check<'_> {
    /// What the product answers for a request, and for the calls of app a where they have ids of their own.
    pub(crate) fn ask(&self, sent: &Sent, apps: &Apps) -> (Value, Option<Value>) {
        let of = |id: &str| self.service.json(&format!("/api/v1/traces/{id}"));
        let second = (sent.scenario.forgets == Forgets::Everything)
            .then(|| of(&apps.request_id_of(&format!("{}.1.1", sent.call))));
        (of(&sent.correlation), second)
    }

    /// Checks all that one request became.
    pub(crate) fn request(&self, sent: &Sent, (answer, second): &(Value, Option<Value>), tally: &mut Tally) {
        let name = sent.scenario.name;
        let truth: Truth = sent.scenario.hops(&sent.call).into_iter().collect();
        self.believe_spans(sent, &truth);
        if answer["trace_id"] != sent.trace || answer["status"] != sent.scenario.status {
            tally.faults.push(format!("{name}: another trace id or status: {answer}"));
        }
        tally.summaries.insert(name, text(&answer["summary"]).to_owned());
        let others: Vec<&Value> = answer["others"].as_array().into_iter().flatten().collect();
        let mut parts = vec![self.links(answer, sent, &truth, tally)];
        parts.extend(others.iter().map(|other| self.links(other, sent, &truth, tally)));
        match sent.scenario.forgets {
            Forgets::Nothing => {}
            Forgets::Everything => {
                let second = second.as_ref().expect("asked for");
                parts.push(self.links(second, sent, &truth, tally));
                if [answer, second].iter().any(|part| !part["others"].is_null()) {
                    tally.faults.push(format!("{name}: they share nothing: {answer}\n  {second}"));
                }
            }
            Forgets::AllButTrace => {
                tally.rejoined = (tally.rejoined.0 + usize::from(others.is_empty()), tally.rejoined.1 + 1);
                if !others.is_empty() && answer["related"][0]["why"] != "same_trace" {
                    tally.faults.push(format!("{name}: related by the trace: {answer}"));
                }
            }
        }
        // What app a called without the ids may stand apart; everything else is one request.
        let (first, second): (BTreeSet<Hop>, BTreeSet<Hop>) =
            truth.keys().cloned().partition(|hop| hop.call == sent.call);
        let all: BTreeSet<Hop> = truth.keys().cloned().collect();
        let is_whole = parts == [all];
        let is_apart = parts == [first, second];
        let is_right = match sent.scenario.forgets {
            Forgets::Nothing => is_whole,
            Forgets::Everything => is_apart,
            Forgets::AllButTrace => is_whole || is_apart,
        };
        if !is_right {
            tally.faults.push(format!("{name}: requests of other hops: {parts:?}\n  {answer}"));
        }
    }

    /// The spans that Envoy exported say the same as the test's own header; only then is either believed.
    fn believe_spans(&self, sent: &Sent, truth: &Truth) {
        let Some(tracer) = self.tracer else { return };
        for (hop, parent) in truth.iter().filter(|(hop, _)| hop.place != Place::Edge) {
            let (_, span) = tracer.of(hop).unwrap_or_else(|| panic!("Envoy exported no span of {hop:?}"));
            let above = match parent {
                Some(edge) if edge.place == Place::Edge => Err(sent.span.clone()),
                Some(parent) => Ok(parent.clone()),
                None => Err(String::new()),
            };
            assert_eq!(tracer.above(&span), above, "{}: the span of {hop:?}", sent.scenario.name);
            let is_cut = sent.scenario.forgets == Forgets::Everything && hop.call != sent.call;
            assert_eq!(span.trace_id != sent.trace, is_cut, "{}: {hop:?}", sent.scenario.name);
        }
    }

    /// Counts the links of one request of an answer; the hops that it has.
    fn links(&self, request: &Value, sent: &Sent, truth: &Truth, tally: &mut Tally) -> BTreeSet<Hop> {
        let name = sent.scenario.name;
        let spans = request["spans"].as_array().expect("spans");
        let hops: Vec<Hop> = spans.iter().map(|span| self.hop(span, sent)).collect();
        for (span, hop) in spans.iter().zip(&hops) {
            let foreign = hop.place == Place::Edge && sent.names_span && text(&span["span_id"]) != sent.span;
            let foreign = foreign.then_some("not the span id that the edge minted");
            if let Some(fault) = foreign.or_else(|| self.fault(span, hop)) {
                tally.faults.push(format!("{name}: {fault}\n  {hop:?} {span}"));
            }
            tally.folded += usize::from(!span["also"].is_null());
            if span["link"].is_null() {
                let is_apart = sent.scenario.forgets == Forgets::AllButTrace && hop.place == Place::OutboundA;
                if truth.get(hop).is_some_and(Option::is_some) && !is_apart {
                    tally.faults.push(format!("{name}: hangs under nobody: {hop:?} {span}"));
                }
                continue;
            }
            let mut above = (0..spans.len()).filter(|&at| spans[at]["span_id"] == span["parent_span_id"]);
            let (Some(above), None) = (above.next(), above.next()) else {
                tally.faults.push(format!("{name}: not one span with the id of the parent of {span}"));
                continue;
            };
            let is_right = truth.get(hop).and_then(Option::as_ref) == Some(&hops[above]);
            let confidence = text(&span["link"]["confidence"]).to_owned();
            let count = tally.links.entry((name, confidence.clone())).or_default();
            *count = (count.0 + usize::from(is_right), count.1 + 1);
            for evidence in span["link"]["evidence"].as_array().expect("evidence") {
                *tally.evidence.entry(text(evidence).to_owned()).or_default() += 1;
            }
            if !is_right {
                let what = format!("{name}, {confidence}: {hop:?} under {:?}", hops[above]);
                tally.wrong.push((confidence, format!("{what}\n  {span}\n  under {}", spans[above])));
            }
        }
        for gap in request["gaps"].as_array().expect("gaps") {
            tally.faults.push(format!("{name}: nothing is missing, but {gap}"));
        }
        hops.into_iter().collect()
    }

    /// Which hop a span is of, by the address that it was reached at and the test's own header.
    fn hop(&self, span: &Value, sent: &Sent) -> Hop {
        if span["hop"] == "edge" {
            return Hop::new(Place::Edge, &sent.call, 0);
        }
        let event = &span["event"];
        let place = self.mesh.place(text(&event["downstream_local"]));
        let place = place.unwrap_or_else(|| panic!("a hop of no listener: {span:#}"));
        let call = text(&event["attributes"][&format!("http.request.header.{CALL_HEADER}")]);
        Hop::new(place, call, event["attempt"].as_u64().unwrap_or(0))
    }

    /// One event is one span, however many transports told of it, and has Envoy's own span id where that was logged.
    fn fault(&self, span: &Value, hop: &Hop) -> Option<&'static str> {
        let also = span["also"].as_array().map_or(0, Vec::len);
        if also != usize::from(is_in_file(hop.place, self.files)) {
            return Some("not as many records as transports");
        }
        if span["deliveries"] != 1 {
            return Some("delivered twice");
        }
        let tracer = self.tracer.filter(|_| hop.place != Place::Edge)?;
        let (id, _) = tracer.of(hop)?;
        let event = &span["event"];
        if self.files == Files::JsonWithSpanIds && span["span_id"] != id {
            return Some("not the span id that Envoy exported");
        }
        // A sidecar sends its own span on; what it answered itself it logs as it came.
        let sent_on = hop.place != Place::Gateway && !event["upstream_remote"].is_null();
        (sent_on && event["parent_span_id"] != id).then_some("not the traceparent that Envoy sent")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Tally {
    /// No link of these confidences is wrong, and all else is as it was.
    pub(crate) fn must_hold(&self, confidences: &[&str]) {
        let wrong = self.wrong.iter().filter(|(confidence, _)| confidences.contains(&confidence.as_str()));
        assert_eq!((wrong.count(), self.faults.len()), (0, 0), "wrong links and faults, printed above");
        assert!(self.of("certain", None).0 > 0, "no link is certain");
    }

    fn of(&self, confidence: &str, name: Option<&str>) -> (usize, usize) {
        let wanted = self
            .links
            .iter()
            .filter(|((scenario, word), _)| word == confidence && name.is_none_or(|name| name == *scenario));
        wanted.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = SCENARIOS.iter().map(|scenario| (scenario.name, Some(scenario.name)));
        for (title, name) in rows.chain([("links that are right, of all", None)]) {
            write!(out, "  {title:39}")?;
            for word in ["certain", "likely", "ambiguous"] {
                let (right, all) = self.of(word, name);
                write!(out, "{word} {right:>3}/{all:<3} ")?;
            }
            writeln!(out)?;
        }
        let (rejoined, all) = self.rejoined;
        writeln!(out, "  evidence {:?}", self.evidence)?;
        writeln!(out, "  {} hops told by two transports, each one span", self.folded)?;
        writeln!(out, "  calls that kept only the trace: one request with the first in {rejoined} of {all}")?;
        for (name, summary) in &self.summaries {
            writeln!(out, "  {name}: {summary}")?;
        }
        for what in self.wrong.iter().map(|(_, what)| what).chain(&self.faults) {
            writeln!(out, "  WRONG {what}")?;
        }
        Ok(())
    }
}
