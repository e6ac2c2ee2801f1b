//! Plans: for records of one order of keys, which preset reads them and which value goes where, in what order.

use std::collections::HashSet;
use std::sync::Arc;

use super::json::Scanner;
use super::preset::PresetId;
use super::shape::{Entry, Key, PathId, Paths};
use super::skeleton::Skeleton;
use super::target::Target;
use crate::Rules;
use crate::coerce::Scalar;

/// Orders of keys remembered at once. A service writes one or two; a body of ever new orders costs time, not memory.
const MAX_PLANS: usize = 16;

/// How often a record of a known order of keys may teach its plan a new skeleton: blanks and escapes may differ.
const MAX_LESSONS: u8 = 4;
/// How often one record may go on with another plan's skeleton: a template has an optional part or two.
const MAX_SWITCHES: usize = 4;

/// One value's way.
#[derive(Debug)]
pub(crate) struct Step {
    /// Index of the value in the record.
    pub(crate) entry: u32,
    pub(crate) path: PathId,
    pub(crate) target: Target,
    pub(crate) edge_only: bool,
    /// Whether the name says that the value is a secret: asked once, not in each record.
    pub(crate) secret_name: bool,
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
    /// A key stands twice in it.
    pub(crate) has_duplicates: bool,
    skeleton: Skeleton,
    lessons: u8,
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

    /// Reads a record that is built like one before it: its values, and its length. [`Self::last`] is its plan then.
    pub(crate) fn read<'a>(&mut self, text: &'a str, values: &mut Vec<Scalar<'a>>) -> Option<usize> {
        values.clear();
        let mut scanner = Scanner::new(text);
        for _ in 0..MAX_SWITCHES {
            let skeleton = &self.list.get(self.last)?.skeleton;
            if skeleton.read(&mut scanner, values) {
                return Some(scanner.at());
            }
            let continues = |plan: &Plan| plan.skeleton.continues(skeleton, values.len(), &scanner);
            self.last = self.list.iter().position(continues)?;
        }
        None
    }

    /// Keeps how a walked record was built, for [`Self::read`].
    pub(crate) fn learn(&mut self, record: &str, entries: &[Entry<'_>]) {
        let Some(plan) = self.list.get_mut(self.last).filter(|plan| plan.lessons < MAX_LESSONS) else {
            return;
        };
        plan.lessons += 1;
        let mut counts = vec![false; entries.len()];
        for step in &plan.steps {
            counts[step.entry as usize] = step.target.is_count() && step.absent.is_empty();
        }
        plan.skeleton = Skeleton::new(record, entries, |at| counts[at]);
    }

    /// The plan of an order that was not predicted, made if it is new.
    pub(crate) fn choose(
        &mut self,
        order: &[Key],
        entries: &[Entry<'_>],
        paths: &Paths,
        rules: &Rules,
        fixed: Option<PresetId>,
    ) {
        if let Some(at) = self.list.iter().position(|plan| plan.order == order) {
            self.last = at;
            return;
        }
        let plan = make(order, entries, paths, rules, fixed);
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

fn make(order: &[Key], entries: &[Entry<'_>], paths: &Paths, rules: &Rules, fixed: Option<PresetId>) -> Plan {
    let (presets, redactor) = (&rules.fastly, &rules.redactor);
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
                        Step {
                            entry: at,
                            path: entry.path,
                            target: rule.target,
                            edge_only: rule.edge_only,
                            secret_name: redactor.is_secret_name(paths.name(entry.path)),
                            absent,
                        },
                    )
                }
                _ => (
                    3,
                    0,
                    Step {
                        entry: at,
                        path: entry.path,
                        target: Target::Attribute,
                        edge_only: false,
                        secret_name: redactor.is_secret_name(paths.name(entry.path)),
                        absent: Arc::from([]),
                    },
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
        has_duplicates: entries.iter().any(|entry| entry.duplicate),
        skeleton: Skeleton::default(),
        lessons: 0,
        steps: steps.into_iter().map(|(_, _, step)| step).collect(),
    }
}
