//! The manifests of `deploy/`: read, checked field by field, and what Istio makes of them run in a real Envoy. No Istio control
//! plane runs here: the filters that it derives are built below from the manifests' values, in the form of Istio 1.24 and later.

mod compose;
mod fastly;
mod kubernetes;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use edge_token::{Claims, Jwks, Minter, SigningKey};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::app::eventually;
use crate::envoy::proxy;

/// RFC 8037, appendix A.1, and RFC 7515, appendix A.3: published, so no secret.
const EDGE_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const NEXT_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const REQUEST_ID: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Every kind that is shipped: its API version, and the fields its `spec` may have by Istio's reference.
const KINDS: [(&str, &str, &[&str]); 7] = [
    ("RequestAuthentication", "security.istio.io/v1", &["selector", "targetRefs", "jwtRules"]),
    ("AuthorizationPolicy", "security.istio.io/v1", &["selector", "targetRefs", "action", "rules"]),
    ("PeerAuthentication", "security.istio.io/v1", &["selector", "mtls", "portLevelMtls"]),
    (
        "Telemetry",
        "telemetry.istio.io/v1",
        &["selector", "targetRefs", "accessLogging", "tracing", "metrics"],
    ),
    ("EnvoyFilter", "networking.istio.io/v1alpha3", &["workloadSelector", "targetRefs", "configPatches"]),
    ("Gateway", "networking.istio.io/v1", &["selector", "servers"]),
    ("VirtualService", "networking.istio.io/v1", &["hosts", "gateways", "http"]),
];

fn istio() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/istio")
}

/// The documents of one manifest.
fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(istio().join(name)).unwrap();
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_yaml_ng::Deserializer::from_str(&text).map(read).collect()
}

/// The document of this kind and namespace.
fn document(name: &str, kind: &str, namespace: &str) -> Value {
    let found = documents(name)
        .into_iter()
        .find(|document| document["kind"] == kind && document["metadata"]["namespace"] == namespace);
    found.unwrap_or_else(|| panic!("{name} has no {kind} in {namespace}"))
}

/// Holds one of Istio's objects to its kind's version and fields.
pub(crate) fn assert_known_fields(document: &Value) {
    let kind = document["kind"].as_str().unwrap_or_else(|| panic!("no kind: {document}"));
    let known = KINDS.iter().find(|(known, ..)| *known == kind);
    let (_, version, fields) = known.unwrap_or_else(|| panic!("unknown kind {kind}"));
    assert_eq!(document["apiVersion"], *version, "{document}");
    for place in ["name", "namespace"] {
        assert!(document["metadata"][place].is_string(), "{kind} has no {place}: {document}");
    }
    let spec = document["spec"].as_object().unwrap_or_else(|| panic!("{kind} has no spec"));
    let unknown: Vec<_> = spec.keys().filter(|field| !fields.contains(&field.as_str())).collect();
    assert!(unknown.is_empty(), "{kind} has no such fields: {unknown:?}");
}

#[test]
fn every_manifest_is_of_a_known_kind_with_known_fields() {
    let mut seen = 0;
    for entry in fs::read_dir(istio()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".yaml") || name == "mesh-config.yaml" {
            continue;
        }
        for document in documents(&name) {
            assert_known_fields(&document);
            seen += 1;
        }
    }
    assert!(seen >= 11, "only {seen} documents were found");
}

#[test]
fn the_token_is_asked_for_in_the_header_that_the_edge_sets() {
    for namespace in ["istio-system", "shop"] {
        let rules = document("request-authentication.yaml", "RequestAuthentication", namespace);
        let rule = &rules["spec"]["jwtRules"][0];
        assert_eq!(rule["fromHeaders"], json!([{ "name": edge_token::HEADER }]));
        assert_eq!(rule["forwardOriginalToken"], true, "the next one could not check it");
        let keys = rule["jwksUri"].as_str().unwrap();
        assert!(keys.starts_with(rule["issuer"].as_str().unwrap()), "{keys}");
        assert!(rule["audiences"].as_array().is_some_and(|audiences| !audiences.is_empty()));
        let principal = format!("{}/*", rule["issuer"].as_str().unwrap());
        let policy = document("authorization-policy.yaml", "AuthorizationPolicy", namespace);
        assert_eq!(policy["spec"]["action"], "DENY");
        let source = &policy["spec"]["rules"][0]["from"][0]["source"];
        assert_eq!(source["notRequestPrincipals"], json!([principal]));
    }
}

