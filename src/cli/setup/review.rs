//! What the edge's own parser has no say in: the platform's rules for names, and what an operator would rather know now.

use ::edge::Config;
use ::edge::config::{Action, MAX_ITEM_CHARS};

use super::install::place_of;

/// Where the service logs as long as it cannot read its item.
const DEFAULT_LOG_ENDPOINT: &str = "edge-logs";
/// The backends of `edge/fastly.toml`.
pub(super) const LOCAL_BACKENDS: [&str; 2] = ["origin", "idp"];
/// Longest name of a secret.
const SECRET_NAME_BYTES: usize = 255;

/// The length without blanks, where that would do and the item is too long.
pub(super) fn shorter(text: &str) -> Option<String> {
    let chars = text.chars().count();
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let compact = value.to_string().chars().count();
    if chars <= MAX_ITEM_CHARS {
        return None;
    }
    Some(if compact <= MAX_ITEM_CHARS {
        format!("without blanks it has {compact} characters and fits: jq -c . FILE > SHORTER")
    } else {
        format!(
            "without blanks it still has {compact} characters, {} too many; \
             the service reads one item and no more",
            compact - MAX_ITEM_CHARS
        )
    })
}

/// What Fastly would not take, or would take and never find again. Names of secrets are not repeated: what has no name's form
/// may be the secret itself.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for (at, name) in secrets(config) {
        let is_name = !name.is_empty()
            && name.len() <= SECRET_NAME_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name {
            found.push(format!(
                "{at}: is no name of a secret (1 to {SECRET_NAME_BYTES} of A-Z a-z 0-9 - _ .); \
                 the secret itself belongs into the secret store, not here"
            ));
        }
    }
    let endpoint = config.log_endpoint();
    if endpoint.contains(':') || endpoint.chars().any(char::is_control) {
        found.push("log_endpoint: may have no colon and no control characters".to_owned());
    }
    if ["stdout", "stderr"].contains(&endpoint) {
        found.push(format!("log_endpoint: {endpoint} is reserved by Fastly; choose another name"));
    }
    for backend in config.backends() {
        if backend.chars().any(char::is_control) {
            found.push(format!("backend {backend:?}: may have no control characters"));
        }
    }
    found
}

/// Every name of a secret with its place in the item.
fn secrets(config: &Config) -> Vec<(String, &str)> {
    let mut found: Vec<(String, &str)> = Vec::new();
    found.extend(config.subject_secret.iter().map(|name| ("subject_secret".to_owned(), name.as_str())));
    for (i, key) in config.edge_token.iter().flat_map(|token| token.keys.iter().enumerate()) {
        found.push((format!("edge_token.keys[{i}].secret"), &key.secret));
    }
    if let Some(login) = &config.login {
        found.push(("login.session_secret".to_owned(), &login.session_secret));
        let previous = login.session_secret_previous.iter();
        found.extend(previous.map(|name| ("login.session_secret_previous".to_owned(), name.as_str())));
        found
            .extend(login.client_secret.iter().map(|name| ("login.client_secret".to_owned(), name.as_str())));
    }
    found
}

