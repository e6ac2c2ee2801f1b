//! Telemetry resources: what logs where, and one more provider beside what is there.
//!
//! By istiod's rules (`mergeLogs`): of the mesh's, the namespace's and the workload's Telemetry the narrowest one that names
//! providers decides which are used; one that names none goes on with those of the wider one. Per level the oldest Telemetry
//! without selector counts. Where any applies, meshConfig.accessLogFile does not.

use serde_json::{Value, json};

use super::MANAGED_BY;
use super::live::{applicable, named};

/// The provider that istiod brings along for meshConfig.accessLogFile.
const BUILT_IN: &str = "envoy";
/// What a Telemetry of ours is called.
const OWN_NAME: &str = "throughline-access-logs";

/// Where a Telemetry is to stand.
pub(super) struct Level<'a> {
    pub(super) namespace: &'a str,
    /// Root namespace of the mesh: what stands there holds for all.
    pub(super) root: &'a str,
}

/// What is added: providers, and whether they log there.
pub(super) struct Added<'a> {
    pub(super) providers: &'a [&'a str],
    pub(super) filter: Option<&'a str>,
    pub(super) disabled: bool,
}

/// The Telemetry for a level.
#[derive(Debug)]
pub(super) enum Change {
    /// The level logs there already.
    None,
    /// A new object.
    New(Value),
    /// An object of others, with an entry more.
    Edited(Value),
}

/// What a Telemetry does to a provider that the wider level has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It says nothing of access logs, or names the provider too.
    Keeps,
    /// It names these instead.
    Replaces(Vec<String>),
    TurnsOff,
}

