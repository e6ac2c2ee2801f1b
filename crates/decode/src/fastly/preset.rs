//! Presets: which key of a sender fills which field of the schema, as data. The built-in ones lie in
//! `schemas/fastly/*.toml`; users write the same form (`schemas/fastly/README.md` describes it).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use event::Hop;
use serde::Deserialize;
use toml::Spanned;

use super::target::{self, Target, TargetError};
use crate::coerce::Unit;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../schemas/fastly/", $name, ".toml")))),*]
    };
}

/// In order of preference where signatures tie; `fastly-generic` is the last resort.
const BUILT_IN: &[(&str, &str)] = built_in!(
    "throughline-vcl",
    "throughline-edge",
    "fastly-default",
    "fastly-datadog",
    "fastly-splunk",
    "fastly-honeycomb",
    "fastly-newrelic",
    "fastly-sumologic",
    "fastly-log-analytics",
    "fastly-aem",
    "fastly-pypi",
    "fastly-correlated",
    "fastly-compute-static",
    "fastly-clf",
    "fastly-generic",
);

/// One field set, compiled.
#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: String,
    pub(crate) hop: Hop,
    all: Vec<String>,
    any: Vec<String>,
    fields: HashMap<String, Rule>,
}

/// What one path of a preset says.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) target: Target,
    /// Place in the file: of two paths for one field, the first that can be read wins.
    pub(crate) rank: u32,
    /// Holds on the edge's records only: on a shield's it tells of the edge POP.
    pub(crate) edge_only: bool,
    /// Values that mean "none" here, besides the usual ones.
    pub(crate) absent: Arc<[String]>,
}

/// The field sets that are known: the user's before the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct Presets {
    list: Vec<Arc<Preset>>,
}

/// One preset, chosen by name for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresetId(pub(crate) usize);

/// Why presets cannot be used. The configuration is at fault; trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// The text is not TOML of the expected form.
    #[error("preset {preset}, line {line}: {message}")]
    Form {
        /// Name or place of the preset.
        preset: String,
        /// Line in the text, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// No preset of this name.
    #[error("no preset `{name}`; the nearest is `{nearest}`")]
    Unknown {
        /// As asked for.
        name: String,
        /// The most similar name.
        nearest: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "for readers of the file")]
    description: String,
    #[serde(default)]
    hop: Option<Spanned<String>>,
    #[serde(default)]
    detect: Detect,
    fields: BTreeMap<Spanned<String>, Spanned<Mapping>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Detect {
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a field name or { to = \"…\", unit = \"…\", edge_only = …, absent = […] }"
)]
enum Mapping {
    Name(String),
    Rule(MappingRule),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingRule {
    to: String,
    unit: Option<String>,
    #[serde(default)]
    edge_only: bool,
    #[serde(default)]
    absent: Vec<String>,
}

impl Presets {
    /// The presets that come with the product.
    pub fn built_in() -> Result<Self, PresetError> {
        let list: Result<_, _> =
            BUILT_IN.iter().map(|(name, text)| compile(name, text).map(Arc::new)).collect();
        Ok(Self { list: list? })
    }

    /// As [`Self::built_in`], with one more preset (TOML text) preferred over all that are there.
    pub fn with_user(toml: &str) -> Result<Self, PresetError> {
        Self::built_in()?.and_user(toml)
    }

    /// Adds one more preset, preferred over all that are there; one of the same name is replaced.
    pub fn and_user(mut self, toml: &str) -> Result<Self, PresetError> {
        let preset = compile("of the user", toml)?;
        self.list.retain(|known| known.name != preset.name);
        self.list.insert(0, Arc::new(preset));
        Ok(self)
    }

    /// The preset of a name, for a source that does not want detection.
    pub fn find(&self, name: &str) -> Result<PresetId, PresetError> {
        let found = self.list.iter().position(|preset| preset.name == name);
        found.map(PresetId).ok_or_else(|| PresetError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, self.list.iter().map(|preset| preset.name.as_str())),
        })
    }

    /// Names in order of preference.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|preset| preset.name.as_str())
    }

    pub(crate) fn preset(&self, id: PresetId) -> &Preset {
        &self.list[id.0]
    }

    /// The preset whose signature fits the keys of a record best: all of `all`, most of `all` and `any` together.
    pub(crate) fn detect(&self, keys: &HashSet<&str>) -> Option<PresetId> {
        let scores = self.list.iter().enumerate().filter_map(|(at, preset)| Some((preset.score(keys)?, at)));
        scores.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, at)| PresetId(at))
    }
}

impl Preset {
    pub(crate) fn rule(&self, path: &str) -> Option<&Rule> {
        self.fields.get(path)
    }