/// What works and is seldom meant.
pub(super) fn warnings(config: &Config, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let forwards = config.routes.iter().any(|route| matches!(route.action, Action::Forward(_)));
    if forwards && config.edge_token.is_none() {
        found.push(
            "edge_token: is not set, so the mesh cannot tell what came through the edge from what went around it".to_owned(),
        );
    }
    if !config.issuers.is_empty() && config.subject_secret.is_none() {
        found.push("subject_secret: is not set, so no log line says who was let in".to_owned());
    }
    if config.log_endpoint() != DEFAULT_LOG_ENDPOINT {
        found.push(format!(
            "log_endpoint: while the service cannot read its item it logs to {DEFAULT_LOG_ENDPOINT}, which is not \
             made here; leave log_endpoint out to have one endpoint for both"
        ));
    }
    if text.len() > MAX_ITEM_CHARS {
        found.push(format!(
            "the item: has {} bytes; Fastly speaks of {MAX_ITEM_CHARS} characters, and whether it counts bytes is \
             not known; write it in ASCII to be sure",
            text.len()
        ));
    }
    for backend in config.backends() {
        let places = place_of(config, backend);
        if let [one, other, ..] = places.as_slice() {
            found.push(format!(
                "backend {backend}: stands for {one} and for {other}, but reaches the first only; \
                 give each a backend of its own"
            ));
        }
    }
    let unknown: Vec<_> =
        config.backends().into_iter().filter(|name| !LOCAL_BACKENDS.contains(name)).collect();
    if !unknown.is_empty() {
        found.push(format!(
            "backends {} are not in edge/fastly.toml: add them to its [local_server.backends] before `fastly compute serve`",
            unknown.join(", ")
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut serde_json::Value)) -> (Config, String) {
        let mut item = serde_json::json!({"version": 1, "policy_version": "p",
            "routes": [{"name": "all", "auth": "public", "action": {"forward": {"backend": "origin"}}}]});
        change(&mut item);
        let text = item.to_string();
        (Config::parse(&text).unwrap(), text)
    }

    #[test]
    fn what_has_no_form_of_a_name_is_refused_and_not_repeated() {
        for secret in ["-----BEGIN PRIVATE KEY-----\nMC4C", "../../etc/passwd", "", "a b", &"x".repeat(256)] {
            let (config, _) = config(|item| item["subject_secret"] = secret.into());
            let found = problems(&config);
            assert_eq!(found.len(), 1, "{secret}");
            assert!(found[0].starts_with("subject_secret: "), "{found:?}");
            assert!(secret.is_empty() || !found[0].contains(secret), "{found:?}");
        }
        let (good, _) = config(|item| item["subject_secret"] = "edge.subject-key_1".into());
        assert_eq!(problems(&good), Vec::<String>::new());
    }

    #[test]
    fn names_that_the_platform_does_not_take_are_named() {
        for endpoint in ["a:b", "a\nb", "stdout", "stderr"] {
            let (config, _) = config(|item| item["log_endpoint"] = endpoint.into());
            assert!(problems(&config)[0].starts_with("log_endpoint: "));
        }
        let (config, _) = config(|item| item["routes"][0]["action"]["forward"]["backend"] = "a\nb".into());
        assert_eq!(problems(&config), [r#"backend "a\nb": may have no control characters"#]);
    }

    #[test]
    fn warnings_name_what_is_missing() {
        let (bare, text) = config(|_| ());
        let found = warnings(&bare, &text);
        assert!(found.len() == 1 && found[0].starts_with("edge_token: "), "{found:?}");
        let (other, text) = config(|item| {
            item["log_endpoint"] = "logs".into();
            item["edge_token"] = serde_json::json!({"issuer": "https://e.example", "audience": "mesh",
                "keys": [{"kid": "k", "secret": "s"}]});
            item["issuers"] = serde_json::json!([
                {"name": "a", "iss": "https://a.example", "jwks": {"backend": "idp", "path": "/k"}, "audiences": ["x"]},
                {"name": "b", "iss": "https://b.example", "jwks": {"backend": "idp", "path": "/k"}, "audiences": ["x"]}]);
            item["routes"][0]["action"]["forward"]["backend"] = "mesh".into();
        });
        let found = warnings(&other, &text).join("\n");
        for part in [
            "subject_secret: ",
            "log_endpoint: ",
            "idp: stands for a.example and for b.example",
            "backends mesh",
        ] {
            assert!(found.contains(part), "{part} is not in\n{found}");
        }
    }

    #[test]
    fn an_item_that_is_too_long_is_told_how_much() {
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(7000));
        assert_eq!(shorter(&text), None);
        let blanks = format!("{text}{}", " ".repeat(2000));
        assert!(shorter(&blanks).unwrap().contains("7008 characters and fits"));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(9000));
        assert!(shorter(&long).unwrap().contains("9008 characters, 1008 too many"));
    }

    #[test]
    fn the_backends_of_the_local_service_are_those_of_its_manifest() {
        let manifest = include_str!("../../../edge/fastly.toml").parse::<toml::Table>().unwrap();
        for part in ["setup", "local_server"] {
            let mut names: Vec<_> = manifest[part]["backends"].as_table().unwrap().keys().collect();
            names.sort();
            assert_eq!(names, ["idp", "origin"]);
        }
        let mut own = LOCAL_BACKENDS;
        own.sort_unstable();
        assert_eq!(own, ["idp", "origin"]);
    }
}
