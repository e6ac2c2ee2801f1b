//! How an answer compares to the truth.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::{Promise, Scenario};

/// How sure an answer is of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence3 {
    /// Proven by ids.
    Certain,
    /// The best reading of the evidence.
    Likely,
    /// One of several readings.
    Ambiguous,
    /// Stated without a word on how sure it is.
    None,
}

impl Confidence3 {
    /// Every one, surest first.
    pub const ALL: [Self; 4] = [Self::Certain, Self::Likely, Self::Ambiguous, Self::None];
}

/// Where an answer put one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which record ([`super::tag_of`]).
    pub tag: u32,
    /// Number of the answer's request: equal for records that it holds to be one request.
    pub request: usize,
    /// The record that it calls the parent; `None` for the first of a request and where it does not say.
    pub parent: Option<u32>,
    /// How sure it is of that.
    pub confidence: Confidence3,
}

/// Links of one confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Links {
    /// Stated by the answer.
    pub asserted: usize,
    /// Of them, to the true parent, or to the nearest kept ancestor where the parent's records are lost.
    pub right: usize,
}

/// An answer held against the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The scenario's name.
    pub name: &'static str,
    /// True requests of which at least one record was kept.
    pub requests: usize,
    /// Of them, those whose kept records all stand in one answer.
    pub joined: usize,
    /// Answers that hold records of more than one true request.
    pub mixed_answers: usize,
    /// Pairs of true requests that some answer mixes.
    pub false_pairs: usize,
    /// Kept records that no answer holds.
    pub missing_records: usize,
    /// Links that a perfect answer would have: kept records with a kept ancestor.
    pub true_links: usize,
    /// Links of the answer by [`Confidence3::ALL`].
    pub links: [Links; 4],
    /// What the scenario promises.
    pub promise: Promise,
}

/// Holds an answer against the truth.
///
/// Records of one tag count once: what is said of them twice in the same words is one statement, and two statements
/// that differ are two. A tag in two answers is not joined. Links from a record to one of the same tag are no links.
pub fn score(scenario: &Scenario, found: &[Found]) -> Score {
    let known = |tag: u32| scenario.records.get(&tag);
    let mut statements: Vec<Found> = found.iter().filter(|one| known(one.tag).is_some()).copied().collect();
    statements.sort_unstable();
    statements.dedup();

    let mut answers_of_tag: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    let mut requests_of_answer: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    for one in &statements {
        answers_of_tag.entry(one.tag).or_default().insert(one.request);
        if let Some(record) = known(one.tag) {
            requests_of_answer.entry(one.request).or_default().insert(record.request);
        }
    }
    let mixed: Vec<&BTreeSet<u32>> =
        requests_of_answer.values().filter(|requests| requests.len() > 1).collect();
    let pairs = mixed.iter().flat_map(|requests| {
        requests.iter().flat_map(|one| requests.range(one + 1..).map(move |other| (*one, *other)))
    });
    let false_pairs: BTreeSet<(u32, u32)> = pairs.collect();

    // Every true request with the answers of its kept records; an unseen record counts as an answer of its own.
    let mut answers_of_request: BTreeMap<u32, (BTreeSet<usize>, bool)> = BTreeMap::new();
    let mut missing_records = 0;
    let mut true_links = 0;
    for (tag, record) in scenario.records.iter().filter(|(_, record)| !record.lost) {
        let (answers, is_missing) = answers_of_request.entry(record.request).or_default();
        match answers_of_tag.get(tag) {
            Some(found) => answers.extend(found),
            None => {
                missing_records += 1;
                *is_missing = true;
            }
        }
        true_links += usize::from(kept_ancestor(scenario, *tag).is_some());
    }
    let joined =
        answers_of_request.values().filter(|(answers, is_missing)| answers.len() == 1 && !is_missing);

    let mut links = [Links::default(); 4];
    let mut stated: Vec<(u32, u32, Confidence3)> = statements
        .iter()
        .filter_map(|one| Some((one.tag, one.parent.filter(|&parent| parent != one.tag)?, one.confidence)))
        .collect();
    stated.sort_unstable();
    stated.dedup();
    for (tag, parent, confidence) in stated {
        let links = &mut links[confidence as usize];
        links.asserted += 1;
        links.right += usize::from(kept_ancestor(scenario, tag) == Some(parent));
    }
    Score {
        name: scenario.name,
        requests: answers_of_request.len(),
        joined: joined.count(),
        mixed_answers: mixed.len(),
        false_pairs: false_pairs.len(),
        missing_records,
        true_links,
        links,
        promise: scenario.promise,
    }
}

/// The nearest true ancestor that has a record.
fn kept_ancestor(scenario: &Scenario, tag: u32) -> Option<u32> {
    let mut at = scenario.records.get(&tag)?.parent?;
    // A parent's tag is always smaller, so this ends.
    loop {
        let record = scenario.records.get(&at)?;
        if !record.lost {
            return Some(at);
        }
        at = record.parent?;
    }
}

impl Score {
    /// Share of requests joined completely; 1 if there are none.
    pub fn joined_share(&self) -> f64 {
        share(self.joined, self.requests)
    }

    /// Share of the links of one confidence that are right; 1 if none was stated.
    pub fn right_share(&self, confidence: Confidence3) -> f64 {
        let links = self.links[confidence as usize];
        share(links.right, links.asserted)
    }

    /// The promises that are broken, each as a sentence; empty if all are kept.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.mixed_answers > 0 {
            broken.push(format!(
                "{} answers mix different requests ({} pairs of them)",
                self.mixed_answers, self.false_pairs
            ));
        }
        if let Some(least) = self.promise.joined.filter(|&least| self.joined_share() < least) {
            let (joined, requests) = (self.joined, self.requests);
            broken.push(format!(
                "{joined} of {requests} requests joined completely, promised {:.1} %",
                least * 100.0
            ));
        }
        if let Some(least) =
            self.promise.certain_right.filter(|&least| self.right_share(Confidence3::Certain) < least)
        {
            let Links { asserted, right } = self.links[0];
            broken
                .push(format!("{right} of {asserted} certain links right, promised {:.1} %", least * 100.0));
        }
        broken
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
