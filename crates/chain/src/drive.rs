//! Sends the declared requests, as a script, a browser and an attacker would, and notes what the client saw.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::declared::{Credential, Declared, LOGIN, REQUESTS};
use crate::edge::{AUDIENCE, CORRELATION_HEADER, ISSUER, LOGIN_HOST, TOKEN_HEADER};
use crate::http::{Answer, get, get_over};
use crate::keys::{Key, now_s};
use crate::mesh::SHOP_HOST;
use crate::whole::Chain;

/// What every client claims of itself, and nobody may believe: ids of its own choice, and who it is.
pub const CLAIMED_ID: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
const CLAIMED_TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Who goes around the edge brings an id, too; one each, so that each can be looked up.
const AROUND_IDS: [&str; 2] =
    ["0192f0c4-8a4e-7cc3-98c4-a00000000001", "0192f0c4-8a4e-7cc3-98c4-a00000000002"];
/// How long a request to the gateway may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A request that was sent.
#[derive(Debug, Clone)]
pub struct Driven {
    /// What must come of it.
    pub declared: Declared,
    /// The status that the client got.
    pub status: u16,
    /// The correlation id: the one that the answer named; around the edge, the client's own.
    pub correlation_id: String,
    /// Whether the client chose that id.
    pub is_claimed: bool,
}

impl Chain {
    /// Drives every request, one after the other; the browser's login comes first.
    ///
    /// # Errors
    ///
    /// A request got no answer at all, or none with a correlation id.
    pub fn drive(&self) -> anyhow::Result<Vec<Driven>> {
        let mut driven = self.log_in()?;
        for declared in REQUESTS {
            driven.push(self.send(declared).with_context(|| format!("the request {:?}", declared.name))?);
        }
        Ok(driven)
    }

    fn send(&self, declared: Declared) -> anyhow::Result<Driven> {
        let token = match declared.credential {
            Credential::Token => Some(self.token(&json!({}))),
            Credential::Expired => {
                // Well past what clocks may differ by.
                let (iat, exp) = (now_s() - 600, now_s() - 300);
                Some(self.token(&json!({ "iat": iat, "exp": exp })))
            }
            Credential::Forged => {
                // The right claims under the right key id, signed with another key.
                let real = self.token(&json!({}));
                let signed = real.rsplit_once('.').context("a token")?.0;
                let signature = Key::es256("login-1").sign(signed.as_bytes());
                Some(format!("{signed}.{}", crate::base64url(signature)))
            }
            Credential::None | Credential::Browser => None,
            Credential::Around => return self.go_around(declared, AROUND_IDS[0], None),
            Credential::AroundForged => {
                return self.go_around(declared, AROUND_IDS[1], Some(&own_edge_token(declared.path)));
            }
        };
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("accept", "application/json"), ("user-agent", "chain/1.0")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        headers.extend([
            (CORRELATION_HEADER, CLAIMED_ID),
            ("x-request-id", CLAIMED_ID),
            ("traceparent", CLAIMED_TRACE),
            ("x-user", "root"),
            (TOKEN_HEADER, "a.b.c"),
        ]);
        let answer = ask(self.edge, SHOP_HOST, declared.path, &headers)?;
        seen(declared, &answer)
    }

    /// A browser's way: the page, the provider, the callback, and the page again.
    fn log_in(&self) -> anyhow::Result<Vec<Driven>> {
        let browser =
            [("accept", "text/html,*/*"), ("sec-fetch-mode", "navigate"), ("user-agent", "browser/1.0")];
        let [first, second, third] = LOGIN;
        let mut jar: Vec<String> = Vec::new();
        let page = |declared: Declared, path: &str, jar: &mut Vec<String>| {
            let cookies = jar.join("; ");
            let mut headers = browser.to_vec();
            if !cookies.is_empty() {
                headers.push(("cookie", &cookies));
            }
            let answer = ask(self.edge, SHOP_HOST, path, &headers)?;
            jar.extend(
                answer.values("set-cookie").filter_map(|cookie| cookie.split(';').next()).map(str::to_owned),
            );
            anyhow::Ok((seen(declared, &answer)?, answer))
        };
        let (sent, answer) = page(first, first.path, &mut jar)?;
        let to_provider = path_at(LOGIN_HOST, &answer)?;
        let granted = ask(self.provider_address, LOGIN_HOST, &to_provider, &browser)?;
        let to_callback = path_at(SHOP_HOST, &granted)?;
        let (back, answer) = page(second, &to_callback, &mut jar)?;
        // The verifier's cookie is taken back with an empty value.
        jar.retain(|cookie| !cookie.ends_with('='));
        let to_page = answer.header("location").context("the callback leads nowhere")?.to_owned();
        if to_page != first.path {
            bail!("the callback leads to {to_page:?} and not back to {:?}", first.path);
        }
        let (page, _) = page(third, &to_page, &mut jar)?;
        Ok(vec![sent, back, page])
    }

    /// Straight to the gateway, over TLS, as whoever knows its address could.
    fn go_around(&self, declared: Declared, id: &str, token: Option<&str>) -> anyhow::Result<Driven> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).context("the chain's authority")?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(SHOP_HOST).context("a host name")?;
        let connection = ClientConnection::new(Arc::new(config), name).context("begin TLS")?;
        let stream = TcpStream::connect_timeout(&self.gateway, LIMIT).context("connect to the gateway")?;
        stream.set_read_timeout(Some(LIMIT)).context("limit the wait")?;
        let mut headers = vec![
            ("host", SHOP_HOST),
            ("user-agent", "chain/1.0"),
            (CORRELATION_HEADER, id),
            ("traceparent", CLAIMED_TRACE),
        ];
        headers.extend(token.map(|token| (TOKEN_HEADER, token)));
        let answer = get_over(StreamOwned::new(connection, stream), declared.path, &headers)
            .context("ask the gateway")?;
        Ok(Driven { declared, status: answer.status, correlation_id: id.to_owned(), is_claimed: true })
    }
}

/// A token that says what the edge's would, signed by somebody else.
fn own_edge_token(path: &str) -> String {
    let (key, now_s) = (Key::es256("edge-2"), now_s());
    let header = json!({ "alg": "ES256", "kid": "edge-2", "typ": "edge+jwt" });
    let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "root", "iat": now_s, "exp": now_s + 60,
        "jti": AROUND_IDS[1], "htm": "GET", "htu": path });
    key.token_with(&header, &claims)
}

fn ask(address: SocketAddr, host: &str, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let all: Vec<(&str, &str)> = std::iter::once(("host", host)).chain(headers.iter().copied()).collect();
    get(address, path, &all).with_context(|| format!("GET {host}{path}"))
}

/// The path of a redirect, which must lead to this host.
fn path_at(host: &str, answer: &Answer) -> anyhow::Result<String> {
    let location = answer.header("location").unwrap_or_default();
    let path = location.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host));
    let path = path.with_context(|| format!("{} {location:?} does not lead to {host}", answer.status))?;
    Ok(path.to_owned())
}

fn seen(declared: Declared, answer: &Answer) -> anyhow::Result<Driven> {
    let id = answer.header(CORRELATION_HEADER);
    let id = id.with_context(|| format!("an answer {} without one correlation id", answer.status))?;
    Ok(Driven { declared, status: answer.status, correlation_id: id.to_owned(), is_claimed: false })
}
