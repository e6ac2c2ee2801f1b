//! What is printed for one item, whole; and names that would be something else to a shell or to Terraform.

use serde_json::json;

use super::*;

const ITEM: &str = r#"{"version":1,"policy_version":"2026-11-22","subject_secret":"subject",
    "issuers":[{"name":"main","preset":"auth0","iss":"https://shop.eu.auth0.com/","jwks":{"backend":"idp"},
        "audiences":["https://api.example.com"]}],
    "edge_token":{"issuer":"https://edge.example.com","audience":"mesh","keys":[{"kid":"k1","secret":"edge-key-1"}]},
    "login":{"issuer":"main","client_id":"shop","client_secret":"client","session_secret":"session","session_secret_previous":"session-before",
        "authorization_endpoint":"https://shop.eu.auth0.com/authorize",
        "token_endpoint":{"backend":"idp","host":"shop.eu.auth0.com","path":"/oauth/token"},
        "redirect_uri":"https://shop.example.com/callback"},
    "routes":[{"name":"all","login":true,"action":{"forward":{"backend":"origin"}}}]}"#;

#[test]
fn the_commands_for_an_item() {
    let config = Config::parse(ITEM).unwrap();
    insta::assert_snapshot!(commands(&Plan::new(&config, "edge.json", &["origin".to_owned()]).unwrap()));
}

#[test]
fn the_terraform_for_an_item() {
    let config = Config::parse(ITEM).unwrap();
    let text = terraform(&Plan::new(&config, "edge.json", &["origin".to_owned()]).unwrap());
    let body: hcl_edit::structure::Body = text.parse().unwrap();
    assert_eq!(body.get_blocks("resource").count(), 5);
    insta::assert_snapshot!(text);
}

#[test]
fn stores_and_item_are_those_that_the_service_opens() {
    let platform = [
        include_str!("../../../../edge/src/platform/mod.rs"),
        include_str!("../../../../edge/src/platform/machine.rs"),
    ]
    .concat();
    for (constant, name) in [
        ("CONFIG_STORE", CONFIG_STORE),
        ("CONFIG_ITEM", CONFIG_ITEM),
        ("SECRET_STORE", SECRET_STORE),
        ("KV_STORE", KEY_STORE),
    ] {
        assert!(platform.contains(&format!("const {constant}: &str = \"{name}\";")), "{constant} {name}");
    }
    let manifest = include_str!("../../../../edge/fastly.toml").parse::<toml::Table>().unwrap();
    let setup = &manifest["setup"];
    assert!(setup["config_stores"][CONFIG_STORE]["items"].get(CONFIG_ITEM).is_some());
    assert!(
        setup["secret_stores"].get(SECRET_STORE).is_some() && setup["kv_stores"].get(KEY_STORE).is_some()
    );
}

#[test]
fn lines_are_sent_as_they_are_to_the_route_of_the_service() {
    // JSON by line, without the prefix that is the default: the preset finds a line by its keys.
    let config = Config::parse(ITEM).unwrap();
    let plan = Plan::new(&config, "edge.json", &[]).unwrap();
    let (script, hcl) = (commands(&plan), terraform(&plan));
    assert_eq!(script.matches("--json-format=2 --message-type=blank").count(), 2, "made and set anew");
    assert!(hcl.contains("json_format       = \"2\"\n    message_type      = \"blank\""));
    for text in [&script, &hcl] {
        assert!(text.contains("/v1/fastly"), "the route of the service");
        assert!(!text.contains("--override-host=") && !text.contains("override_host"), "{text}");
    }
}

#[test]
fn names_that_become_the_same_variable_are_told_apart() {
    let item = json!({"version": 1, "policy_version": "p", "routes": [
        {"name": "a", "auth": "public", "action": {"forward": {"backend": "a.b"}}},
        {"name": "b", "auth": "public", "action": {"forward": {"backend": "a-b"}}},
        {"name": "c", "auth": "public", "action": {"forward": {"backend": "a b"}}}]});
    let config = Config::parse(&item.to_string()).unwrap();
    let plan = Plan::new(&config, "f", &[]).unwrap();
    let ids: Vec<_> = plan.backends.iter().map(|backend| backend.id.as_str()).collect();
    assert_eq!(ids, ["a_b", "a_b_2", "a_b_3"]);
}

#[test]
fn a_port_is_not_part_of_an_address() {
    let place = |authority: &str| {
        let place = Place::parse(authority);
        (place.host.clone(), place.port, place.to_string())
    };
    let is = |host: &str, port, shown: &str| (host.to_owned(), port, shown.to_owned());
    assert_eq!(place("idp.example.com"), is("idp.example.com", 443, "idp.example.com"));
    assert_eq!(place("idp.example.com:8443"), is("idp.example.com", 8443, "idp.example.com:8443"));
    assert_eq!(place("[::1]:8443"), is("::1", 8443, "[::1]:8443"));
    assert_eq!(place("[::1]"), is("::1", 443, "[::1]"));
}

#[test]
fn a_certificate_for_a_backend_that_is_not_there_is_refused() {
    let config = Config::parse(ITEM).unwrap();
    let error = Plan::new(&config, "f", &["orgin".to_owned()]).unwrap_err().to_string();
    assert_eq!(error, r#"the item has no backend "orgin"; it has idp, origin"#);
}

#[test]
fn words_are_quoted_for_the_shell() {
    assert_eq!(word("it's"), r"'it'\''s'");
    assert_eq!(word("$(reboot)"), "'$(reboot)'");
    assert_eq!(word("~/a"), "'~/a'");
    assert_eq!(word("a\nb\\"), "'a\nb\\'");
    assert_eq!(word(""), "''");
    assert_eq!(word("plain-name_1"), "plain-name_1");
}

/// Terraform 1.11.4 reads the right sides as the left.
#[test]
fn strings_are_quoted_for_terraform() {
    let quoted = [
        ("a\"b", r#""a\"b""#),
        ("a\\b", r#""a\\b""#),
        ("${b}", r#""$${b}""#),
        ("$${b}", r#""$$${b}""#),
        ("%{b}", r#""%%{b}""#),
        ("100% $5 {x}", r#""100% $5 {x}""#),
        ("a\r\n\tb", r#""a\r\n\tb""#),
        ("\u{1}\u{1b}\u{85}", r#""\u0001\u001b\u0085""#),
        ("läuft", r#""läuft""#),
    ];
    for (text, hcl) in quoted {
        assert_eq!(string(text), hcl);
    }
}
