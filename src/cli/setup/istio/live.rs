//! A mesh as it is, as far as kubectl could tell.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kubectl::{Kubectl, Silence};
use crate::cli::setup::mesh::{Address, Release, Talk, Tone};

/// Where each proxy's image stands; as init containers, proxies are native sidecars.
const PROXY_IMAGES: &str = "jsonpath={range .items[*]}{.spec.containers[?(@.name==\"istio-proxy\")].image}\
    {.spec.initContainers[?(@.name==\"istio-proxy\")].image}{\"\\n\"}{end}";

/// What was read; `None` is what could not be.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The ConfigMap that holds meshConfig.
    pub(super) config_map: Option<Value>,
    pub(super) telemetries: Option<Vec<Value>>,
    pub(super) filters: Option<Vec<Value>>,
    pub(super) namespaces: Option<Vec<Value>>,
    pub(super) istiod: Option<Release>,
    /// How many run each release.
    pub(super) proxies: Option<BTreeMap<Release, usize>>,
}

/// What is looked for.
pub(super) struct Place<'a> {
    pub(super) istio_namespace: &'a str,
    pub(super) revision: &'a str,
    /// `None` where records do not come over the network.
    pub(super) service: Option<&'a Address>,
}

impl Live {
    /// Asks for everything; what is not answered is said, and nothing depends on it.
    pub(super) fn read(kubectl: &Kubectl<'_>, place: &Place<'_>, talk: &mut Talk) -> Self {
        let mut live = Self::default();
        let root = ["-n", place.istio_namespace];
        let maps = match kubectl.list(&[&["configmaps"], &root[..]].concat()) {
            Err(Silence::NoProgram(why)) => {
                talk.say(
                    Tone::Skip,
                    format!("{why}; so the mesh was not looked at: versions, providers, what overrides them, the Service"),
                );
                return live;
            }
            answer => said(answer, talk),
        };
        live.config_map = maps.and_then(|maps| mesh_of(maps, place, talk));
        live.telemetries = said(kubectl.list(&["telemetries.telemetry.istio.io", "-A"]), talk);
        live.filters = said(kubectl.list(&["envoyfilters.networking.istio.io", "-A"]), talk);
        live.namespaces = said(kubectl.list(&["namespaces"]), talk);
        let istiods = said(kubectl.list(&[&["deployments", "-l", "app=istiod"], &root[..]].concat()), talk);
        live.istiod = istiods.and_then(|istiods| istiods.iter().filter_map(istiod_release).min());
        let images = said(kubectl.get(&["pods", "-A", "-o", PROXY_IMAGES]), talk);
        live.proxies = images.map(|images| {
            let mut counts = BTreeMap::new();
            for release in images.lines().filter_map(image_release) {
                *counts.entry(release).or_default() += 1;
            }
            counts
        });
        if let Some(address) = place.service {
            look_at_service(kubectl, address, talk);
        }
        live
    }

    /// meshConfig as text, `None` where it was not read.
    pub(super) fn mesh_text(&self) -> Option<&str> {
        self.config_map.as_ref().map(|map| map["data"]["mesh"].as_str().unwrap_or_default())
    }

    /// meshConfig, `Null` where it was not read or is no YAML.
    pub(super) fn mesh(&self) -> Value {
        self.mesh_text().and_then(|text| serde_yaml_ng::from_str(text).ok()).unwrap_or_default()
    }
}

fn said<T>(answer: Result<T, Silence>, talk: &mut Talk) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(Silence::NoProgram(why) | Silence::Unanswered(why)) => {
            talk.say(Tone::Skip, why);
            None
        }
    }
}