#[test]
fn the_log_host_is_exempt_routed_and_not_logged() {
    let policy = document("authorization-policy.yaml", "AuthorizationPolicy", "istio-system");
    let exempt = &policy["spec"]["rules"][0]["to"][0]["operation"]["notHosts"];
    let only = document("log-ingest.yaml", "AuthorizationPolicy", "istio-system");
    assert_eq!(policy["spec"]["rules"][1]["to"], only["spec"]["rules"][0]["to"], "exempt within limits");
    for rule in only["spec"]["rules"].as_array().unwrap() {
        assert_eq!(&rule["to"][0]["operation"]["hosts"], exempt, "what is exempt there is restricted here");
    }
    let host = exempt[0].as_str().unwrap();
    let route = document("log-ingest.yaml", "VirtualService", "throughline");
    assert_eq!(route["spec"]["hosts"], json!([host]));
    let logs = document("telemetry.yaml", "Telemetry", "istio-system");
    let expression = logs["spec"]["accessLogging"][0]["filter"]["expression"].as_str().unwrap().to_owned();
    assert!(expression.contains(&host.replace('.', "[.]")), "{expression}");
    let quiet = document("telemetry.yaml", "Telemetry", "throughline");
    assert_eq!(quiet["spec"]["accessLogging"][0]["disabled"], true);
    let mesh = documents("mesh-config.yaml").remove(0);
    let provider = &mesh["meshConfig"]["extensionProviders"][0];
    assert_eq!(provider["name"], logs["spec"]["accessLogging"][0]["providers"][0]["name"]);
    let headers = provider["envoyHttpAls"]["additionalRequestHeadersToLog"].as_array().unwrap();
    for header in ["x-correlation-id", "traceparent"] {
        assert!(headers.iter().any(|logged| logged == header), "{header} joins the hops");
    }
}

/// Merges as protobuf does: messages field by field, anything else by replacement.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    config
}

/// The gateway's `jwt_authn` filter: the rule's providers, and a request without a token passes.
fn jwt_filter(rule: &Value, keys: &Jwks) -> Value {
    let claims: Vec<Value> = rule["outputClaimToHeaders"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|output| json!({"header_name": output["header"], "claim_name": output["claim"]}))
        .collect();
    let config = json!({
        "providers": {"edge": {
            "issuer": rule["issuer"],
            "audiences": rule["audiences"],
            "from_headers": rule["fromHeaders"],
            "forward": rule["forwardOriginalToken"],
            "payload_in_metadata": "payload",
            "claim_to_headers": claims,
            "local_jwks": {"inline_string": keys.to_json()},
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {
            "requires_any": {"requirements": [{"provider_name": "edge"}, {"allow_missing": {}}]}
        }}],
    });
    json!({"name": "envoy.filters.http.jwt_authn",
        "typed_config": typed("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", config)})
}

/// A host as Istio matches it: exact, or by what stands before a trailing `*`, in any case.
fn host_is(host: &Value) -> Value {
    let host = host.as_str().unwrap();
    let matcher = match host.strip_suffix('*') {
        Some(prefix) => json!({"prefix": prefix, "ignore_case": true}),
        None => json!({"exact": host, "ignore_case": true}),
    };
    json!({"header": {"name": ":authority", "string_match": matcher}})
}

fn path_is(path: &Value) -> Value {
    let path = path.as_str().unwrap();
    let matcher = match path.strip_suffix('*') {
        Some(prefix) => json!({"prefix": prefix}),
        None => json!({"exact": path}),
    };
    json!({"url_path": {"path": matcher}})
}

fn method_is(method: &Value) -> Value {
    json!({"header": {"name": ":method", "string_match": {"exact": method}}})
}

