//! What is printed for `kubectl apply`: meshConfig with the providers, the Telemetries, the id filter.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::live::{Live, applicable, named, service_of};
use super::logging::{self, Added, Change, Level};
use super::{Arguments, MANAGED_BY, Via, mesh_text};
use crate::cli::setup::mesh::yaml::yaml;
use crate::cli::setup::mesh::{self, Talk, Tone};

/// Settings of a connection manager that an id or a log depends on; an EnvoyFilter of others that has one is named.
const TOUCHY: [&str; 5] = [
    "preserve_external_request_id",
    "request_id_extension",
    "generate_request_id",
    "always_set_request_id_in_response",
    "access_log",
];

/// The manifests, each with a comment that says what it is.
pub(super) fn manifests(
    arguments: &Arguments,
    providers: &[Value],
    live: &Live,
    talk: &mut Talk,
) -> anyhow::Result<String> {
    let mesh = live.mesh();
    let root = mesh["rootNamespace"].as_str().unwrap_or(&arguments.istio_namespace).to_owned();
    let level = Level { namespace: arguments.namespace.as_deref().unwrap_or(&root), root: &root };
    let mut documents = Vec::new();
    if let Some(document) = mesh_config(providers, live, talk)? {
        documents.push(document);
    }
    say_of_mesh(&mesh, talk);
    telemetries(arguments, live, &mesh, &level, talk, &mut documents);
    say_of_namespaces(arguments, live, &level, talk);
    if !arguments.leave_ids {
        documents.extend(id_filter(arguments, live, &level, talk)?);
    }
    say_how_to_apply(arguments, live, &documents, talk);
    Ok(documents.join("---\n"))
}

/// A document with the comment before it.
fn document(comment: &str, object: &Value) -> String {
    format!("# {comment}\n{}", yaml(object))
}

fn mesh_config(providers: &[Value], live: &Live, talk: &mut Talk) -> anyhow::Result<Option<String>> {
    let fragment = json!({ "extensionProviders": providers });
    let Some(map) = &live.config_map else {
        // Never a whole ConfigMap that was not read: applied, it would take everything else out of meshConfig.
        talk.say(
            Tone::Need,
            "put the provider into meshConfig.extensionProviders yourself (the comment at the top of what is printed), beside those that are there",
        );
        let lines: Vec<String> = yaml(&fragment).lines().map(|line| format!("#   {line}\n")).collect();
        let head = "# meshConfig was not read, so this part is for you to add (istioctl: spec.meshConfig; Helm: meshConfig; or the key `mesh`\n\
            # of the ConfigMap), beside the providers that are there:\n";
        return Ok(Some(format!("{head}{}", lines.concat())));
    };
    let text = live.mesh_text().unwrap_or_default();
    let name = named(map);
    let before: Value = live.mesh();
    let there = mesh_text::providers(&before);
    let others: Vec<&str> = there.iter().filter_map(|provider| provider["name"].as_str()).collect();
    if !others.is_empty() {
        talk.say(
            Tone::Fine,
            format!("meshConfig in {name} has the providers {}; they stay", others.join(", ")),
        );
    }
    for provider in providers {
        if there.iter().any(|it| it["name"] == provider["name"] && it != provider) {
            let name = provider["name"].as_str().unwrap_or_default();
            talk.say(Tone::Warn, format!("the provider {name} is there and says something else: it is replaced (--provider NAME for another)"));
        }
    }
    let changed = mesh_text::with(text, providers)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("cannot read meshConfig in ConfigMap {name}"))?;
    let Some(changed) = changed else {
        talk.say(Tone::Fine, "meshConfig has the provider already");
        return Ok(None);
    };
    if changed.is_rewritten {
        talk.say(Tone::Warn, "meshConfig is not in the usual style and is written anew: compare it (kubectl diff -f -) before you apply it");
    }
    let metadata = &map["metadata"];
    let by_helm = metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        || metadata["annotations"]["meta.helm.sh/release-name"].is_string();
    if by_helm {
        talk.say(
            Tone::Need,
            format!(
                "Helm owns ConfigMap {name}: put the provider into its values too (meshConfig.extensionProviders, all of them: Helm replaces \
                 lists), or its next upgrade takes it out"
            ),
        );
    }
    let mut map = applicable(map);
    map["data"]["mesh"] = changed.text.into();
    let comment = "meshConfig as it was read, and the provider beside those that are there.";
    Ok(Some(document(comment, &map)))
}