pub(super) fn entries(telemetry: &Value) -> &[Value] {
    telemetry["spec"]["accessLogging"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The providers that an entry names.
pub(super) fn names(entry: &Value) -> Vec<&str> {
    let providers = entry["providers"].as_array().map(Vec::as_slice).unwrap_or_default();
    providers.iter().filter_map(|provider| provider["name"].as_str()).collect()
}

fn is_selective(telemetry: &Value) -> bool {
    let spec = &telemetry["spec"];
    let selects = spec["selector"]["matchLabels"].as_object().is_some_and(|labels| !labels.is_empty());
    selects
        || spec["targetRef"].is_object()
        || spec["targetRefs"].as_array().is_some_and(|targets| !targets.is_empty())
}

fn namespace_of(telemetry: &Value) -> &str {
    telemetry["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// The Telemetry that counts for a whole namespace.
pub(super) fn wide<'a>(telemetries: &'a [Value], namespace: &str) -> Option<&'a Value> {
    let all = telemetries.iter().filter(|it| namespace_of(it) == namespace && !is_selective(it));
    all.min_by_key(|it| (it["metadata"]["creationTimestamp"].as_str(), it["metadata"]["name"].as_str()))
}

/// The providers that log where no Telemetry says anything.
pub(super) fn defaults(mesh: &Value) -> Vec<String> {
    let named = mesh["defaultProviders"]["accessLogging"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named: Vec<String> = named.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if named.is_empty() && mesh["accessLogFile"].as_str().is_some_and(|file| !file.is_empty()) {
        return vec![BUILT_IN.to_owned()];
    }
    named
}

fn entry(providers: &[impl AsRef<str>]) -> Value {
    let named: Vec<Value> = providers.iter().map(|name| json!({"name": name.as_ref()})).collect();
    json!({"providers": named})
}

/// The entries with the inherited providers written out where they name none: beside an entry that does name one, they would
/// otherwise be out of scope.
fn spelled_out(entries: &[Value], inherited: &[String]) -> Vec<Value> {
    let mut entries = entries.to_vec();
    if inherited.is_empty() || entries.iter().any(|entry| !names(entry).is_empty()) {
        return entries;
    }
    for spelled in &mut entries {
        spelled["providers"] = entry(inherited)["providers"].take();
    }
    entries
}

/// What the level has to become so that it also logs to the providers, and otherwise stays as it is.
pub(super) fn change(telemetries: &[Value], mesh: &Value, level: &Level<'_>, added: &Added<'_>) -> Change {
    let existing = wide(telemetries, level.namespace);
    let wider = (level.namespace != level.root).then(|| wide(telemetries, level.root)).flatten();
    let own = existing.map(entries).unwrap_or_default();
    let inherited_entries = wider.map(entries).unwrap_or_default();
    let states = |entries: &[Value], provider: &&str| {
        entries.iter().any(|entry| {
            names(entry).contains(provider)
                && entry["disabled"].as_bool().unwrap_or_default() == added.disabled
        })
    };
    if added.providers.iter().all(|provider| states(own, provider)) {
        return Change::None;
    }
    // A level without a word of its own takes the wider one's, with the filters that stand there.
    let names_own = own.iter().any(|entry| !names(entry).is_empty());
    if !added.disabled
        && !names_own
        && added.providers.iter().all(|provider| states(inherited_entries, provider))
    {
        return Change::None;
    }
    let default = defaults(mesh);
    let inherited = spelled_out(inherited_entries, &default);
    let base = if own.is_empty() {
        if inherited.is_empty() && !default.is_empty() { vec![entry(&default)] } else { inherited }
    } else {
        let mut above: Vec<String> =
            inherited.iter().flat_map(|entry| names(entry)).map(str::to_owned).collect();
        above.dedup();
        spelled_out(own, if above.is_empty() { &default } else { &above })
    };
    let mut wanted: Vec<Value> = base;
    if added.disabled {
        // Logged nowhere here: what names it goes, or the two entries would contradict each other.
        wanted.retain(|entry| !added.providers.iter().any(|provider| names(entry).contains(provider)));
    }
    let mut more = entry(added.providers);
    if let Some(expression) = added.filter {
        more["filter"] = json!({"expression": expression});
    }
    if added.disabled {
        more["disabled"] = true.into();
    }
    wanted.push(more);
    match existing {
        Some(existing) => {
            let mut edited = applicable(existing);
            edited["spec"]["accessLogging"] = wanted.into();
            Change::Edited(edited)
        }
        None => Change::New(json!({
            "apiVersion": "telemetry.istio.io/v1",
            "kind": "Telemetry",
            "metadata": {"name": OWN_NAME, "namespace": level.namespace, "labels": {MANAGED_BY.0: MANAGED_BY.1}},
            "spec": {"accessLogging": wanted},
        })),
    }
}

/// What this Telemetry does to the provider.
pub(super) fn verdict(telemetry: &Value, provider: &str) -> Verdict {
    let entries = entries(telemetry);
    let named: Vec<&str> = entries.iter().flat_map(names).collect();
    let is_off = |entry: &Value| {
        let names = names(entry);
        entry["disabled"] == true && (names.is_empty() || names.contains(&provider))
    };
    if entries.iter().any(is_off) {
        return Verdict::TurnsOff;
    }
    if named.is_empty() || named.contains(&provider) {
        return Verdict::Keeps;
    }
    let mut named: Vec<String> = named.into_iter().map(str::to_owned).collect();
    named.sort();
    named.dedup();
    Verdict::Replaces(named)
}

/// The Telemetries below a level that keep records away from the provider: their name, how far they reach, and what they do.
pub(super) fn overriding(telemetries: &[Value], level: &Level<'_>, provider: &str) -> Vec<String> {
    let mut found = Vec::new();
    for telemetry in telemetries {
        let namespace = namespace_of(telemetry);
        let is_level = namespace == level.namespace && !is_selective(telemetry);
        if is_level || (level.namespace != level.root && namespace != level.namespace) {
            continue;
        }
        let reach = if is_selective(telemetry) { "workloads in namespace" } else { "namespace" };
        let what = match verdict(telemetry, provider) {
            Verdict::Keeps => continue,
            Verdict::TurnsOff => "turns its logging off".to_owned(),
            Verdict::Replaces(names) => format!("names {} instead", names.join(", ")),
        };
        found.push(format!("{reach} {namespace}: Telemetry {} {what}", named(telemetry)));
    }
    found
}

/// The Telemetry without the providers: `None` where they are not in it, `Some(None)` where nothing is left to say.
pub(super) fn without(telemetry: &Value, providers: &[&str]) -> Option<Option<Value>> {
    let mut left = Vec::new();
    for entry in entries(telemetry) {
        let names = names(entry);
        let kept: Vec<&str> = names.iter().copied().filter(|name| !providers.contains(name)).collect();
        if kept.len() == names.len() {
            left.push(entry.clone());
        } else if !kept.is_empty() {
            let mut entry = entry.clone();
            entry["providers"] = self::entry(&kept)["providers"].take();
            left.push(entry);
        }
    }
    if left == entries(telemetry) {
        return None;
    }
    let mut edited = applicable(telemetry);
    let spec = edited["spec"].as_object_mut()?;
    if left.is_empty() {
        spec.remove("accessLogging");
        if spec.keys().all(|key| ["selector", "targetRef", "targetRefs"].contains(&key.as_str())) {
            return Some(None);
        }
    } else {
        spec.insert("accessLogging".to_owned(), left.into());
    }
    Some(Some(edited))
}

#[cfg(test)]
mod tests;