/// The conditions of one `to`, all of which must hold.
fn permissions(operation: &Value) -> Vec<Value> {
    let any = |name: &str, of: fn(&Value) -> Value| {
        let values = operation[name].as_array()?;
        Some(json!({"or_rules": {"rules": values.iter().map(of).collect::<Vec<_>>()}}))
    };
    let not = |condition: Option<Value>| condition.map(|condition| json!({"not_rule": condition}));
    [
        any("hosts", host_is),
        not(any("notHosts", host_is)),
        not(any("notPaths", path_is)),
        not(any("notMethods", method_is)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the token that `jwt_authn` accepted says this.
fn token_says(claim: &str, value: &Value) -> Value {
    json!({"sourced_metadata": {"metadata_matcher": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "payload"}, {"key": claim}],
        "value": {"string_match": {"exact": value}},
    }}})
}

/// The principals of one rule; here only `requestPrincipals` and its negation, whose issuer is what stands before `/*`.
fn principals(rule: &Value) -> Value {
    let issuer_is =
        |principal: &Value| token_says("iss", &principal[0].as_str().unwrap().trim_end_matches("/*").into());
    let source = &rule["from"][0]["source"];
    if source["notRequestPrincipals"].is_array() {
        json!({"not_id": issuer_is(&source["notRequestPrincipals"])})
    } else if source["requestPrincipals"].is_array() {
        let audience = token_says("aud", &rule["when"][0]["notValues"][0]);
        json!({"and_ids": {"ids": [issuer_is(&source["requestPrincipals"]), {"not_id": audience}]}})
    } else {
        json!({"any": true})
    }
}

/// The gateway's RBAC filter: the rules of all DENY policies.
fn deny_filter(policies: &[Value]) -> Value {
    let mut compiled = Map::new();
    for (policy, document) in policies.iter().enumerate() {
        for (number, rule) in document["spec"]["rules"].as_array().unwrap().iter().enumerate() {
            let conditions = permissions(&rule["to"][0]["operation"]);
            let permission = if conditions.is_empty() {
                json!({"any": true})
            } else {
                json!({"and_rules": {"rules": conditions}})
            };
            compiled.insert(
                format!("policy-{policy}-rule-{number}"),
                json!({"permissions": [permission], "principals": [principals(rule)]}),
            );
        }
    }
    let config = json!({"rules": {"action": "DENY", "policies": compiled}});
    json!({"name": "envoy.filters.http.rbac",
        "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", config)})
}

/// A gateway as Istio shapes it, with the patch of the EnvoyFilter merged into its connection manager.
fn bootstrap(keys: &Jwks, log: &Path) -> Value {
    let rules = document("request-authentication.yaml", "RequestAuthentication", "istio-system");
    let policies = [
        document("authorization-policy.yaml", "AuthorizationPolicy", "istio-system"),
        document("log-ingest.yaml", "AuthorizationPolicy", "istio-system"),
    ];
    let logs = document("telemetry.yaml", "Telemetry", "istio-system");
    let expression = &logs["spec"]["accessLogging"][0]["filter"]["expression"];
    let told = |name: &str, format: &str| json!({"header": {"key": name, "value": format}});
    let mut manager = typed(
        HCM,
        json!({
            "stat_prefix": "gateway",
            "use_remote_address": true,
            "tracing": {"random_sampling": {"value": 100.0}},
            "http_filters": [
                jwt_filter(&rules["spec"]["jwtRules"][0], keys),
                deny_filter(&policies),
                {"name": "envoy.filters.http.router",
                    "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
            "route_config": {"virtual_hosts": [{
                "name": "any", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                "response_headers_to_add": [
                    told("seen-request-id", "%REQ(X-REQUEST-ID)%"),
                    told("seen-subject", "%REQ(X-AUTH-SUB)%"),
                    told("seen-token", "%REQ(X-EDGE-TOKEN):5%"),
                ],
            }]},
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "filter": {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config":
                    typed("envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                        json!({"expression": expression}))}},
                "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", json!({
                    "path": log, "log_format": {"text_format_source": {"inline_string": "%REQ(:AUTHORITY)% %RESPONSE_CODE%\n"}}})),
            }],
        }),
    );
    let filters = documents("envoy-filter-ids.yaml").remove(0);
    let patches = filters["spec"]["configPatches"].as_array().unwrap();
    let patch = patches.iter().find(|patch| patch["match"]["context"] == "GATEWAY").unwrap();
    assert_eq!(patch["patch"]["operation"], "MERGE");
    merge(&mut manager, &patch["patch"]["value"]["typed_config"]);
    json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [{
            "name": "gateway",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
            }]}],
        }]},
    })
}

