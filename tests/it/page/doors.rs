//! Who gets in: sessions of readers, roles, other sites, other names; and what stands in the audit log of it.

use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;

use crate::app::{Options, Service, eventually};

const SEARCH: &str = "reader-token-with-search-only";
const PERSONAL: &str = "reader-token-with-personal-data";
const ADMIN: &str = "reader-token-of-the-administrator";
const ROTATED: &str = "reader-token-that-will-be-rotated";
const CORRELATION: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07aaaa";

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(Policy::none()).build().unwrap()
}

fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = client().get(service.url() + path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().unwrap()
}

fn form(service: &Service, path: &str, body: String, headers: &[(&str, &str)]) -> Response {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let mut request = client().post(service.url() + path).body(body);
    for (name, value) in headers.iter().chain([&kind]) {
        request = request.header(*name, *value);
    }
    request.send().unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// The cookie of a session, as a browser would send it.
fn signed_in(service: &Service, token: &str) -> String {
    let answer = form(service, "/login", format!("token={token}&next=%2Fr%2Fx"), &[OWN]);
    assert_eq!((answer.status().as_u16(), header(&answer, "location").as_str()), (303, "/r/x"));
    let set = header(&answer, "set-cookie");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains(token), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[test]
fn readers_sign_in_and_see_what_their_roles_show() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, tokens) = (directory.path().join("lookups.jsonl"), directory.path().join("tokens"));
    std::fs::write(&tokens, ROTATED).unwrap();
    let reader = |name: &str, token: &str, roles: &str| {
        format!("[[reader]]\nname = '{name}'\ntenant = 'shop'\n{token}\nroles = [{roles}]\n")
    };
    let config = format!("[audit]\nfile = '{}'\n", audit.display())
        + &reader("front", &format!("token = '{SEARCH}'"), "'search'")
        + &reader("privacy", &format!("token = '{PERSONAL}'"), "'personal'")
        + &reader("root", &format!("token = '{ADMIN}'"), "'admin'")
        + &reader("later", &format!("token_file = '{}'", tokens.display()), "'search'")
        + "[[source]]\nname = 'cdn'\nkind = 'fastly'\ntenant = 'shop'\n";
    let service = Service::with(Options { config, ..Options::default() });
    let line = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"elapsed_us":25000,"edge":true,"visits":0,"correlation_id":"{CORRELATION}","method":"GET","host":"shop.example.com","url":"/cart?name=ada-by-name","status":503,"pop":"FRA","client_ip":"203.0.113.77","ua":"adas-browser","x_note":"adas-attribute"}}"#
    );
    service.accept("/v1/fastly", line);
    let path = format!("/r/{CORRELATION}");

    // Without a session there is the form, and nothing else; nothing of it stays anywhere.
    for page in ["/", &path, &format!("{path}/json")] {
        let answer = get(&service, page, &[]);
        assert_eq!(answer.status(), 401, "{page}");
        let body = answer.text().unwrap();
        assert!(body.contains("Reader's token") && !body.contains("shop.example.com"), "{body}");
    }
    assert_eq!(form(&service, "/login", "token=a-wrong-token-of-nobody".to_owned(), &[OWN]).status(), 401);
    // Who follows a link from elsewhere brings no cookie: once more, from here, it will.
    let linked = get(&service, &path, &[("sec-fetch-site", "cross-site")]).text().unwrap();
    assert!(linked.contains("http-equiv=\"refresh\""), "{linked}");
    assert!(!get(&service, &path, &[OWN]).text().unwrap().contains("http-equiv=\"refresh\""));
    // Another site's form, another port's, and one of which nobody says whose it is.
    let elsewhere = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://127.0.0.1:1"),
        ("accept", "*/*"),
    ];
    for sign in elsewhere {
        assert_eq!(form(&service, "/login", format!("token={SEARCH}"), &[sign]).status(), 403, "{sign:?}");
    }

    let personal = signed_in(&service, PERSONAL);
    let shown = eventually("the record is there", || {
        let answer = get(&service, &path, &[("cookie", &personal)]);
        (answer.status() == 200).then_some(answer)
    });
    assert_eq!(header(&shown, "cache-control"), "no-store");
    let shown = shown.text().unwrap();
    let masked = signed_in(&service, SEARCH);
    let answer = get(&service, &path, &[("cookie", &masked)]).text().unwrap();
    for private in ["ada-by-name", "203.0.113.77", "adas-browser", "adas-attribute"] {
        assert!(shown.contains(private), "{private}: {shown}");
        for page in ["/", &path, &format!("{path}/json")] {
            let body = get(&service, page, &[("cookie", &masked)]).text().unwrap();
            assert!(!body.contains(private), "{page} shows {private}");
        }
    }
    assert!(answer.contains("[masked]") && answer.contains("/cart"), "{answer}");
    let admin = signed_in(&service, ADMIN);
    for page in ["/", &path] {
        let answer = get(&service, page, &[("cookie", &admin)]);
        assert_eq!(answer.status(), 403, "admin shows nothing");
        assert!(!answer.text().unwrap().contains("shop.example.com"));
    }
    // A session opens pages, and nothing that changes anything; nor the API.
    assert_eq!(get(&service, "/api/v1/events", &[("cookie", &personal)]).status(), 401);
    assert_eq!(form(&service, "/api/v1/erase", "{}".to_owned(), &[("cookie", &admin), OWN]).status(), 401);

    // Out is out, and so is whoever's token is gone.
    assert_eq!(form(&service, "/logout", String::new(), &[("cookie", &masked)]).status(), 403);
    assert_eq!(form(&service, "/logout", String::new(), &[("cookie", &masked), OWN]).status(), 303);
    assert_eq!(get(&service, &path, &[("cookie", &masked)]).status(), 401);
    let rotated = signed_in(&service, ROTATED);
    assert_eq!(get(&service, &path, &[("cookie", &rotated)]).status(), 200);
    std::fs::write(&tokens, "another-token-after-the-rotation").unwrap();
    eventually("the session of the old token is over", || {
        (get(&service, &path, &[("cookie", &rotated)]).status() == 401).then_some(())
    });

    // Each page that showed records is a line; the ones that showed a form are none.
    let audit = std::fs::read_to_string(&audit).unwrap();
    let lines: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |reader: &str, endpoint: &str, status: u64| {
        lines
            .iter()
            .filter(|it| it["reader"] == reader && it["endpoint"] == endpoint && it["status"] == status)
            .count()
    };
    assert_eq!(of("privacy", "GET /r/{id}", 200), 1);
    assert_eq!(of("front", "GET /r/{id}", 200), 5);
    assert_eq!(of("front", "GET /r/{id}/json", 200), 4);
    assert_eq!(of("front", "GET /", 200), 4);
    assert_eq!(of("root", "GET /", 403), 1);
    assert!(lines.iter().any(|it| it["reader"] == "privacy"
        && it["rows"] == 1
        && it["asked"].to_string().contains(CORRELATION)));
    assert!([SEARCH, PERSONAL, ADMIN, ROTATED].iter().all(|token| !audit.contains(token)), "{audit}");
    let log = service.log.lock().unwrap().clone();
    assert!([SEARCH, PERSONAL, ADMIN, ROTATED].iter().all(|token| !log.contains(token)), "{log}");
}

