//! `throughline setup idp ISSUER`: what a provider says of itself, held against what the edge will ask of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::edge::verify::{Alg, KeySet};
use anyhow::{Context as _, bail};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{REJECTED, read_stdin};
use crate::cli::client::block_on;
use crate::render::safe;

mod trial;

/// Discovery documents have some 3 KB, key sets with certificates up to 64; the edge itself reads 256 KiB.
const DOCUMENT_MOST_BYTES: usize = edge::MAX_FETCH_BYTES;
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// What the edge can check, as providers name it.
const ALGS: [&str; 7] = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"];

/// Look at an identity provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The issuer, exactly as in its tokens, such as https://shop.eu.auth0.com/
    issuer: String,
    /// Name for the issuer's block
    #[arg(long, default_value = "idp")]
    name: String,
    /// Static backend through which the edge will fetch the keys
    #[arg(long, default_value = "idp")]
    backend: String,
    /// Audience that its tokens must have; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// Client that its tokens must be for (Cognito); may be given several times
    #[arg(long = "client-id", value_name = "ID")]
    client_ids: Vec<String>,
    /// Read a token from standard input and say whether the edge would take it
    #[arg(long)]
    token: bool,
    /// PEM file with certificates to trust beside the built-in ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What was found at a provider.
#[derive(Debug)]
struct Found {
    /// The issuer's block.
    block: Value,
    /// The key set as it was served.
    keys: Vec<u8>,
    /// What the edge could not do with this provider, as sentences.
    problems: Vec<String>,
    /// What is good to know.
    notes: Vec<String>,
}

/// Runs the subcommand: 0 the provider (and the token) will do, 1 not.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let http = client(arguments)?;
    let found = look_at(arguments, |url| block_on(fetch(&http, url)))?;
    let mut talk = std::io::stderr().lock();
    for note in &found.notes {
        writeln!(talk, "ok    {}", safe(note))?;
    }
    for problem in &found.problems {
        writeln!(talk, "FAIL  {}", safe(problem))?;
    }
    let mut good = found.problems.is_empty();
    writeln!(std::io::stdout().lock(), "{:#}", found.block)?;
    if arguments.token {
        let token = read_stdin()?;
        match trial::verdict(&found.block, found.keys, token.trim()) {
            Ok(sentence) => writeln!(talk, "ok    {}", safe(&sentence))?,
            Err(sentence) => {
                good = false;
                writeln!(talk, "FAIL  {}", safe(&sentence))?;
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

fn client(arguments: &Arguments) -> anyhow::Result<reqwest::Client> {
    // Someone else in the process may have installed the same provider; which of the two wins makes no difference.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCH_LIMIT)
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = &arguments.ca_file {
        let pem = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("{} holds no PEM certificates", file.display()))?;
        builder = builder.tls_certs_merge(roots);
    }
    builder.build().context("prepare the HTTP client")
}

async fn fetch(http: &reqwest::Client, url: &str) -> anyhow::Result<Vec<u8>> {
    let mut response = http.get(url).send().await.with_context(|| format!("fetch {url}"))?;
    if !response.status().is_success() {
        bail!("{url} answers {}; the edge follows no redirect and needs 200", response.status());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(|| format!("read {url}"))? {
        body.extend_from_slice(&chunk);
        if body.len() > DOCUMENT_MOST_BYTES {
            bail!("{url} is longer than {DOCUMENT_MOST_BYTES} bytes, which is more than the edge reads");
        }
    }
    Ok(body)
}

/// The provider's preset by its host; `oidc` for any that is not known.
fn preset(host: &str) -> &'static str {
    let under =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    if under("okta.com") || under("oktapreview.com") || under("okta-emea.com") {
        "okta"
    } else if under("auth0.com") {
        "auth0"
    } else if under("login.microsoftonline.com") {
        "entra"
    } else if host.starts_with("cognito-idp.") && under("amazonaws.com") {
        "cognito"
    } else if under("tokens.sts.global.api.aws") {
        "aws-iam"
    } else if host == "accounts.google.com" {
        "google"
    } else {
        "oidc"
    }
}

/// An `https` URL without anything that has no place in an issuer or a key set's address.
fn https(url: &str) -> Option<Url> {
    let parsed = Url::parse(url).ok()?;
    let plain = parsed.scheme() == "https"
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none();
    plain.then_some(parsed)
}

/// Discovers and checks. An error is what makes going on senseless; everything else is a problem in the answer.
fn look_at(
    arguments: &Arguments,
    mut fetch: impl FnMut(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Found> {
    let issuer = arguments.issuer.as_str();
    let Some(parsed) = https(issuer).filter(|url| url.query().is_none()) else {
        bail!("an issuer is an https URL without user, query and fragment, and {issuer} is none");
    };
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document: Map<String, Value> = serde_json::from_slice(&fetch(&discovery)?)
        .with_context(|| format!("{discovery} is not a JSON object"))?;
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    match document.get("issuer").and_then(Value::as_str) {
        Some(said) if said == issuer => notes.push(format!("{discovery} names the same issuer")),
        said => problems.push(format!(
            "{discovery} names the issuer {:?}, not {issuer:?}: tokens carry the former, to the last slash",
            said.unwrap_or_default()
        )),
    }
    let address =
        document.get("jwks_uri").and_then(Value::as_str).context("the provider names no jwks_uri")?;
    let jwks = https(address).with_context(|| format!("jwks_uri is not a plain https URL: {address}"))?;
    let keys = fetch(address)?;
    let set = KeySet::parse(&keys).with_context(|| {
        format!(
            "{address} holds no key that the edge can use: RSA of 2048 to 4096 bits, P-256, P-384, Ed25519"
        )
    })?;
    notes.push(format!("{address} has {} usable keys", set.keys.len()));
    if set.keys.iter().any(|key| key.kid.is_empty()) {
        problems.push("a key has no kid: the edge could not tell it from its successor".to_owned());
    }
    let offered = document.get("id_token_signing_alg_values_supported").and_then(Value::as_array);
    let fits = |name: &str| {
        let alg = Alg::parse(name)?;
        let fits = set.keys.iter().any(|key| key.public.fits(alg) && key.alg.is_none_or(|own| own == alg));
        (fits && offered.is_none_or(|offered| offered.iter().any(|value| value == name)))
            .then(|| name.to_owned())
    };
    let algorithms: Vec<String> = ALGS.into_iter().filter_map(fits).collect();
    if algorithms.is_empty() {
        problems.push(
            "none of the algorithms that it offers is one the edge checks with one of its keys".to_owned(),
        );
    } else {
        notes.push(format!("signs with {}", algorithms.join(", ")));
    }
    let host = jwks.host_str().unwrap_or_default();
    let target =
        jwks.query().map_or_else(|| jwks.path().to_owned(), |query| format!("{}?{query}", jwks.path()));
    let mut block = json!({
        "name": arguments.name,
        "preset": preset(parsed.host_str().unwrap_or_default()),
        "iss": issuer,
        "jwks": {"backend": arguments.backend, "host": host, "path": target},
        "algorithms": algorithms,
    });
    for (field, values) in [("audiences", &arguments.audiences), ("client_ids", &arguments.client_ids)] {
        if !values.is_empty() {
            block[field] = json!(values);
        }
    }
    match trial::config(&block) {
        Ok(_) => notes.push("the edge takes this block".to_owned()),
        Err(error) => problems.push(format!("the edge does not take this block: {error}")),
    }
    Ok(Found { block, keys, problems, notes })
}

#[cfg(test)]
mod tests;