    /// `None` if the signature does not fit. Keys that must be there weigh more than such as may; a preset that
    /// demands none is a last resort, however many of its keys are there.
    fn score(&self, keys: &HashSet<&str>) -> Option<usize> {
        let any = self.any.iter().filter(|key| keys.contains(key.as_str())).count();
        if self.all.is_empty() {
            return (any > 0).then_some(0);
        }
        let all = self.all.iter().all(|key| keys.contains(key.as_str()));
        all.then_some(self.all.len() * 3 + any * 2)
    }
}

fn compile(place: &str, text: &str) -> Result<Preset, PresetError> {
    let fault = |preset: &str, at: usize, message: String| PresetError::Form {
        preset: preset.to_owned(),
        line: 1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count(),
        message,
    };
    let file: File = toml::from_str(text).map_err(|error| {
        fault(place, error.span().map_or(0, |span| span.start), error.message().to_owned())
    })?;
    let name = file.name.get_ref();
    if name.is_empty() || name.len() > 64 {
        return Err(fault(place, file.name.span().start, "a name has 1 to 64 bytes".to_owned()));
    }
    let hop = match &file.hop {
        None => Hop::Unknown,
        Some(word) => Hop::from_name(word.get_ref()).ok_or_else(|| {
            let nearest = nearest(word.get_ref(), Hop::ALL.iter().map(|hop| hop.name()));
            fault(name, word.span().start, format!("no hop `{}`; the nearest is `{nearest}`", word.get_ref()))
        })?,
    };
    let mut fields = HashMap::with_capacity(file.fields.len());
    for (path, mapping) in &file.fields {
        let rule =
            rule(path, mapping.get_ref()).map_err(|message| fault(name, path.span().start, message))?;
        fields.insert(path.get_ref().clone(), rule);
    }
    Ok(Preset { name: name.clone(), hop, all: file.detect.all, any: file.detect.any, fields })
}

/// The place in the text is the rank: the parser does not keep the order of a table.
fn rule(path: &Spanned<String>, mapping: &Mapping) -> Result<Rule, String> {
    let none = Vec::new();
    let (to, unit, edge_only, absent) = match mapping {
        Mapping::Name(to) => (to, &None, false, &none),
        Mapping::Rule(rule) => (&rule.to, &rule.unit, rule.edge_only, &rule.absent),
    };
    let path_text = path.get_ref();
    let unit = match unit {
        None => None,
        Some(word) => Some(
            Unit::from_name(word)
                .ok_or_else(|| format!("`{path_text}`: no unit `{word}`; it is one of ns, us, ms, s"))?,
        ),
    };
    let target = target::find(to, unit).map_err(|error| match error {
        TargetError::Unknown => {
            format!("`{path_text}`: no field `{to}`; the nearest is `{}`", nearest(to, target::words()))
        }
        TargetError::UnitMissing => {
            format!("`{path_text}`: `{to}` is a duration and needs unit = \"ns\", \"us\", \"ms\" or \"s\"")
        }
        TargetError::UnitUnwanted => format!("`{path_text}`: `{to}` has no unit"),
    })?;
    let rank = u32::try_from(path.span().start).unwrap_or(u32::MAX);
    Ok(Rule { target, rank, edge_only, absent: absent.as_slice().into() })
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_preset_compiles_under_its_file_name() {
        let presets = Presets::built_in().unwrap();
        assert!(presets.names().eq(BUILT_IN.iter().map(|(name, _)| *name)));
    }

    #[test]
    fn errors_name_line_key_and_nearest_name() {
        let error = |text: &str| Presets::with_user(text).unwrap_err().to_string();
        let text = "name = \"mine\"\n[fields]\n\"st\" = \"status\"\n\"rb\" = \"respnse_bytes\"\n";
        let told = error(text);
        assert!(told.contains("preset mine, line 4") && told.contains("`response_bytes`"), "{told}");
        let told = error("name = \"mine\"\n[fields]\nt = \"duration_ns\"\n");
        assert!(told.contains("line 3") && told.contains("needs unit"), "{told}");
        let told = error("name = \"mine\"\nhop = \"egde\"\n[fields]\n");
        assert!(told.contains("line 2") && told.contains("`edge`"), "{told}");
        let told = error("name = \"mine\"\nnmae = 1\n[fields]\n");
        assert!(told.contains("line 2") && told.contains("nmae"), "{told}");
        let told = error("name = \"mine\"\n[fields]\nt = { to = \"duration_ns\", unit = \"min\" }\n");
        assert!(told.contains("line 3") && told.contains("ns, us, ms, s"), "{told}");
    }

    #[test]
    fn a_user_preset_wins_a_tie_and_is_found_by_name() {
        let text = "name = \"mine\"\n[detect]\nall = [\"timestamp\", \"client_ip\", \"response_status\", \
                    \"fastly_is_edge\"]\n[fields]\nx = \"host\"\n";
        let presets = Presets::with_user(text).unwrap();
        assert_eq!(presets.find("mine"), Ok(PresetId(0)));
        let told = presets.find("fastly-defualt").unwrap_err().to_string();
        assert!(told.contains("`fastly-default`"), "{told}");
    }
}
