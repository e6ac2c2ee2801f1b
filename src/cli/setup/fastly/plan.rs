//! What would change in a version: computed from what is wanted and what is there, and shown before anything is done.

use std::fmt::Write as _;

use super::api::{Collection, Live, LiveSnippet};
use super::wanted::{self, PRIORITY, Snippet, TOKEN_FIELD, TOKEN_VARIABLE, Wanted};
use crate::render::safe;

/// What happens to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
    Keep,
    Delete,
}

/// One object of ours.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) change: Change,
    pub(super) collection: Collection,
    pub(super) name: String,
    /// What is sent, but for the token.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Whether the token goes with it.
    pub(super) sends_token: bool,
    /// What is different, a line each.
    lines: Vec<String>,
}

/// Everything that happens to a version.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Objects of somebody else under one of our names: why nothing is done.
    pub(super) foreign: Vec<String>,
    /// What an operator should know before.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// What makes the version as wanted. Without a token, the token that is there stays.
    pub(super) fn install(wanted: &Wanted, live: &Live, token: Option<&str>, replace: bool) -> Self {
        let mut plan = Self::default();
        for snippet in &wanted.snippets {
            plan.install_snippet(snippet, live, replace);
        }
        plan.install_endpoint(wanted, live, token, replace);
        for kind in missing_macros(live, &wanted.snippets) {
            plan.warnings.push(format!(
                "the service's own VCL has no `#FASTLY {kind}`: add it, or the snippet {} {kind} never runs",
                wanted.name
            ));
        }
        plan
    }

    fn install_snippet(&mut self, wanted: &Snippet, live: &Live, replace: bool) {
        let fields = vec![
            ("name", wanted.name.clone()),
            ("type", wanted.kind.to_owned()),
            ("priority", PRIORITY.to_owned()),
            ("dynamic", "0".to_owned()),
            ("content", wanted.content.to_owned()),
        ];
        let Some(there) = live.snippets.iter().find(|there| there.name == wanted.name) else {
            let count = wanted.content.lines().count();
            let lines = vec![format!("type {}, priority {PRIORITY}, {count} lines", wanted.kind)];
            self.step(Change::Create, Collection::Snippets, &wanted.name, fields, lines);
            return;
        };
        // A dynamic snippet has its content outside of versions: it cannot become a versioned one.
        if there.is_dynamic || (!wanted::is_our_text(&there.content) && !replace) {
            let name = safe(&there.name).to_string();
            self.foreign.push(if there.is_dynamic {
                format!("snippet {name} is a dynamic one of somebody else: rename it, or choose another --name")
            } else {
                format!("snippet {name} is somebody else's: --replace takes its place, another --name leaves it alone")
            });
            return;
        }
        let mut lines = Vec::new();
        for (what, was, is) in [("type", &there.kind, wanted.kind), ("priority", &there.priority, PRIORITY)] {
            if was != is {
                lines.push(format!("{what}: {} -> {is}", safe(was)));
            }
        }
        if there.content.trim_end() != wanted.content.trim_end() {
            lines.extend(line_difference(&there.content, wanted.content));
        }
        let change = if lines.is_empty() { Change::Keep } else { Change::Update };
        // What an update may name: a version's snippet stays what it is.
        let fields = fields.into_iter().filter(|(field, _)| !["name", "dynamic"].contains(field)).collect();
        self.step(change, Collection::Snippets, &wanted.name, fields, lines);
    }

    fn install_endpoint(&mut self, wanted: &Wanted, live: &Live, token: Option<&str>, replace: bool) {
        let name = &wanted.name;
        let fields = wanted.fields();
        let value = |endpoint: &[(String, String)], field: &str| {
            endpoint
                .iter()
                .find(|(other, _)| other == field)
                .map_or_else(String::new, |(_, value)| value.clone())
        };
        for other in &live.endpoints {
            let other_name = value(other, "name");
            if other_name != *name && value(other, "url") == wanted.url.as_str() {
                self.warnings.push(format!(
                    "the log endpoint {} sends to the same URL: every line would come twice; delete it, or choose --name {}",
                    safe(&other_name),
                    safe(&other_name)
                ));
            }
        }
        let Some(there) = live.endpoints.iter().find(|there| value(there, "name") == *name) else {
            let mut lines: Vec<String> = fields.iter().map(|(field, value)| shown(field, value)).collect();
            lines.push(format!("{TOKEN_FIELD}: Bearer and the token in {TOKEN_VARIABLE}"));
            let all = [vec![("name", name.clone())], fields].concat();
            self.step(Change::Create, Collection::Endpoints, name, all, lines);
            self.sends_token();
            return;
        };
        if !wanted::is_our_url(&value(there, "url")) && !replace {
            self.foreign.push(format!(
                "log endpoint {} sends to somebody else: --replace takes its place, another --name leaves it alone",
                safe(name)
            ));
            return;
        }
        let mut lines = Vec::new();
        for (field, is) in &fields {
            let was = value(there, field);
            if was.trim() != is {
                lines.push(match *field {
                    "format" => format!("format: another text ({} -> {} characters)", was.len(), is.len()),
                    _ => format!(
                        "{field}: {} -> {}",
                        safe(if was.is_empty() { "not set" } else { &was }),
                        safe(is)
                    ),
                });
            }
        }
        let other_token = token.is_some_and(|token| value(there, TOKEN_FIELD) != wanted::bearer(token));
        if other_token {
            lines.push(format!("{TOKEN_FIELD}: another token -> the one in {TOKEN_VARIABLE}"));
        }
        if value(there, "placement") == "none" && wanted.format.is_some() {
            self.warnings.push(format!(
                "the log endpoint {name} has the placement `none`, which stays: lines come only where VCL of your own logs them"
            ));
        }
        let condition = value(there, "response_condition");
        if !condition.is_empty() {
            self.warnings.push(format!(
                "the log endpoint {name} has the condition {}, which stays: only responses that fit are logged",
                safe(&condition)
            ));
        }
        let change = if lines.is_empty() { Change::Keep } else { Change::Update };
        self.step(change, Collection::Endpoints, name, fields, lines);
        if other_token {
            self.sends_token();
        }
    }

    /// What takes our objects out of the version again, and nothing else.
    pub(super) fn remove(name: &str, live: &Live) -> Self {
        let mut plan = Self::default();
        for wanted in wanted::snippets(name) {
            let there = live.snippets.iter().find(|there| there.name == wanted.name);
            match there {
                Some(LiveSnippet { is_dynamic: false, content, .. }) if wanted::is_our_text(content) => {
                    plan.step(Change::Delete, Collection::Snippets, &wanted.name, Vec::new(), Vec::new());
                }
                Some(_) => {
                    plan.warnings.push(format!("snippet {} is somebody else's and stays", wanted.name));
                }
                None => {}
            }
        }
        for there in &live.endpoints {
            let value =
                |field: &str| there.iter().find(|(other, _)| other == field).map_or("", |(_, value)| value);
            if value("name") != name {
                continue;
            }
            if wanted::is_our_url(value("url")) {
                plan.step(Change::Delete, Collection::Endpoints, name, Vec::new(), Vec::new());
            } else {
                plan.warnings.push(format!("log endpoint {name} sends to somebody else and stays"));
            }
        }
        plan
    }

    /// Whether the version is as it should be.
    pub(super) fn is_done(&self) -> bool {
        self.foreign.is_empty() && self.steps.iter().all(|step| step.change == Change::Keep)
    }

    /// Whether it cannot be done without a token.
    pub(super) fn needs_token(&self) -> bool {
        self.steps.iter().any(|step| step.change == Change::Create && step.sends_token)
    }

    fn step(
        &mut self,
        change: Change,
        collection: Collection,
        name: &str,
        fields: Vec<(&'static str, String)>,
        lines: Vec<String>,
    ) {
        let name = name.to_owned();
        self.steps.push(Step { change, collection, name, fields, sends_token: false, lines });
    }

    fn sends_token(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.sends_token = true;
        }
    }

    /// The difference for a person, an object a line.
    pub(super) fn show(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            let (mark, lines) = match step.change {
                Change::Create => ('+', step.lines.as_slice()),
                Change::Update => ('~', step.lines.as_slice()),
                Change::Delete => ('-', step.lines.as_slice()),
                Change::Keep => ('=', [].as_slice()),
            };
            let what = match step.collection {
                Collection::Snippets => "snippet",
                Collection::Endpoints => "log endpoint",
            };
            let _ = writeln!(out, "{mark} {what} {}", step.name);
            for line in lines {
                let _ = writeln!(out, "      {line}");
            }
        }
        out
    }
}

