//! The redactor from outside: tables of what must go and what must stay, and planted secrets in random company.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{RedactionRules, Redactor};

fn url(text: &str) -> String {
    Redactor::default().url(text.into()).0.into_owned()
}

fn value(name: &str, text: &str) -> String {
    Redactor::default().value(name, text.into()).0.into_owned()
}

fn bytes(text: &str) -> String {
    String::from_utf8_lossy(&Redactor::default().bytes(text.as_bytes())).into_owned()
}

#[test]
fn values_by_name_and_by_shape() {
    for (name, text, left) in [
        ("authorization", "anything", "[redacted]"),
        ("http.request.header.cookie", "a=b; c=d", "[redacted]"),
        ("token", "-", "-"),
        ("session", "false", "false"),
        ("password", "[redacted]", "[redacted]"),
        ("note", "see eyJhbGciOiJIUzI1NiJ9.e30.sig now", "see [redacted] now"),
        ("status_code", "503", "503"),
        ("state", "HIT-CLUSTER", "HIT-CLUSTER"),
        ("original_url", "/x?a=1&token=abc&b=2", "/x?a=1&token=[redacted]&b=2"),
        ("original_url", "/cb?code=abc", "/cb?code=[redacted]"),
        ("message", "code=200", "code=200"),
        ("headers", r#"{"cookie":"a=b","host":"h"}"#, r#"{"cookie":"[redacted]","host":"h"}"#),
        ("headers", "Host: h\nCookie: a=\"b c\"; d\nVia: x", "Host: h\nCookie: [redacted]\nVia: x"),
    ] {
        assert_eq!(value(name, text), left, "{name}");
    }
}

#[test]
fn parameters_of_urls() {
    for (text, left) in [
        ("/login?token=abc", "/login?token=[redacted]"),
        ("/login?a=1&access_token=abc#x", "/login?a=1&access_token=[redacted]#x"),
        ("/cb?code=abc&state=x%20y&country_code=de", "/cb?code=[redacted]&state=[redacted]&country_code=de"),
        ("token=ab/cd?e&x=1", "token=[redacted]&x=1"),
        ("?%74oken=abc", "?%74oken=[redacted]"),
        ("?access%5Ftoken=abc", "?access%5Ftoken=[redacted]"),
        ("?access%255Ftoken=abc%26def&x=1", "?access%255Ftoken=[redacted]&x=1"),
        ("?user[password]=abc", "?user[password]=[redacted]"),
        ("https://h/cb#access_token=abc&x=1", "https://h/cb#access_token=[redacted]&x=1"),
        ("/a?b=1;token=abc;c=2", "/a?b=1;token=[redacted];c=2"),
        ("/a?token=abc;def", "/a?token=[redacted]"),
        ("/a;jsessionid=ABC/b/c?x=1", "/a;jsessionid=[redacted]/b/c?x=1"),
        ("/go?to=/cb?code=abc", "/go?to=/cb?code=[redacted]"),
        (
            "/go?to=https%3A%2F%2Fh%2Fcb%3Fcode%3Dabc%26x%3D1&y=2",
            "/go?to=https%3A%2F%2Fh%2Fcb%3Fcode%3D[redacted]&y=2",
        ),
        ("https://joe:pw@h/x", "https://[redacted]@h/x"),
        ("//joe:pw@h/x", "//[redacted]@h/x"),
        ("/x?u=https%3A%2F%2Fjoe%3Apw%40h%2F", "/x?u=https%3A%2F%2F[redacted]%40h%2F"),
        ("/x?q=Bearer%20abc123def", "/x?q=Bearer%20[redacted]"),
        ("/t/eyJhbGciOiJIUzI1NiJ9.e30.abc/x", "/t/[redacted]/x"),
        (
            "/x?X-Amz-Credential=AKIA1&X-Amz-Date=2026&X-Amz-Signature=ab",
            "/x?X-Amz-Credential=[redacted]&X-Amz-Date=2026&X-Amz-Signature=[redacted]",
        ),
        ("/x?token=&y=1", "/x?token=&y=1"),
        ("/x?token=[redacted]", "/x?token=[redacted]"),
        ("/x?token=[redacted]more", "/x?token=[redacted]"),
        ("/größe?token=ü&x=ä", "/größe?token=[redacted]&x=ä"),
    ] {
        assert_eq!(url(text), left);
    }
}

#[test]
fn rejects_without_grammar() {
    for (text, left) in [
        (r#"{"token":"abc","status":200"#, r#"{"token":"[redacted]","status":200"#),
        (r#"{"token":"ab\"cd","status":200"#, r#"{"token":"[redacted]","status":200"#),
        (r#"{"token":"ab"cd","status":200"#, r#"{"token":"[redacted]","status":200"#),
        (r#"{"status":200,"password":"hunt"#, r#"{"status":200,"password":"[redacted]"#),
        (r#"{"\u0074oken" : "abc", "b":1}"#, r#"{"\u0074oken" : "[redacted]", "b":1}"#),
        (r#"{"password":my,secret}x,"b":1}"#, r#"{"password":[redacted],"b":1}"#),
        (r#"{"cookies":["a=b","c]=d"],"b":1}"#, r#"{"cookies":[redacted],"b":1}"#),
        (r#"{"m":"{\"token\":\"abc\",\"b\":1}"}"#, r#"{"m":"{\"token\":\"[redacted]\",\"b\":1}"}"#),
        (r#"{"url":"/x?token=ab\"cd&y=1"}"#, r#"{"url":"/x?token=[redacted]&y=1"}"#),
        (r#"{"url":"/x?token=ab\u0026cd"}"#, r#"{"url":"/x?token=[redacted]"}"#),
        (r#"{"ua":"\u0065yJhbGciOiJIUzI1NiJ9.e30.x"}"#, r#"{"ua":"[redacted]"}"#),
        (r#"{"ua":"Bearer\u0020abc123"}"#, r#"{"ua":"Bearer\u0020[redacted]"}"#),
        (
            r#"{"key":"authorization","value":{"stringValue":"x"}}"#,
            r#"{"key":"authorization","value":[redacted]}"#,
        ),
        (r#"{"value":{"stringValue":"x"},"key":"cookie"}"#, r#"{"value":[redacted],"key":"cookie"}"#),
        (
            r#"{"key":"path","value":"/x"},{"key":"cookie","value":"y"}"#,
            r#"{"key":"path","value":"/x"},{"key":"cookie","value":"[redacted]"}"#,
        ),
        ("\"GET /x?code=abc HTTP/1.1\" 200", "\"GET /x?code=[redacted] HTTP/1.1\" 200"),
        (
            "GET / HTTP/1.1\r\nCookie: a=\"b\"; c\r\nHost: h",
            "GET / HTTP/1.1\r\nCookie: [redacted]\r\nHost: h",
        ),
        ("level=info token=\"a b\" status=200", "level=info token=\"[redacted]\" status=200"),
        ("'token' => 'abc', 'b' => 'c'", "'token' => '[redacted]', 'b' => 'c'"),
        ("\n\rauthorization\x12\x03abc\x1a\x01x", "\n\rauthorization\x12\x03[redacted]\x1a\x01x"),
        ("\n\rauthorization\x12\x30abc", "\n\rauthorization\x12\x30[redacted]"),
    ] {
        assert_eq!(bytes(text), left);
    }
    let broken = b"\xff\xfe\"token\":\"\xffabc\",\"b\":\xff";
    assert_eq!(&*Redactor::default().bytes(broken), b"\xff\xfe\"token\":\"[redacted]\",\"b\":\xff");
}

/// Texts of ordinary lines, which must come back as they went in, without a copy.
const ORDINARY: &[&str] = &[
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "/list/astro-ph/new?page=2&sort=name&q=monkey%20wrench&country_code=de",
    "/great-britain/they-were-basic/git?status_code=200&passenger=3",
    "https://shop.example.com:8443/a/b;v=2?utm_source=x#section-1",
    "via_upstream",
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
    "rbac_access_denied_matched_policy[ns[default]-policy[deny-all]-rule[0]]",
    "outbound_.8080_._.app-a.default.svc.cluster.local",
    "outbound|8080||app-a.default.svc.cluster.local",
    "203.0.113.7,192.0.2.2",
    "spiffe://cluster.local/ns/default/sa/app-a",
    "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "2026-11-21T19:41:04.276Z",
    "TLS_AES_256_GCM_SHA384",
    "HIT-STALE-CLUSTER",
    "größe=über",
    "",
];

#[test]
fn ordinary_text_is_handed_back_without_a_copy() {
    let redactor = Redactor::default();
    for &text in ORDINARY {
        for (found, redacted) in
            [redactor.url(text.into()), redactor.text(text.into()), redactor.value("x_custom", text.into())]
        {
            assert!(matches!(found, Cow::Borrowed(_)), "{text}");
            assert_eq!((&*found, redacted), (text, false));
        }
        assert!(matches!(redactor.bytes(text.as_bytes()), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn pseudonyms_depend_on_the_key_and_the_subject() {
    let redactor = Redactor::default();
    // RFC 4231, test case 2: HMAC-SHA-256 with key "Jefe".
    let rules = RedactionRules { subject_key: b"Jefe".to_vec(), ..RedactionRules::default() };
    let keyed = Redactor::new(&rules);
    assert_eq!(keyed.subject("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7");
    assert_ne!(keyed.subject("joe"), redactor.subject("joe"));
    assert_ne!(keyed.subject("joe"), keyed.subject("jane"));
    let debug = format!("{keyed:?}");
    assert!(!debug.contains("Jefe") && !debug.contains("74, 101"), "{debug}");
}

/// Company that may stand before a secret: anything but what would make the secret a longer word.
fn before() -> impl Strategy<Value = String> {
    "[ -~]{0,40}[ \",;(&?/]".prop_map(|text| text)
}

fn after() -> impl Strategy<Value = String> {
    "([ \",;)&#][ -~]{0,40})?"
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "eyJhbGciOiJ[A-Za-z0-9_-]{8,20}\\.eyJ[A-Za-z0-9_-]{4,40}\\.[A-Za-z0-9_-]{0,40}"
            // The head of a real one decodes to JSON; this one does as far as it is fixed.
            .prop_map(|text| text),
        "Bearer [A-Z][0-9][A-Za-z0-9_~+-]{8,40}",
        "(AKIA|ASIA)[A-Z0-9]{16}",
        "(ghp_|gho_|ghs_)[A-Za-z0-9]{36}",
        "xoxb-[0-9]{12}-[A-Za-z0-9]{12,24}",
        "sk_live_[A-Za-z0-9]{24}",
        "https://[a-z]{3,8}:[A-Za-z0-9!$]{6,20}@example\\.com",
    ]
}

/// The part of a planted secret that must be gone.
fn core(secret: &str) -> &str {
    let text = secret.strip_prefix("Bearer ").or(secret.strip_prefix("https://")).unwrap_or(secret);
    text.split('@').next().unwrap_or(text)
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "token",
        "access_token",
        "Api-Key",
        "password",
        "clientSecret",
        "sid",
        "Set-Cookie",
        "jwt",
    ])
}

proptest! {
    #[test]
    fn anything_is_survived(text in any::<String>(), raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let redactor = Redactor::default();
        redactor.url(text.as_str().into());
        redactor.text(text.as_str().into());
        redactor.value(&text, text.as_str().into());
        redactor.value("x", text.as_str().into());
        redactor.bytes(&raw);
    }

    #[test]
    fn the_language_of_rejects_is_survived(text in "([\"'{}\\[\\]:=,;&?#%\\\\/ @.-]|\\\\u00|token|key|value|eyJ|://|Bearer |\\x12|[a-f0-9]|-----BEGIN PRIVATE|é){0,60}") {
        let redactor = Redactor::default();
        let out = redactor.bytes(text.as_bytes());
        // One mark for each secret at most, and a secret has one byte at least.
        prop_assert!(out.len() <= text.len() * Redactor::MARK.len());
        redactor.url(text.as_str().into());
        redactor.value("x", text.as_str().into());
    }

    #[test]
    fn planted_shapes_are_gone(before in before(), secret in secret(), after in after()) {
        let redactor = Redactor::default();
        let text = format!("{before}{secret}{after}");
        let core = core(&secret);
        for (out, redacted) in [
            redactor.url(text.as_str().into()),
            redactor.text(text.as_str().into()),
            redactor.value("x_custom", text.as_str().into()),
        ] {
            prop_assert!(redacted && !out.contains(core), "{out}");
        }
        let out = redactor.bytes(text.as_bytes());
        prop_assert!(!String::from_utf8_lossy(&out).contains(core));
    }

    #[test]
    fn escapes_hide_no_shape(before in before(), secret in secret(), after in after(), every in 1usize..5, percent: bool) {
        let escaped: String = secret.char_indices().map(|(at, char)| match at % every {
            0 if percent => format!("%{:02X}", char as u32),
            0 => format!("\\u{:04x}", char as u32),
            _ => char.to_string(),
        }).collect();
        let redactor = Redactor::default();
        let out = redactor.bytes(format!("{before}{escaped}{after}").as_bytes()).into_owned();
        // Whoever undoes the escapes of what is left must not read the secret.
        let view = super::View::new(&out);
        prop_assert!(!String::from_utf8_lossy(view.bytes()).contains(core(&secret)));
    }

    #[test]
    fn values_of_secret_names_are_gone(name in name(), secret in "[A-Z][0-9A-Za-z/+.!,;\\\\\"'-]{6,30}", cut: bool, before in "[a-z ]{0,20}") {
        let redactor = Redactor::default();
        let gone = |out: &str| !out.contains(&secret[..]) && !out.contains(&secret[..secret.len() - 1]);
        let json = serde_json::to_string(&secret).unwrap();
        let inner = &json[1..json.len() - 1];
        let end = if cut { "" } else { "\",\"status\":200}" };
        let line = format!("{{\"a\":\"{before}\",\"{name}\":\"{inner}{end}");
        let out = String::from_utf8_lossy(&redactor.bytes(line.as_bytes())).into_owned();
        prop_assert!(!out.contains(inner) && gone(&out), "{out}");
        let header = format!("GET / HTTP/1.1\r\n{name}: {secret}\r\nHost: x");
        prop_assert!(gone(&String::from_utf8_lossy(&redactor.bytes(header.as_bytes()))));
        let simple: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
        let query = format!("/a?{name}={simple}&b=1");
        let left = format!("/a?{name}=[redacted]&b=1");
        prop_assert_eq!(&*redactor.url(query.as_str().into()).0, left.as_str());
        prop_assert_eq!(&*redactor.value("u", query.as_str().into()).0, left.as_str());
        prop_assert_eq!(&*redactor.bytes(query.as_bytes()), left.as_bytes());
        prop_assert_eq!(&*redactor.value(name, simple.as_str().into()).0, "[redacted]");
    }

    #[test]
    fn text_without_secrets_is_untouched(words in prop::collection::vec("[a-z]{2,9}", 1..12), joint in "[ /,._-]") {
        let text = words.join(&joint);
        // Words that a secret begins with: chance writes `gho_` once in some ten thousand texts.
        let begins = ["bearer", "basic", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "sk_", "sk-", "pk_", "rk_", "xox"];
        prop_assume!(!begins.iter().any(|word| text.contains(word)));
        let redactor = Redactor::default();
        for (out, redacted) in [redactor.url(text.as_str().into()), redactor.text(text.as_str().into())] {
            prop_assert!(!redacted && matches!(out, Cow::Borrowed(_)));
        }
        prop_assert!(matches!(redactor.bytes(text.as_bytes()), Cow::Borrowed(_)));
    }
}
