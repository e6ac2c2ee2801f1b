//! `throughline setup idp` against a provider on loopback, over TLS with a certificate of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use chain::{Key, Provider, now_s};
use serde_json::{Value, json};

use super::setup;

/// A site that lives as long as the test's process.
struct Site {
    issuer: String,
    authority: PathBuf,
    _directory: tempfile::TempDir,
}

impl Site {
    /// Serves what `pages` makes for the site's own issuer.
    fn serve(pages: impl FnOnce(&str) -> Router) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (authority, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&authority, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let app = pages(&issuer).into_make_service();
        let files = (authority.clone(), key);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let config = axum_server::tls_rustls::RustlsConfig::from_pem_file(files.0, files.1).await;
                axum_server::from_tcp_rustls(listener, config.unwrap()).unwrap().serve(app).await.unwrap();
            });
        });
        Self { issuer, authority, _directory: directory }
    }

    /// A site whose discovery document is this one.
    fn telling(document: impl FnOnce(&str) -> Value) -> Self {
        Self::serve(|issuer| {
            let document = document(issuer).to_string();
            Router::new().route("/.well-known/openid-configuration", get(async move || document))
        })
    }

    /// Asks about its issuer, for the audience `shop`.
    fn ask(&self, issuer: &str, more: &[&str], input: &str) -> (i32, String, String) {
        let authority = self.authority.to_str().unwrap();
        let arguments = ["idp", issuer, "--audience", "shop", "--ca-file", authority];
        setup(&[&arguments, more].concat(), input)
    }

    /// What is said against it.
    fn refused(&self, issuer: &str) -> String {
        let (code, printed, said) = self.ask(issuer, &[], "");
        assert_eq!((code, printed.as_str()), (1, ""), "{said}");
        said
    }
}

/// A good provider, with its key.
fn provider() -> (Site, Arc<Provider>) {
    let mut made = None;
    let site = Site::serve(|issuer| {
        let provider = Arc::new(Provider::new(
            issuer,
            "shop",
            "person-7",
            Arc::new(Key::es256("k1")),
            &[&Key::eddsa("k2")],
        ));
        made = Some(Arc::clone(&provider));
        provider.router()
    });
    (site, made.unwrap())
}

#[test]
fn a_good_provider_gives_a_block_and_its_token_is_taken() {
    let (site, provider) = provider();
    let token = provider.token("shop", &json!({}));
    let (code, printed, said) = site.ask(&site.issuer, &["--token", "--name", "main"], &format!("{token}\n"));
    assert_eq!(code, 0, "{said}");
    let block: Value = serde_json::from_str(&printed).unwrap();
    let host = site.issuer.strip_prefix("https://").unwrap();
    let whole = json!({"name": "main", "preset": "oidc", "iss": site.issuer, "audiences": ["shop"],
        "jwks": {"backend": "idp", "host": host, "path": "/jwks"}, "algorithms": ["ES256", "EdDSA"]});
    assert_eq!(block, whole);
    assert!(said.contains("ok    the edge takes this token, of person-7, until 20"), "{said}");
    assert!(!said.contains("FAIL") && !said.contains(&token), "{said}");

    // The block is what `setup edge` takes.
    let item = json!({"version": 1, "policy_version": "p", "issuers": [block],
        "routes": [{"name": "all", "action": {"forward": {"backend": "origin"}}}]});
    let (code, script, said) = setup(&["edge", "-"], &item.to_string());
    assert_eq!(code, 0, "{said}");
    let port = host.strip_prefix("localhost:").unwrap();
    assert!(script.contains(&format!("backend idp localhost {port}\n")), "{script}");
}