/// A setting on one line.
fn shown(field: &str, value: &str) -> String {
    match field {
        "format" => format!("format: {} characters, as `--print format` shows it", value.len()),
        _ => format!("{field}: {value}"),
    }
}

/// Macros that the service's own VCL lacks: without them Fastly has no place for the snippets.
fn missing_macros(live: &Live, snippets: &[Snippet]) -> Vec<&'static str> {
    let Some(vcl) = &live.main_vcl else { return Vec::new() };
    let has = |kind: &str| {
        let words = |line: &str| line.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
        vcl.lines().map(words).any(|words| words.len() == 2 && words[0] == "#fastly" && words[1] == kind)
    };
    // `init` is put outside of all subroutines and needs none.
    let kinds = snippets.iter().map(|snippet| snippet.kind).filter(|kind| *kind != "init");
    kinds.filter(|kind| !has(kind)).collect()
}

/// Lines that go and lines that come, in order. Texts here have some eighty lines, so the table of all pairs is small.
fn line_difference(was: &str, is: &str) -> Vec<String> {
    /// Somebody's snippet may be long; its lines are then not compared one by one.
    const COMPARED_MOST: usize = 1000;
    let (was, is): (Vec<&str>, Vec<&str>) =
        (was.trim_end().lines().collect(), is.trim_end().lines().collect());
    if was.len() > COMPARED_MOST {
        return vec![format!("another text ({} -> {} lines)", was.len(), is.len())];
    }
    // Length of the longest common part of what is left of both.
    let mut common = vec![vec![0_usize; is.len() + 1]; was.len() + 1];
    for i in (0..was.len()).rev() {
        for j in (0..is.len()).rev() {
            common[i][j] = if was[i] == is[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < was.len() || j < is.len() {
        if i < was.len() && j < is.len() && was[i] == is[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == is.len() || (i < was.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("- {}", safe(was[i])));
            i += 1;
        } else {
            out.push(format!("+ {}", safe(is[j])));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
