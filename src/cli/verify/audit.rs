//! Asks the store what it holds, by its read-only port, and the service what it shows; the judging is [`super::check`].

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use store::{Endpoint, Store};

use super::check::Verdict;
use super::damage;
use super::lane::Lane;
use super::ledger::Books;
use super::record::{Entry, Number};
use super::service::Target;
use crate::cli::client::{Client, Server};
use crate::config::DEFAULT_TENANT;

/// Records asked for at once: some megabytes of an answer.
const PAGE: u64 = 20_000;
/// Records of each lane that are looked up as a person would.
const LOOKED_UP: u64 = 10;

/// What `verify` looks at of an answer to a look-up.
#[derive(Debug, serde::Deserialize)]
struct Found {
    spans: Vec<serde::de::IgnoredAny>,
}

/// Holds every table against the books, of each lane the records from a place on: those before are in a store that is
/// gone.
pub(super) async fn audit(
    directory: &Path,
    target: Target,
    books: &Books,
    flipped: &BTreeSet<String>,
    from: &[u64],
) -> anyhow::Result<Verdict> {
    let store = connect(directory, target)?;
    let mut verdict = Verdict::default();
    for lane in Lane::ALL {
        let (begin, end) = (begin(from, lane), books.counts(lane).len() as u64);
        // One page more than there is: nothing may have a number past the last.
        for first in (begin..=end).step_by(PAGE as usize) {
            let next = if first + PAGE > end { 1 << 48 } else { first + PAGE };
            let (from, to) = (Number::new(lane, first).path_prefix(), after(lane, next));
            let rows = store.audit_paths(DEFAULT_TENANT, &from, &to).await?;
            verdict.judge(books, lane, first..next.min(end), &rows);
        }
    }
    let (sums, hosts) = (store.audit_sums().await?, store.audit_hosts(DEFAULT_TENANT).await?);
    verdict.judge_sums(&sums, &hosts, books.damaged.len() as u64);
    let aside = damage::set_aside(&directory.join("data/spool")).context("look into corrupt/")?;
    for missing in flipped.difference(&aside) {
        verdict.corrupted(format!("segment {missing} was damaged and is not in corrupt/"));
    }
    for unasked in aside.difference(flipped) {
        verdict.corrupted(format!("segment {unasked} is in corrupt/ and was not damaged"));
    }
    look_up(target, books, from, &mut verdict).await?;
    Ok(verdict)
}

/// The first path after those of the records before `place`.
fn after(lane: Lane, place: u64) -> String {
    if place < 1 << 48 {
        return Number::new(lane, place).path_prefix();
    }
    // Of the lane after this one, which need not exist.
    Number::of_bits((lane as u64 + 1) << 48).path_prefix()
}

/// The first record of a lane that counts.
fn begin(from: &[u64], lane: Lane) -> u64 {
    from.get(lane as usize).copied().unwrap_or_default()
}

fn connect(directory: &Path, target: Target) -> anyhow::Result<Store> {
    let path = directory.join("data/clickhouse-credentials");
    let credentials = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (user, password) = credentials
        .trim()
        .split_once(':')
        .with_context(|| format!("{} is not user:password", path.display()))?;
    let address = target.public.context("the service has no read-only port")?;
    Ok(Store::connect(Endpoint {
        user: user.to_owned(),
        password: password.to_owned(),
        database: "throughline".to_owned(),
        ..Endpoint::at(format!("http://{address}"))
    }))
}

/// Some records of every lane, by the API: each is one span, however often it was delivered.
async fn look_up(target: Target, books: &Books, from: &[u64], verdict: &mut Verdict) -> anyhow::Result<()> {
    let client = Client::new(&Server { url: format!("http://{}", target.http), token: None })?;
    for lane in Lane::ALL {
        let counts = books.counts(lane);
        let (begin, end) = (begin(from, lane), counts.len() as u64);
        let step = (end.saturating_sub(begin) / LOOKED_UP).max(1);
        for nth in (begin..end).step_by(step as usize) {
            let number = Number::new(lane, nth);
            let is_sure = counts.get(nth as usize).is_some_and(|counts| counts.acknowledged > 0);
            if !is_sure || books.is_damaged(number) {
                continue;
            }
            let id = Entry::new(books.origin, lane, nth).id_text();
            let found: Option<Found> = client.find(&["api", "v1", "traces", &id], &[]).await?;
            let spans = found.map_or(0, |found| found.spans.len());
            if spans != 1 {
                verdict.corrupted(format!("{number}: `throughline trace {id}` shows {spans} spans"));
            }
        }
    }
    Ok(())
}
