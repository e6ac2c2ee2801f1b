//! What every record of one request hangs under.
//!
//! Each record may hang under those that its role allows, and fits under each as far as the two records tell
//! ([`crate::fit`]). The best fits are given out first; a call takes one child, and more only as retries. Where two fit
//! equally the link is ambiguous, and where nothing fits the record hangs under what is known to lie above, with the
//! gap named elsewhere.

use std::collections::BTreeMap;

use event::HopEvent;

use crate::fit::{self, Fit};
use crate::model::{Confidence, Evidence, Link};
use crate::place::Role;

/// One possible link.
struct Pair {
    parent: usize,
    child: usize,
    fit: Fit,
}

/// All possible links, by child and by parent.
struct Choices<'p> {
    of_child: Vec<Vec<&'p Pair>>,
    of_parent: Vec<Vec<&'p Pair>>,
    /// Calls that went to an address.
    calls_to: BTreeMap<&'p str, usize>,
}

impl<'p> Choices<'p> {
    fn new(pairs: &'p [Pair], events: &'p [&'p HopEvent<'static>]) -> Self {
        let mut choices = Self {
            of_child: vec![Vec::new(); events.len()],
            of_parent: vec![Vec::new(); events.len()],
            calls_to: BTreeMap::new(),
        };
        for pair in pairs {
            choices.of_child[pair.child].push(pair);
            choices.of_parent[pair.parent].push(pair);
        }
        for call in events.iter().filter(|event| Role::of(event).calls() && !event.upstream_remote.is_empty())
        {
            *choices.calls_to.entry(&call.upstream_remote).or_default() += 1;
        }
        choices
    }
}

/// Parents of the events of one request, which are in the order of travel. Exactly one has none.
pub(crate) fn links(events: &[&HopEvent<'static>]) -> Vec<Option<Link>> {
    let mut linking = Linking::new(events);
    linking.assign();
    linking.settle_rest();
    linking.links
}

struct Linking<'e> {
    events: &'e [&'e HopEvent<'static>],
    roles: Vec<Role>,
    pairs: Vec<Pair>,
    /// Children that each event was given.
    children: Vec<Vec<usize>>,
    links: Vec<Option<Link>>,
    /// Score with which each child was given away.
    scores: Vec<Option<i32>>,
}

impl<'e> Linking<'e> {
    fn new(events: &'e [&'e HopEvent<'static>]) -> Self {
        let roles: Vec<Role> = events.iter().map(|event| Role::of(event)).collect();
        let mut linking = Self {
            events,
            roles,
            pairs: Vec::new(),
            children: vec![Vec::new(); events.len()],
            links: vec![None; events.len()],
            scores: vec![None; events.len()],
        };
        for child in 0..events.len() {
            linking.consider(child);
        }
        linking.pairs.sort_by_key(|pair| (-pair.fit.score, pair.child, pair.parent));
        linking
    }

    fn of_role(&self, wanted: impl Fn(Role) -> bool) -> Vec<usize> {
        (0..self.roles.len()).filter(|&at| wanted(self.roles[at])).collect()
    }

    /// The last Fastly hops before the origin.
    fn last_fastly(&self) -> Vec<usize> {
        let shields = self.of_role(|role| role == Role::Shield);
        if shields.is_empty() {
            return self.of_role(|role| role == Role::Edge);
        }
        let visits = |at: usize| self.events[at].visits.unwrap_or(0);
        let most = shields.iter().map(|&at| visits(at)).max().unwrap_or(0);
        shields.into_iter().filter(|&at| visits(at) == most).collect()
    }