/// The name of an object, `namespace/name` where it has a namespace.
pub(super) fn named(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or("?");
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// An object as it can be applied: without what the cluster wrote into it, with the version that it was read at, so that a change
/// in between makes applying fail instead of undoing it.
pub(super) fn applicable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for written in ["managedFields", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.remove(written);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

fn mesh_of(maps: Vec<Value>, place: &Place<'_>, talk: &mut Talk) -> Option<Value> {
    let wanted = match place.revision {
        "default" => "istio".to_owned(),
        revision => format!("istio-{revision}"),
    };
    let of_mesh = |map: &&Value| map["data"]["mesh"].is_string();
    let (mine, others): (Vec<Value>, Vec<Value>) =
        maps.iter().filter(of_mesh).cloned().partition(|map| map["metadata"]["name"] == *wanted);
    for other in &others {
        let name = other["metadata"]["name"].as_str().unwrap_or_default();
        let revision = name.strip_prefix("istio-").unwrap_or("default");
        talk.say(Tone::Warn, format!("there is another revision, with a meshConfig of its own: run again with --revision {revision}"));
    }
    if mine.is_empty() {
        let namespace = place.istio_namespace;
        talk.say(
            Tone::Skip,
            format!(
                "{namespace} has no ConfigMap {wanted} with a meshConfig (--istio-namespace, --revision)"
            ),
        );
    }
    mine.into_iter().next()
}

fn istiod_release(deployment: &Value) -> Option<Release> {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
    containers.iter().filter_map(|container| image_release(container["image"].as_str()?)).min()
}

/// `docker.io/istio/proxyv2:1.28.3-distroless@sha256:…`
fn image_release(image: &str) -> Option<Release> {
    let (image, _) = image.trim().split_once('@').unwrap_or((image.trim(), ""));
    image.rsplit_once(':')?.1.parse().ok()
}

/// Name and namespace of a Service by its host.
pub(super) fn service_of(host: &str) -> Option<(&str, &str)> {
    let mut parts = host.split('.');
    let found = (parts.next()?, parts.next()?);
    matches!(parts.next(), None | Some("svc")).then_some(found)
}

fn look_at_service(kubectl: &Kubectl<'_>, address: &Address, talk: &mut Talk) {
    let Some((name, namespace)) = service_of(&address.host) else {
        talk.say(
            Tone::Need,
            format!("{} is no Service of the cluster: Istio finds it only with a ServiceEntry", address.host),
        );
        return;
    };
    let selector = format!("metadata.name={name}");
    let found = kubectl.list(&["services", "-n", namespace, "--field-selector", &selector]);
    let Some(services) = said(found, talk) else { return };
    let Some(service) = services.iter().find(|service| service["metadata"]["name"] == *name) else {
        talk.say(
            Tone::Need,
            format!("there is no Service {namespace}/{name} yet: without it istiod leaves the provider out"),
        );
        return;
    };
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(port) = ports.iter().find(|port| port["port"] == address.port) else {
        talk.say(Tone::Need, format!("Service {namespace}/{name} has no port {}", address.port));
        return;
    };
    let protocol = port["appProtocol"].as_str().or(port["name"].as_str()).unwrap_or_default();
    if protocol.starts_with("grpc") || protocol.starts_with("http2") {
        talk.say(Tone::Fine, format!("Service {namespace}/{name} has port {} for {protocol}", address.port));
    } else {
        talk.say(
            Tone::Warn,
            format!(
                "port {} of Service {namespace}/{name} is not said to be gRPC: set appProtocol: grpc",
                address.port
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_images_and_services_from_hosts() {
        for (image, release) in [
            ("docker.io/istio/proxyv2:1.28.3", Some(Release(28))),
            ("registry.example.com:5000/istio/pilot:1.24.6-distroless@sha256:00ff", Some(Release(24))),
            ("registry.example.com:5000/istio/pilot", None),
            ("proxyv2:latest", None),
            ("", None),
        ] {
            assert_eq!(image_release(image), release, "{image}");
        }
        assert_eq!(service_of("a.b.svc.cluster.local"), Some(("a", "b")));
        assert_eq!(service_of("a.b"), Some(("a", "b")));
        assert_eq!(service_of("logs.example.com"), None);
        assert_eq!(service_of("throughline"), None);
    }
}
