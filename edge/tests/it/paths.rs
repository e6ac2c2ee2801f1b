//! One reading of path, host and method: what was judged is what is signed and forwarded.

use crate::common::*;
use edge::{Config, decide};
use serde_json::json;

#[test]
fn attack_path_confusion() {
    let paths = [
        "//admin",
        "/x//admin",
        "/x/../admin",
        "/x/..;/admin",
        "/x;a=b",
        "/%2e%2e/admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/x%2fadmin",
        "/x%2Fadmin",
        "/x%5cadmin",
        "/x\\admin",
        "/%252e%252e/admin",
        "/x%00",
        "/x%0d%0a",
        "/%c0%af/admin",
        "/%e0%80%af",
        "/x%3b/admin",
        "/x/./y",
        "x",
        "",
        "*",
        "https://www.example.com/admin",
        "/x#y",
        "/%",
        "/%2",
        "/%zz",
        "/x y",
        "/\u{e9}",
        "/%ef%bc%8fadmin",
        "/x/..",
        "/x%3Fy",
        "/x%23y",
    ];
    for path in paths {
        let decided = decide(&config(), &mut host(), &bearer(path, &good()));
        assert_eq!(answered(&decided).status, 400, "{path:?}");
        assert_eq!(decided.log.verdict.rule, "request");
    }
    // One that is merely spelled otherwise is routed by what it means: to the rule for /admin.
    for path in ["/admin", "/%61dmin", "/adm%69n/x"] {
        let decided = decide(&config(), &mut host(), &bearer(path, &good()));
        assert_eq!(decided.log.route, "admin");
        assert_eq!(answered(&decided).status, 403);
    }
    // What is forwarded is what was judged.
    let decided = decide(&config(), &mut host(), &bearer("/%78/%7e%c3%a9?q=%2F", &good()));
    assert_eq!(forwarded(&decided).target, "/x/~%C3%A9?q=%2F");
    let deny = decide(&config(), &mut host(), &bearer("/%69nternal/x", &good()));
    assert_refused(&deny, 403, "denied_by_route");
}

#[test]
fn attack_host_confusion() {
    for authority in
        ["", "evil.example/", "www.example.com@evil.example", "a b", "www.example.com:x", "[::1", "\u{e9}"]
    {
        let mut odd = bearer("/x", &good());
        odd.authority = authority.into();
        assert_refused(&decide(&config(), &mut host(), &odd), 400, "host");
    }
    let two = with(bearer("/x", &good()), "host", "evil.example");
    assert_refused(&decide(&config(), &mut host(), &two), 400, "host");
    for method in ["TRACE", "CONNECT", "get", "G ET", ""] {
        let mut odd = bearer("/x", &good());
        odd.method = method.into();
        assert_refused(&decide(&config(), &mut host(), &odd), 405, "method");
    }
}

#[test]
fn attack_open_redirect() {
    for to in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "http://www.example.com/",
        "javascript:alert(1)",
        "https://www.example.com@evil.example/",
        "https://www.example.com.evil.example/",
    ] {
        let mut item = config_json();
        item["routes"][1]["action"] = json!({"redirect": {"to": to}});
        let error = Config::parse(&item.to_string()).unwrap_err();
        assert_eq!(error.at, "routes[1].action.redirect.to", "{to}");
    }
    let decided = decide(&config(), &mut host(), &request("GET", "/old//evil.example"));
    assert_eq!(answered(&decided).status, 400);
    let decided = decide(&config(), &mut host(), &request("GET", "/old?to=https://evil.example"));
    assert_eq!(response_header(answered(&decided), "location"), Some("/new"));
    let decided = decide(&config(), &mut host(), &request("GET", "/away"));
    assert_eq!(response_header(answered(&decided), "location"), Some("https://www.example.com/x"));
}

#[test]
fn a_path_rule_holds_in_every_spelling_that_an_origin_decodes() {
    // The request is denied by a rule for `/v1/users:purge` and the like; the rule after it lets in.
    let cases = [
        ("/v1/users:purge", "/v1/users%3Apurge"),
        ("/@admin", "/%40admin"),
        ("/a(b)", "/a%28b%29"),
        ("/x,y", "/x%2Cy"),
        ("/a$b", "/a%24b"),
        ("/a=b", "/a%3Db"),
    ];
    let passes = |(rule, target): &(&str, &str)| {
        let config = changed(|item| item["routes"][3]["match"] = json!({ "path_prefix": rule })).unwrap();
        status(&decide(&config, &mut host(), &bearer(target, &good()))) == 200
    };
    none("round a rule", cases.into_iter().filter(passes));
}

#[test]
fn what_no_path_may_hold_is_not_signed_as_it_is() {
    // Envoy's normalization writes some of these as escapes; then another path arrives than stands in the edge token.
    let marks = ['"', '<', '>', '{', '}', '`', '^', '|'];
    let signed = |mark: &char| {
        let decided = decide(&config(), &mut host(), &bearer(&format!("/a{mark}b"), &good()));
        status(&decided) == 200 && forwarded(&decided).target.contains(*mark)
    };
    none("forwarded raw", marks.into_iter().filter(signed));
}

#[test]
fn a_host_name_is_read_strictly() {
    let names = ["www.example.com..", ".", "..", "a[b]", ".example.com", "a..example.com"];
    let accepted = |name: &&str| {
        let mut odd = bearer("/x", &good());
        odd.authority = (*name).into();
        status(&decide(&config(), &mut host(), &odd)) == 200
    };
    none("taken as a host", names.into_iter().filter(accepted));
}

#[test]
fn the_host_that_was_judged_is_the_one_that_is_forwarded() {
    let mut odd = bearer("/x", &good());
    odd.authority = "WWW.Example.COM.:443".into();
    let decided = decide(&config(), &mut host(), &odd);
    assert_eq!(forwarded(&decided).host, "www.example.com");
}

#[test]
fn methods_that_purge_are_not_forwarded() {
    for method in ["PURGE", "FASTLYPURGE"] {
        let decided = decide(&config(), &mut host(), &request(method, "/health"));
        assert_eq!(status(&decided), 405, "{method}");
    }
}