    /// Adds every pair that the child's role allows.
    fn consider(&mut self, child: usize) {
        let role = self.roles[child];
        let visits = |at: usize| (self.roles[at], self.events[at].visits.unwrap_or(0));
        match role {
            // Fastly services in a chain: each under the one that began before it.
            Role::Edge => {
                let before = self.of_role(|role| role == Role::Edge).into_iter().rfind(|&at| at < child);
                self.add(before, child, fit::under_fastly);
            }
            Role::Shield => {
                let above: Vec<usize> = self
                    .of_role(Role::is_fastly)
                    .into_iter()
                    .filter(|&at| visits(at) < visits(child))
                    .collect();
                let last = above.iter().map(|&at| visits(at)).max();
                let above: Vec<usize> = above.into_iter().filter(|&at| Some(visits(at)) == last).collect();
                self.add(above, child, fit::under_fastly);
            }
            Role::Gateway => self.consider_gateway(child),
            Role::Call
                if self.own_inbound(child).is_empty()
                    && self.of_role(|role| role == Role::Gateway).is_empty() =>
            {
                self.consider_gateway(child);
            }
            Role::Inbound | Role::Egress => {
                let calls = self.of_role(Role::calls).into_iter().filter(|&at| at != child);
                self.add(calls, child, fit::under_call);
            }
            Role::Outbound | Role::Call => {
                let own = self.own_inbound(child);
                self.add(own, child, fit::under_own);
            }
            Role::Service => {
                let inbound = self.of_role(|role| matches!(role, Role::Inbound | Role::Egress));
                self.add(inbound, child, fit::under_own);
            }
            Role::Open => {}
        }
    }

    /// A gateway hangs under the gateway that called it, else under the last Fastly hop.
    fn consider_gateway(&mut self, child: usize) {
        let own = &self.events[child].downstream_local;
        let callers: Vec<usize> = self
            .of_role(Role::calls)
            .into_iter()
            .filter(|&at| at != child && !own.is_empty() && self.events[at].upstream_remote == *own)
            .collect();
        if callers.is_empty() {
            let above = self.last_fastly();
            self.add(above, child, fit::under_fastly);
        } else {
            self.add(callers, child, fit::under_call);
        }
    }

    /// Inbound records that may be of the pod that a call came from.
    fn own_inbound(&self, call: usize) -> Vec<usize> {
        let inbound = self.of_role(|role| role == Role::Inbound);
        inbound
            .into_iter()
            .filter(|&at| {
                fit::under_own(self.events[at], self.events[call])
                    .is_some_and(|fit| fit.has(Evidence::SamePod))
            })
            .collect()
    }

    fn add(
        &mut self,
        parents: impl IntoIterator<Item = usize>,
        child: usize,
        fit: impl Fn(&HopEvent<'_>, &HopEvent<'_>) -> Option<Fit>,
    ) {
        for parent in parents {
            let (above, below) = (self.events[parent], self.events[child]);
            if let Some(fit) = fit(above, below) {
                self.pairs.push(Pair { parent, child, fit: fit.with_ids(above, below) });
            }
        }
    }

    /// Gives out the best fits first: one child to a call, then the retries.
    fn assign(&mut self) {
        let pairs = std::mem::take(&mut self.pairs);
        for round in 0..2 {
            for pair in pairs.iter() {
                if self.links[pair.child].is_some() {
                    continue;
                }
                let room = match (self.roles[pair.parent].calls(), round) {
                    (false, _) => true,
                    (true, 0) => self.children[pair.parent].is_empty(),
                    (true, _) => self.has_room_to_retry(pair),
                };
                if room && !self.lies_under(pair.parent, pair.child) {
                    self.children[pair.parent].push(pair.child);
                    self.scores[pair.child] = Some(pair.fit.score);
                    self.links[pair.child] = Some(Link {
                        parent: pair.parent,
                        confidence: Confidence::Likely,
                        evidence: pair.fit.evidence.clone(),
                    });
                }
            }
        }
        let choices = Choices::new(&pairs, self.events);
        for child in 0..self.events.len() {
            let confidence = self.confidence(child, &choices);
            if let Some(link) = &mut self.links[child] {
                link.confidence = confidence;
            }
        }
    }

    /// Whether a call that has a child may have had another: it says so, or one of them failed.
    fn has_room_to_retry(&self, pair: &Pair) -> bool {
        let attempts = usize::from(self.events[pair.parent].attempt);
        let children = &self.children[pair.parent];
        if attempts > 0 {
            return children.len() < attempts;
        }
        let failed = |at: usize| fit::has_failed(self.events[at]);
        // Istio tries at most three times unless it is told otherwise, and does not say how often it did.
        children.len() < 3 && (failed(pair.child) || children.iter().any(|&at| failed(at)))
    }

    /// Whether `at` hangs under `above` already (or is it), so that `above` may not hang under `at`.
    fn lies_under(&self, mut at: usize, above: usize) -> bool {
        loop {
            if at == above {
                return true;
            }
            match &self.links[at] {
                Some(link) => at = link.parent,
                None => return false,
            }
        }
    }

