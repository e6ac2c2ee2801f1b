//! Plans: for records of one order of keys, which preset reads them and which value goes where, in what order.

use std::collections::HashSet;
use std::sync::Arc;

use super::preset::{PresetId, Presets};
use super::shape::{Entry, Key, Paths};
use super::target::Target;

/// Orders of keys remembered at once. A service writes one or two; a body of ever new orders costs time, not memory.
const MAX_PLANS: usize = 16;

/// One value's way.
#[derive(Debug)]
pub(crate) struct Step {
    /// Index of the entry.
    pub(crate) entry: u32,
    pub(crate) target: Target,
    pub(crate) edge_only: bool,
    pub(crate) absent: Arc<[String]>,
}

/// How records with this order of keys are read.
#[derive(Debug)]
pub(crate) struct Plan {
    order: Vec<Key>,
    /// `None` where no preset knows the keys.
    pub(crate) preset: Option<PresetId>,
    pub(crate) steps: Vec<Step>,
    /// Whether any key fills a field of the schema.
    pub(crate) knows_any: bool,
}

/// The plans of a body.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    list: Vec<Plan>,
    last: usize,
    next_to_replace: usize,
}

impl Plans {
    /// The order of keys that the last record had: what the next one probably has.
    pub(crate) fn predicted(&self) -> &[Key] {
        self.list.get(self.last).map_or(&[], |plan| &plan.order)
    }

    pub(crate) fn last(&self) -> Option<&Plan> {
        self.list.get(self.last)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The plan of an order that was not predicted, made if it is new.
    pub(crate) fn choose(
        &mut self,
        order: &[Key],
        entries: &[Entry<'_>],
        paths: &Paths,
        presets: &Presets,
        fixed: Option<PresetId>,
    ) {
        if let Some(at) = self.list.iter().position(|plan| plan.order == order) {
            self.last = at;
            return;
        }
        let plan = make(order, entries, paths, presets, fixed);
        if self.list.len() < MAX_PLANS {
            self.last = self.list.len();
            self.list.push(plan);
        } else {
            self.last = self.next_to_replace;
            self.next_to_replace = (self.next_to_replace + 1) % MAX_PLANS;
            self.list[self.last] = plan;
        }
    }
}

fn make(
    order: &[Key],
    entries: &[Entry<'_>],
    paths: &Paths,
    presets: &Presets,
    fixed: Option<PresetId>,
) -> Plan {
    let keys: HashSet<&str> = order.iter().map(|key| paths.name(key >> 1)).collect();
    let preset = fixed.or_else(|| presets.detect(&keys));
    let mut steps: Vec<(u8, u32, Step)> = entries
        .iter()
        .zip(0..)
        .map(|(entry, at)| {
            let rule = preset.and_then(|id| presets.preset(id).rule(paths.name(entry.path)));
            match rule {
                // What tells edge from shield comes first, what depends on it last.
                Some(rule) if !entry.duplicate => {
                    let class = if rule.target.tells_hop() { 0 } else { 1 + u8::from(rule.edge_only) };
                    let absent = rule.absent.clone();
                    (
                        class,
                        rule.rank,
                        Step { entry: at, target: rule.target, edge_only: rule.edge_only, absent },
                    )
                }
                _ => (
                    3,
                    0,
                    Step { entry: at, target: Target::Attribute, edge_only: false, absent: Arc::from([]) },
                ),
            }
        })
        .collect();
    let knows_any =
        steps.iter().any(|(_, _, step)| !matches!(step.target, Target::Attribute | Target::Ignore));
    steps.sort_by_key(|(class, rank, step)| (*class, *rank, step.entry));
    Plan {
        order: order.to_vec(),
        preset,
        knows_any,
        steps: steps.into_iter().map(|(_, _, step)| step).collect(),
    }
}
