//! The way back, as a script: the Telemetries first, then the filter, then the providers that nothing names any more.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::live::{Live, applicable, named, service_of};
use super::logging;
use super::{Arguments, MANAGED_BY, mesh_text};
use crate::cli::setup::install::word;
use crate::cli::setup::mesh::yaml::yaml;
use crate::cli::setup::mesh::{self, Talk, Tone};

/// Ends what a command reads from the script; no line of an object can be this, as each key is followed by a colon.
const END: &str = "END_OF_OBJECT";

/// The script for `sh`.
pub(super) fn script(arguments: &Arguments, live: &Live, talk: &mut Talk) -> anyhow::Result<String> {
    let mut kubectl = word(&arguments.kubectl.to_string_lossy());
    if let Some(context) = &arguments.context {
        let _ = write!(kubectl, " --context={}", word(context));
    }
    let mut script = Script { kubectl, text: "set -eu\n".to_owned() };
    let tcp = format!("{}-tcp", arguments.provider);
    let names = [arguments.provider.as_str(), &tcp];
    let root = live.mesh()["rootNamespace"].as_str().unwrap_or(&arguments.istio_namespace).to_owned();
    let left = match &live.telemetries {
        Some(telemetries) => undo_telemetries(arguments, telemetries, &names, &mut script, talk)?,
        None => {
            let own = service_of(&arguments.address.host).map(|(_, namespace)| namespace);
            let level = arguments.namespace.as_deref().unwrap_or(&root);
            for namespace in
                [Some(level), own.filter(|_| arguments.namespace.is_none())].into_iter().flatten()
            {
                script.delete("telemetries.telemetry.istio.io", "throughline-access-logs", namespace);
            }
            talk.say(Tone::Need, "take the provider out of Telemetries of your own, if you added it there");
            0
        }
    };
    let filter = mesh::id_filter()?;
    let name = filter["metadata"]["name"].as_str().context("the id filter has no name")?;
    match &live.filters {
        Some(filters) => {
            let own = |it: &&Value| {
                it["metadata"]["name"] == name && it["metadata"]["labels"][MANAGED_BY.0] == MANAGED_BY.1
            };
            let here = |it: &&Value| {
                arguments.namespace.as_deref().is_none_or(|only| it["metadata"]["namespace"] == only)
            };
            for filter in filters.iter().filter(own).filter(here) {
                script.delete(
                    "envoyfilters.networking.istio.io",
                    name,
                    filter["metadata"]["namespace"].as_str().unwrap_or_default(),
                );
            }
        }
        None => script.delete(
            "envoyfilters.networking.istio.io",
            name,
            arguments.namespace.as_deref().unwrap_or(&root),
        ),
    }
    if left > 0 {
        talk.say(
            Tone::Fine,
            format!("meshConfig keeps the provider: {left} Telemetries elsewhere still name it"),
        );
        return Ok(script.text);
    }
    match &live.config_map {
        Some(map) => {
            let changed = mesh_text::without(live.mesh_text().unwrap_or_default(), &names)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("cannot read meshConfig in ConfigMap {}", named(map)))?;
            match changed {
                Some(changed) => {
                    if changed.is_rewritten {
                        talk.say(Tone::Warn, "meshConfig is not in the usual style and is written anew: compare it before you run this");
                    }
                    let mut map = applicable(map);
                    map["data"]["mesh"] = changed.text.into();
                    script.apply(&map)?;
                }
                None => talk.say(Tone::Fine, "meshConfig does not have the provider"),
            }
        }
        None => talk.say(
            Tone::Need,
            format!(
                "take {} out of meshConfig.extensionProviders yourself, last of all",
                names.join(" and ")
            ),
        ),
    }
    talk.say(Tone::Need, "read it, then give it to sh: nothing was changed yet");
    Ok(script.text)
}

/// Takes the providers out of every Telemetry in reach; how many elsewhere still name them.
fn undo_telemetries(
    arguments: &Arguments,
    telemetries: &[Value],
    names: &[&str],
    script: &mut Script,
    talk: &mut Talk,
) -> anyhow::Result<usize> {
    let mut left = 0;
    for telemetry in telemetries {
        let Some(without) = logging::without(telemetry, names) else { continue };
        let metadata = &telemetry["metadata"];
        if arguments.namespace.as_deref().is_some_and(|only| metadata["namespace"] != only) {
            left += 1;
            continue;
        }
        // One of ours was made for this alone, with what the level had before written out in it.
        let is_ours = metadata["labels"][MANAGED_BY.0] == MANAGED_BY.1;
        match without.filter(|_| !is_ours) {
            Some(edited) => {
                talk.say(
                    Tone::Fine,
                    format!("Telemetry {} loses the provider and keeps the rest", named(telemetry)),
                );
                script.apply(&edited)?;
            }
            None => {
                let [name, namespace] =
                    ["name", "namespace"].map(|key| metadata[key].as_str().unwrap_or_default());
                script.delete("telemetries.telemetry.istio.io", name, namespace);
            }
        }
    }
    Ok(left)
}

struct Script {
    kubectl: String,
    text: String,
}

impl Script {
    fn delete(&mut self, kind: &str, name: &str, namespace: &str) {
        let (name, namespace) = (word(name), word(namespace));
        self.text += &format!("{} delete {kind} {name} -n {namespace} --ignore-not-found\n", self.kubectl);
    }

    /// `replace` and not `apply`: a list that others keep by `apply` would come back merged.
    fn apply(&mut self, object: &Value) -> anyhow::Result<()> {
        let text = yaml(object);
        if text.lines().any(|line| line == END) {
            bail!("{} holds the line {END}: take the provider out by hand", named(object));
        }
        self.text += &format!("{} replace -f - <<'{END}'\n{text}{END}\n", self.kubectl);
        Ok(())
    }
}