    fn confidence(&self, child: usize, choices: &Choices<'_>) -> Confidence {
        let (Some(link), Some(score)) = (&self.links[child], self.scores[child]) else {
            return Confidence::Ambiguous;
        };
        let parents = &choices.of_child[child];
        let limited = self.roles[link.parent].calls();
        // A call that another child holds by a better fit was not free.
        let was_free = |pair: &Pair| {
            !limited
                || self.children[pair.parent].iter().all(|&other| self.scores[other] <= Some(pair.fit.score))
        };
        let tied = parents
            .iter()
            .any(|pair| pair.parent != link.parent && pair.fit.score >= score && was_free(pair));
        let rivals = || {
            let of_parent = choices.of_parent[link.parent].iter();
            of_parent.filter(|pair| pair.child != child && self.roles[pair.child] == self.roles[child])
        };
        let outdone =
            limited && rivals().any(|pair| pair.fit.score >= score && self.links[pair.child].is_none());
        if tied || outdone {
            return Confidence::Ambiguous;
        }
        let is_certain = parents.len() == 1 && self.is_certain(link, rivals().count(), choices);
        if is_certain { Confidence::Certain } else { Confidence::Likely }
    }

    /// Whether the only possible parent has as many children as it called, and what its kind of link needs.
    fn is_certain(&self, link: &Link, rivals: usize, choices: &Choices<'_>) -> bool {
        let has = |evidence| link.evidence.contains(&evidence);
        let parent = self.events[link.parent];
        match self.roles[link.parent] {
            Role::Edge | Role::Shield => {
                has(Evidence::SpanId) || link.evidence.iter().any(|it| matches!(it, Evidence::SameId(_)))
            }
            role if role.calls() => {
                let named = has(Evidence::Address) || has(Evidence::Destination);
                let told = has(Evidence::Likeness) || has(Evidence::Attempt);
                let alone = rivals < usize::from(parent.attempt.max(1));
                alone && (has(Evidence::SpanId) || named && told && has(Evidence::Time))
            }
            // A pod that was called once made its calls for that call.
            _ => {
                let calls = choices.calls_to.get(parent.downstream_local.as_ref()).copied().unwrap_or(0);
                has(Evidence::SamePod) && has(Evidence::Time) && calls <= 1
            }
        }
    }

    /// Hangs what fits nowhere under what is known to lie above it; the first in the order of travel is the root.
    fn settle_rest(&mut self) {
        let open: Vec<usize> = (0..self.events.len()).filter(|&at| self.links[at].is_none()).collect();
        let Some((&root, open)) = open.split_first() else { return };
        for &child in open {
            self.links[child] = Some(self.nearest(root, child));
        }
    }

    /// The record above the missing one: told by an address or a name, else the entry of the mesh, else the root.
    fn nearest(&self, root: usize, child: usize) -> Link {
        let mut best: Option<(i32, usize, Fit)> = None;
        for above in (0..self.events.len()).filter(|&at| !self.lies_under(at, child)) {
            let fit = fit::under_missing(self.events[above], self.events[child]);
            if fit.score > 0 && best.as_ref().is_none_or(|(score, ..)| fit.score > *score) {
                best = Some((fit.score, above, fit));
            }
        }
        if let Some((_, parent, fit)) = best {
            let evidence = fit.with_ids(self.events[parent], self.events[child]).evidence;
            return Link { parent, confidence: Confidence::Likely, evidence };
        }
        let entry = self.of_role(|role| role == Role::Gateway).into_iter().find(|&at| at != child);
        let above = if self.roles[child].is_fastly() { None } else { entry };
        let parent = above
            .into_iter()
            .chain(self.last_fastly())
            .find(|&at| !self.lies_under(at, child))
            .unwrap_or(root);
        let mut fit = Fit::default();
        fit.evidence.push(Evidence::HopOrder);
        let evidence = fit.with_ids(self.events[parent], self.events[child]).evidence;
        // With other proxies in between it may as well be theirs.
        let others = (0..self.events.len()).any(|at| {
            at != parent
                && !self.roles[at].is_fastly()
                && self.roles[at] != Role::Gateway
                && !self.lies_under(at, child)
        });
        Link { parent, confidence: if others { Confidence::Ambiguous } else { Confidence::Likely }, evidence }
    }
}
