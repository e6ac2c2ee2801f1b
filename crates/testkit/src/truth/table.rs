//! Scores as text for people.

use std::fmt;

use super::score::{Confidence3, Links, Score};

/// A table of scores, a scenario a line, and the broken promises below it.
#[derive(Debug, Clone, Copy)]
pub struct Table<'s>(pub &'s [Score]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:>8} {:>16} {:>7} {:>7} {:>20} {:>20} {:>20} {:>7}",
            "scenario",
            "requests",
            "joined",
            "false",
            "missing",
            "certain right",
            "likely right",
            "ambiguous right",
            "links"
        )?;
        for score in self.0 {
            writeln!(f, "{score}")?;
        }
        for score in self.0 {
            for broken in score.broken() {
                writeln!(f, "BROKEN {}: {broken}", score.name)?;
            }
        }
        Ok(())
    }
}

/// One line of the table. Links without a word on how sure they are count among the asserted ones at the end.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asserted: usize = self.links.iter().map(|links| links.asserted).sum();
        write!(
            f,
            "{:<18} {:>8} {:>16} {:>7} {:>7} {:>20} {:>20} {:>20} {:>6.1}%",
            self.name,
            self.requests,
            of(self.joined, self.requests),
            self.mixed_answers,
            self.missing_records,
            right(self, Confidence3::Certain),
            right(self, Confidence3::Likely),
            right(self, Confidence3::Ambiguous),
            if self.true_links == 0 { 100.0 } else { 100.0 * asserted as f64 / self.true_links as f64 },
        )
    }
}

fn right(score: &Score, confidence: Confidence3) -> String {
    let Links { asserted, right } = score.links[confidence as usize];
    of(right, asserted)
}

/// `997 (99.7 %)`; `-` of nothing. Rounded down, so that 100 % means all.
fn of(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{part} ({:.2} %)", (10_000 * part / whole) as f64 / 100.0)
}