#[test]
fn a_token_that_the_edge_refuses_is_refused_with_the_edges_reason() {
    let (site, provider) = provider();
    let past = json!({"iat": now_s() - 900, "exp": now_s() - 600});
    let claims =
        json!({"iss": site.issuer, "aud": "shop", "sub": "person-7", "iat": now_s(), "exp": now_s() + 60});
    let mut good = provider.token("shop", &json!({}));
    good.pop();
    for (token, reason) in [
        (provider.token("shop", &past), "expired; it says alg"),
        (provider.token("other", &json!({})), "wrong_audience; it says alg"),
        (provider.token("shop", &json!({"iss": "https://else.example"})), "unknown_issuer"),
        (provider.token("shop", &json!({"at_hash": "x"})), "wrong_token_type"),
        (Key::es256("k1").token(&claims), "bad_signature"),
        (Key::es256("k9").token(&claims), "unknown_key"),
        (Key::rs256("k1").token(&claims), "bad_algorithm"),
        (good, "bad_signature"),
        ("no token".to_owned(), "malformed"),
    ] {
        let (code, printed, said) = site.ask(&site.issuer, &["--token"], &token);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&format!("FAIL  the edge refuses this token: {reason}")), "{reason}: {said}");
        assert!(printed.contains("\"iss\""), "the provider is good all the same");
        assert!(!said.contains("person-7"), "{said}");
    }
    let (code, _, said) = site.ask(&site.issuer, &["--token"], "");
    assert_eq!(code, 1);
    assert!(said.contains("no token came on standard input"), "{said}");
}

#[test]
fn an_issuer_that_is_not_the_providers_is_named() {
    let (site, _) = provider();
    let slash = site.refused(&format!("{}/", site.issuer));
    assert!(
        slash.contains(&format!("by the last slash; its tokens say {}: give that", site.issuer)),
        "{slash}"
    );
    let other = Site::telling(
        |issuer| json!({"issuer": "https://else.example", "jwks_uri": format!("{issuer}/jwks")}),
    );
    assert!(other.refused(&other.issuer).contains("names another issuer, https://else.example"));
    assert!(site.refused("http://localhost").contains("an issuer is an https:// URL"));
}

#[test]
fn documents_that_the_edge_could_not_use_are_named() {
    let moved = Site::serve(|_| {
        Router::new().route(
            "/.well-known/openid-configuration",
            get(async || Redirect::temporary("https://else.example/")),
        )
    });
    let said = moved.refused(&moved.issuer);
    assert!(said.contains("answers 307 Temporary Redirect and sends on to https://else.example/"), "{said}");
    let nothing = Site::serve(|_| Router::new());
    assert!(nothing.refused(&nothing.issuer).contains("answers 404 Not Found; the edge needs 200"));
    let plain = Site::telling(|issuer| json!({"issuer": issuer, "jwks_uri": "http://localhost/\u{1b}[2J"}));
    let said = plain.refused(&plain.issuer);
    assert!(said.contains("jwks_uri must be https://") && !said.contains('\u{1b}'), "{said}");
    let long = Site::telling(|issuer| json!({"issuer": issuer, "more": "x".repeat(256 * 1024)}));
    assert!(long.refused(&long.issuer).contains("has more than 262144 bytes"));
    let symmetric = Site::telling(|issuer| {
        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "id_token_signing_alg_values_supported": ["HS256"]})
    });
    let said = symmetric.refused(&symmetric.issuer);
    assert!(said.contains("it signs with HS256 only") && said.contains("could also forge"), "{said}");
    let keyless = Site::telling(
        |issuer| json!({"issuer": issuer, "jwks_uri": format!("{issuer}/.well-known/openid-configuration")}),
    );
    assert!(keyless.refused(&keyless.issuer).contains("holds no key that the edge can use"));
}

#[test]
fn a_provider_that_cannot_be_asked_is_an_error_and_not_a_verdict() {
    let (site, _) = provider();
    let (code, printed, said) = setup(&["idp", &site.issuer, "--audience", "shop"], "");
    assert_eq!((code, printed.as_str()), (2, ""), "{said}");
    assert!(said.contains("give --ca-file") && said.contains("certificate"), "{said}");
    let (code, _, said) = setup(&["idp", "https://localhost:9", "--audience", "shop"], "");
    assert_eq!(code, 2);
    assert!(said.contains("cannot fetch https://localhost:9/.well-known/openid-configuration"), "{said}");
    let file = site.authority.with_file_name("key.pem");
    let (code, _, said) = setup(&["idp", &site.issuer, "--ca-file", file.to_str().unwrap()], "");
    assert_eq!(code, 2);
    assert!(said.contains("(--ca-file) holds no certificate in PEM"), "{said}");
}
