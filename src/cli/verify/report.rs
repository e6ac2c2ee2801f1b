//! What a run says in the end: a table for people, one line of JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::check::Verdict;
use super::ledger::{Tally, slowest_and_median};
use super::life::Faults;

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) seconds: u64,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    pub(super) faults: Faults,
    pub(super) traffic: Tally,
    /// Whether the service's clock could be stepped.
    pub(super) clock_steps_possible: bool,
    /// Whether the spool had a disk of its own that could fill up.
    pub(super) is_disk_small: bool,
    /// What the store held that was empty at last, where one was asked for.
    pub(super) emptied: Option<Verdict>,
}

impl Report {
    /// Whether every promise was kept.
    pub(super) fn is_clean(&self) -> bool {
        self.verdict.is_clean()
            && self.emptied.as_ref().is_none_or(Verdict::is_clean)
            && self.traffic.wrong_answers == 0
    }

    /// The table.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { verdict, faults, traffic, .. } = self;
        let (slowest, median) = slowest_and_median(&traffic.recoveries_ms);
        let clocks =
            if self.clock_steps_possible { "" } else { " (none: THROUGHLINE_FAKETIME names no libfaketime)" };
        let disks = if self.is_disk_small { "" } else { " (none: --small-disk mounts one)" };
        let mut row = |name: &str, value: String| writeln!(out, "{name:<38} {value}");
        row("seed", self.seed.to_string())?;
        row("ran for", format!("{} s", self.seconds))?;
        row("records sent", verdict.sent.to_string())?;
        row("records acknowledged", verdict.acknowledged.to_string())?;
        row("records stored", format!("{} in {} rows", verdict.stored, verdict.rows))?;
        row("lost", verdict.lost.to_string())?;
        row("duplicated", verdict.duplicated.to_string())?;
        row("corrupted", verdict.corrupted.to_string())?;
        row("corrupt_set_aside", verdict.corrupt_set_aside.to_string())?;
        row("deliveries refused with 503", traffic.refused.to_string())?;
        row("deliveries never answered", traffic.unanswered.to_string())?;
        row("bodies cut off in the middle", traffic.cut.to_string())?;
        row("deliveries sent twice on purpose", traffic.redelivered.to_string())?;
        row("wrong answers", traffic.wrong_answers.to_string())?;
        row("lives of the service", faults.lives.to_string())?;
        row(
            "kill -9 of the service",
            format!("{}, {} before it listened", faults.kills, faults.early_kills),
        )?;
        row("kill -9 of the engine", faults.engine_kills.to_string())?;
        row("drains by SIGTERM", format!("{}, {} not in order", faults.drains, faults.bad_drains))?;
        row("ends that nobody asked for", faults.unasked_ends.len().to_string())?;
        row("lives on a failing disk", faults.failing_disks.to_string())?;
        row("full disks", format!("{}{disks}", faults.full_disks))?;
        row("store slow, store dead", format!("{}, {}", faults.slow_stores, faults.dead_stores))?;
        row("clock steps", format!("{}{clocks}", faults.clock_steps))?;
        row(
            "torn segments, segments with a flip",
            format!("{}, {}", faults.torn_segments, faults.flipped_segments),
        )?;
        row(
            "start to first acknowledgement",
            format!("median {} ms, slowest {} ms", median.as_millis(), slowest.as_millis()),
        )?;
        if let Some(Verdict { sent, acknowledged, stored, lost, duplicated, corrupted, .. }) = &self.emptied {
            row(
                "in a store that was emptied",
                format!(
                    "{sent} sent, {acknowledged} acknowledged, {stored} stored, {lost} lost, {duplicated} duplicated, \
                     {corrupted} corrupted"
                ),
            )?;
        }
        let of_emptied = self.emptied.iter().flat_map(|emptied| &emptied.findings);
        for finding in
            verdict.findings.iter().chain(of_emptied).chain(&traffic.wrong_first).chain(&faults.unasked_ends)
        {
            writeln!(out, "  {}", crate::render::safe(finding))?;
        }
        Ok(())
    }
}