/// A token for `/orders`, its claims changed as wanted, minted as of some seconds ago.
fn token(key: &SigningKey, ago_s: u64, change: impl FnOnce(&mut Claims)) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let request = ("GET", "/orders");
    let mut claims =
        Claims::for_request("https://edge.example.com", "mesh", REQUEST_ID, request, (now_s - ago_s, 60))
            .unwrap()
            .with_subject("auth0|42", "https://login.example.com/");
    change(&mut claims);
    Minter::new(key.clone()).mint(&claims).unwrap()
}

#[test]
fn a_real_envoy_takes_the_edges_tokens_and_nothing_else() {
    let [current, next] = [(EDGE_JWK, "k1"), (NEXT_JWK, "k2")]
        .map(|(jwk, kid)| SigningKey::read(jwk.as_bytes(), Some(kid)).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let config = directory.path().join("gateway.json");
    let keys = Jwks::of(&[&current, &next]).unwrap();
    fs::write(&config, bootstrap(&keys, &log).to_string()).unwrap();
    let mut envoy = proxy(&config);
    let address = envoy.listener("gateway").unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let send = |host: &str, path: &str, token: Option<&str>| {
        let mut request = client.get(format!("http://{address}{path}")).header("host", host);
        request = request.header("x-request-id", REQUEST_ID).header("x-auth-sub", "root");
        if let Some(token) = token {
            request = request.header(edge_token::HEADER, token);
        }
        request.send().unwrap()
    };
    let shop = "shop.example.com";
    for key in [&current, &next] {
        let answer = send(shop, "/orders", Some(&token(key, 0, |_| ())));
        assert_eq!(answer.status(), 200, "{key:?}");
        let told = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(told("seen-request-id").as_deref(), Some(REQUEST_ID), "sampled, and still unchanged");
        assert_eq!(told("seen-subject").as_deref(), Some("auth0|42"), "not what the client sent");
        assert!(told("seen-token").is_some_and(|token| token.len() == 5), "the next hop can check it again");
    }

    let [stranger, posing] =
        ["k9", "k1"].map(|kid| SigningKey::read(NEXT_JWK.as_bytes(), Some(kid)).unwrap());
    let mut forged = token(&current, 0, |_| ());
    let at = forged.len() - 40;
    let other = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    let refused = [
        ("none", None, 403),
        ("expired", Some(token(&current, 180, |_| ())), 401),
        ("another audience", Some(token(&current, 0, |claims| claims.aud = "billing".to_owned())), 403),
        (
            "another issuer",
            Some(token(&current, 0, |claims| claims.iss = "https://evil.example".to_owned())),
            401,
        ),
        ("unknown key", Some(token(&stranger, 0, |_| ())), 401),
        ("another's key id", Some(token(&posing, 0, |_| ())), 401),
        ("forged", Some(forged), 401),
        ("nonsense", Some("a.b.c".to_owned()), 401),
    ];
    for (what, token, status) in &refused {
        assert_eq!(send(shop, "/orders", token.as_deref()).status(), *status, "{what}");
    }

    for (path, status) in
        [("/v1/fastly", 200), ("/v1/fastly/site", 200), ("/api/v1/traces/1", 403), ("/", 403)]
    {
        for host in ["logs.example.com", "LOGS.example.com", "logs.example.com:443"] {
            assert_eq!(send(host, path, None).status(), status, "{host}{path}");
        }
    }
    assert_eq!(send("logs.example.com.evil.example", "/v1/fastly", None).status(), 403);

    let expected = 2 + refused.len() + 6 + 1;
    let logged = || fs::read_to_string(&log).ok().filter(|lines| lines.lines().count() >= expected);
    let hosts = eventually("the gateway's log", logged);
    assert_eq!(hosts.lines().count(), expected, "{hosts}");
    let delivered = |line: &str| line.to_ascii_lowercase().starts_with("logs.") && !line.ends_with(" 403");
    assert!(!hosts.lines().any(delivered), "deliveries are not logged, refusals are: {hosts}");
}
