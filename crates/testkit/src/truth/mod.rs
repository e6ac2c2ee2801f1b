//! Workloads whose true tree is known, for proving the join: requests as they happened, written down as each sender
//! would, and which record is which.
//!
//! A [`Scenario`] holds the bytes ([`Delivery`]) and the truth ([`TrueRecord`]). Whoever is to be judged decodes the
//! bytes with the real decoders ([`decoded`]), assembles what came out without looking at the truth, tells by
//! [`tag_of`] which record each of its hops is, and hands that to [`score`].
//!
//! A *tag* is one hop's view of one request. It stands in the User-Agent (`probe/<tag>`; TCP has no headers, there it
//! is the route name), which every format carries; [`decoded`] moves it out of sight of event keys and assembly. All
//! records of one view carry one tag: a redelivery, the same record over a second transport, the periodic records of a
//! long request.
//!
//! Not modelled: bad bytes and forged fields (the fuzz targets and the captures have them), ambient mesh, HTTP/3,
//! application logs.

mod contract;
mod deliver;
mod edge;
mod hostile;
mod journey;
mod mesh;
mod plan;
mod pools;
mod proxy;
mod read;
mod score;
#[cfg(test)]
mod score_tests;
mod senders;
mod sidecar;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod view;
mod workload;

pub use contract::{Delivery, Promise, Scenario, TrueRecord, Wire};
pub use read::{Decoded, decoded, rules, tag_of};
pub use score::{Confidence3, Found, Links, Score, score};
pub use table::Table;

/// The names of all scenarios, in the order of [`scenarios`].
pub fn names() -> impl Iterator<Item = &'static str> {
    plan::all().into_iter().map(|plan| plan.name)
}

/// Every scenario, made one after the other as it is asked for. The same seed and size always give the same bytes.
pub fn scenarios(seed: u64, requests_each: usize) -> impl Iterator<Item = Scenario> {
    plan::all().into_iter().map(move |plan| workload::scenario(&plan, seed, requests_each))
}

/// The scenario of a name; `None` if there is none.
pub fn scenario(name: &str, seed: u64, requests: usize) -> Option<Scenario> {
    let plan = plan::all().into_iter().find(|plan| plan.name == name)?;
    Some(workload::scenario(&plan, seed, requests))
}