#[test]
fn every_answer_of_the_page_is_held_in_by_its_headers() {
    let service = Service::start();
    let style = get(&service, "/", &[]).text().unwrap();
    let style =
        style.split("href=\"").find_map(|rest| rest.split('"').next().filter(|it| it.ends_with(".css")));
    for path in ["/", "/r/x", "/r/x/json", "/login", style.unwrap(), "/page/none"] {
        let answer = get(&service, path, &[]);
        let policy = header(&answer, "content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "referrer-policy"), "same-origin", "{path}");
        let kept = header(&answer, "cache-control");
        assert_eq!(kept.contains("immutable"), path.ends_with(".css"), "{path}: {kept}");
        assert_eq!(kept == "no-store", !path.starts_with("/page/"), "{path}: {kept}");
    }
    // A name that somebody lets resolve to this machine.
    for path in ["/", "/r/x"] {
        let answer = get(&service, path, &[("host", "evil.example:8080")]);
        assert_eq!(answer.status(), 403, "{path}");
    }
    // What is searched for becomes an address, whatever it holds; it comes back as text.
    let answer = get(&service, "/?q=%20a%2F..%2F%22%3E%3Cscript%3E%0d%0aX%3A%201%20", &[]);
    assert_eq!(answer.status(), 303);
    assert_eq!(header(&answer, "location"), "/r/a%2F..%2F%22%3E%3Cscript%3E%0D%0AX%3A%201");
    let answer = get(&service, "/r/a%2F..%2F%22%3E%3Cscript%3E%0D%0AX%3A%201", &[]);
    assert_eq!(answer.status(), 404);
    assert!(!answer.text().unwrap().contains("<script>"));
    for path in ["/r/%FF", "/?q=%FF", "/r/-", "/?q=..", &format!("/r/{}", "x".repeat(4_000)), "/?x=1"] {
        let answer = get(&service, path, &[]);
        assert!([200, 303, 400, 404].contains(&answer.status().as_u16()), "{path}: {answer:?}");
    }
}