fn say_of_mesh(mesh: &Value, talk: &mut Talk) {
    if mesh["enableEnvoyAccessLogService"] == true {
        talk.say(
            Tone::Warn,
            "meshConfig.enableEnvoyAccessLogService ends where a Telemetry applies: name its receiver as a provider if it is still wanted",
        );
    }
    if mesh["defaultConfig"]["proxyHeaders"]["requestId"]["disabled"] == true {
        talk.say(Tone::Warn, "proxyHeaders.requestId.disabled: Envoy makes no x-request-id; hops are joined by the correlation id and the trace alone");
    }
    let patterns = &mesh["defaultConfig"]["proxyStatsMatcher"]["inclusionPrefixes"];
    let counts = patterns.as_array().is_some_and(|it| it.iter().any(|prefix| prefix == "access_logs"));
    if mesh.is_object() && !counts {
        talk.say(
            Tone::Warn,
            "proxies do not keep the statistics of their access logs, which alone tell what they dropped: defaultConfig.proxyStatsMatcher.inclusionPrefixes: [access_logs]",
        );
    }
}

/// `!request.host.matches(…)`: a delivery of logs is not logged, a refused one is.
fn delivery_filter(host: &str) -> String {
    let pattern = host.replace('.', "[.]");
    format!("!request.host.matches('(?i)^{pattern}(:[0-9]+)?$') || response.code >= 400")
}

fn telemetries(
    arguments: &Arguments,
    live: &Live,
    mesh: &Value,
    level: &Level<'_>,
    talk: &mut Talk,
    documents: &mut Vec<String>,
) {
    let tcp = format!("{}-tcp", arguments.provider);
    let mut names = vec![arguments.provider.as_str()];
    if arguments.tcp {
        names.push(&tcp);
    }
    let filter = arguments.logs_host.as_deref().map(delivery_filter);
    let all = live.telemetries.as_deref().unwrap_or_default();
    if live.telemetries.is_none() {
        talk.say(
            Tone::Need,
            format!(
                "if {} has a Telemetry without a selector already, add the provider there instead: of two, only the older counts",
                level.namespace
            ),
        );
    }
    let added = Added { providers: &names, filter: filter.as_deref(), disabled: false };
    let reach =
        if arguments.namespace.is_some() { "namespace" } else { "whole mesh, by way of the namespace" };
    match logging::change(all, mesh, level, &added) {
        Change::None => talk.say(Tone::Fine, format!("the {reach} logs there already")),
        Change::New(object) => documents.push(document(&format!("The {reach} logs there."), &object)),
        Change::Edited(object) => {
            talk.say(Tone::Fine, format!("Telemetry {} is kept and gets one entry more", named(&object)));
            let comment = format!("The Telemetry that the {reach} has, with an entry more.");
            documents.push(document(&comment, &object));
        }
    }
    for what in logging::overriding(all, level, &arguments.provider) {
        let own = service_of(&arguments.address.host)
            .is_some_and(|(_, own)| what.contains(&format!("namespace {own}:")));
        if !own {
            talk.say(
                Tone::Warn,
                format!("{what}: no records from there; add {{name: {}}} to it", arguments.provider),
            );
        }
    }
    // The streams that bring the records are not logged themselves where they arrive.
    let own = service_of(&arguments.address.host).map(|(_, namespace)| namespace);
    if let Some(own) = own.filter(|_| arguments.namespace.is_none() && arguments.via != Via::Stdout) {
        let quiet = Level { namespace: own, root: level.root };
        let added = Added { providers: &names, filter: None, disabled: true };
        if let Change::New(object) | Change::Edited(object) = logging::change(all, mesh, &quiet, &added) {
            documents.push(document(
                "The proxies of Throughline itself keep quiet: they see every log stream.",
                &object,
            ));
        }
    }
}

