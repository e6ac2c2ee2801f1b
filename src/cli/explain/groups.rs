//! Candidates: events that a chain of shared ids may make one request, so that assembly sees them together.
//!
//! Far more may be in one group than in one request; what is one request, assembly decides. An id on more events than
//! assembly believes ([`trace::EVENTS_PER_REQUEST`]) ties nothing.

use super::held::{Events, TIES};

/// Indexes of events, group by group.
#[derive(Debug)]
pub(super) struct Groups {
    /// Events in the order of their groups.
    members: Vec<u32>,
    /// Where each group ends.
    ends: Vec<u32>,
    /// Ids that were on too many events.
    pub(super) worn: u64,
}

impl Groups {
    /// Groups all events.
    pub(super) fn of(events: &Events) -> Self {
        let count = events.len();
        let mut parents: Vec<u32> = (0..count as u32).collect();
        let mut ties: Vec<(u64, u32)> = Vec::with_capacity(count * TIES / 2);
        for at in 0..count {
            ties.extend(events.ties(at).iter().filter(|&&tie| tie != 0).map(|&tie| (tie, at as u32)));
        }
        ties.sort_unstable();
        ties.dedup();
        let mut worn = 0;
        for same in ties.chunk_by(|a, b| a.0 == b.0) {
            if same.len() > trace::EVENTS_PER_REQUEST {
                worn += 1;
                continue;
            }
            for pair in same.windows(2) {
                let (a, b) = (root(&mut parents, pair[0].1), root(&mut parents, pair[1].1));
                parents[a.max(b) as usize] = a.min(b);
            }
        }
        drop(ties);
        let mut members: Vec<(u32, u32)> = (0..count as u32).map(|at| (root(&mut parents, at), at)).collect();
        drop(parents);
        members.sort_unstable();
        let mut ends: Vec<u32> =
            (1..members.len()).filter(|&at| members[at].0 != members[at - 1].0).map(|at| at as u32).collect();
        if !members.is_empty() {
            ends.push(members.len() as u32);
        }
        Self { members: members.into_iter().map(|(_, at)| at).collect(), ends, worn }
    }

    /// How many groups.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The events of one group.
    pub(super) fn members(&self, group: usize) -> &[u32] {
        let from = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.members[from as usize..self.ends[group] as usize]
    }
}

fn root(parents: &mut [u32], mut at: u32) -> u32 {
    while parents[at as usize] != at {
        parents[at as usize] = parents[parents[at as usize] as usize];
        at = parents[at as usize];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::held::{Held, Row};
    use super::*;

    fn groups(ties: &[[u64; TIES]]) -> Vec<Vec<u32>> {
        let mut held = Held::new(usize::MAX);
        let rows: Vec<Row> = ties.iter().map(|&ties| Row { start_ns: 0, length: 0, ties }).collect();
        held.add(&rows, &[]);
        let groups = Groups::of(&held.finish());
        (0..groups.len()).map(|group| groups.members(group).to_vec()).collect()
    }

    #[test]
    fn chains_of_ids_are_one_group() {
        let found = groups(&[[1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [2, 4, 0, 0, 0], [0; 5], [4, 4, 0, 0, 0]]);
        assert_eq!(found, [vec![0, 2, 4], vec![1], vec![3]]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn an_id_on_too_many_events_ties_nothing() {
        let many = vec![[9, 0, 0, 0, 0]; trace::EVENTS_PER_REQUEST + 1];
        assert_eq!(groups(&many).len(), many.len());
    }
}