fn say_of_namespaces(arguments: &Arguments, live: &Live, level: &Level<'_>, talk: &mut Talk) {
    let Some(namespaces) = &live.namespaces else { return };
    let label = |namespace: &Value, name: &str| {
        namespace["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned()
    };
    let names_where = |test: &dyn Fn(&Value) -> bool| -> Vec<&str> {
        let found = namespaces.iter().filter(|namespace| test(namespace));
        found.filter_map(|namespace| namespace["metadata"]["name"].as_str()).collect()
    };
    let wanted = |name: &str| arguments.namespace.as_deref().is_none_or(|wanted| wanted == name);
    let ambient = names_where(&|it| label(it, "istio.io/dataplane-mode") == "ambient");
    let ambient: Vec<&str> = ambient.into_iter().filter(|name| wanted(name)).collect();
    if !ambient.is_empty() {
        talk.say(
            Tone::Warn,
            format!(
                "ambient: {}: ztunnel has no log provider, it writes lines that are not read here; a waypoint logs through a Telemetry with targetRefs",
                ambient.join(", ")
            ),
        );
    }
    let Some(name) = &arguments.namespace else { return };
    let Some(namespace) = namespaces.iter().find(|it| it["metadata"]["name"] == **name) else {
        talk.say(Tone::Warn, format!("there is no namespace {name}"));
        return;
    };
    let is_injected =
        label(namespace, "istio-injection") == "enabled" || !label(namespace, "istio.io/rev").is_empty();
    if !is_injected && !ambient.contains(&name.as_str()) && *name != level.root {
        talk.say(Tone::Warn, format!("namespace {name} has no label for injection: only pods that ask for a sidecar, and gateways, log"));
    }
}

fn id_filter(
    arguments: &Arguments,
    live: &Live,
    level: &Level<'_>,
    talk: &mut Talk,
) -> anyhow::Result<Option<String>> {
    let mut filter = mesh::id_filter()?;
    filter["metadata"]["namespace"] = level.namespace.into();
    filter["metadata"]["labels"] = json!({MANAGED_BY.0: MANAGED_BY.1});
    if !filter["spec"]["configPatches"].is_array() {
        bail!("the id filter inside this binary has no patches");
    }
    for other in live.filters.as_deref().unwrap_or_default() {
        if named(other) == named(&filter) {
            continue;
        }
        let patches = other["spec"]["configPatches"].to_string();
        let touched: Vec<&str> =
            TOUCHY.into_iter().filter(|name| patches.contains(&format!("\"{name}\""))).collect();
        if !touched.is_empty() {
            talk.say(
                Tone::Warn,
                format!(
                    "EnvoyFilter {} sets {} too: which of the two wins depends on their order",
                    named(other),
                    touched.join(", ")
                ),
            );
        }
    }
    if arguments.namespace.is_some() {
        talk.say(
            Tone::Warn,
            "one namespace only: unless the gateway is in it, the gateway goes on replacing x-request-id, and hops are joined by the correlation id",
        );
    } else {
        talk.say(
            Tone::Warn,
            "gateways keep the x-request-id that comes in: right behind an edge that sets it. Where clients reach a gateway directly they choose it: --leave-ids",
        );
    }
    if live.filters.iter().flatten().any(|it| named(it) == named(&filter) && it["spec"] == filter["spec"]) {
        talk.say(Tone::Fine, format!("EnvoyFilter {} is there", named(&filter)));
        return Ok(None);
    }
    Ok(Some(document(
        "x-request-id stays as the edge set it (deploy/istio/envoy-filter-ids.yaml says why each line).",
        &filter,
    )))
}

fn say_how_to_apply(arguments: &Arguments, live: &Live, documents: &[String], talk: &mut Talk) {
    if documents.is_empty() {
        talk.say(Tone::Fine, "nothing is left to apply");
        return;
    }
    let context =
        arguments.context.as_deref().map(|context| format!(" --context={context}")).unwrap_or_default();
    talk.say(Tone::Need, format!("look at it (kubectl{context} diff -f FILE), then kubectl{context} apply -f FILE: nothing was changed yet. Proxies follow within seconds, without a restart"));
    if live.config_map.is_some() {
        talk.say(Tone::Fine, "each object carries the version that it was read at: if somebody changes it before you apply, applying fails; run this again then");
    }
    if arguments.via == Via::Stdout {
        talk.say(Tone::Need, "have the lines read: a source of kind `file` on each node, paths /var/log/containers/*_istio-proxy-*.log");
    }
}
