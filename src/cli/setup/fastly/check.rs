//! What can be checked from here: that the endpoint answers Fastly's challenge for this service, and that the token opens it.
//!
//! From here is not from Fastly: a check that fails is said and stops nothing.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::wanted::{self, TOKEN_VARIABLE, Wanted};
use crate::cli::setup::rest;
use crate::render::safe;

/// Fixed by Fastly, on the host of the endpoint.
const CHALLENGE: &str = "/.well-known/fastly/logging/challenge";
/// Fastly's own patience is not published; an endpoint that is slower than this from here is worth a look.
const PATIENCE: Duration = Duration::from_secs(5);

/// The line by which a host says that it takes the logs of this service.
pub(super) fn challenge_line(service_id: &str) -> String {
    Sha256::digest(service_id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was found, a line each.
pub(super) async fn endpoint(
    wanted: &Wanted,
    service_id: &str,
    token: Option<&str>,
    ca_file: Option<&Path>,
) -> anyhow::Result<Vec<String>> {
    let http = rest::client(ca_file)?;
    let mut found = Vec::new();
    if rest::is_loopback(&wanted.url) {
        found.push("warn  the endpoint is on this machine, which Fastly does not reach".to_owned());
    }
    let mut challenge = wanted.url.clone();
    challenge.set_path(CHALLENGE);
    let answers = match rest::send(http.get(challenge).timeout(PATIENCE)).await {
        Err(error) => {
            found
                .push(format!("?     the endpoint was not checked, it gives no answer from here: {error:#}"));
            return Ok(found);
        }
        Ok(answer) if answer.status.is_success() => {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let line = challenge_line(service_id);
            if text.lines().any(|other| other.trim() == line || other.trim() == "*") {
                "ok    the endpoint answers Fastly's challenge for this service".to_owned()
            } else {
                format!(
                    "warn  the endpoint does not take this service's logs: add {} to `services` of [fastly] in Throughline's configuration",
                    safe(service_id)
                )
            }
        }
        Ok(answer) => format!(
            "warn  the endpoint's host answers {} to Fastly's challenge ({CHALLENGE}), so Fastly will not send",
            answer.status
        ),
    };
    found.push(answers);
    found.push(match token {
        Some(token) => opens(&http, &wanted.url, token).await,
        None => format!("?     the token was not checked: {TOKEN_VARIABLE} is not set"),
    });
    Ok(found)
}

/// An empty delivery: it takes the token and leaves nothing but a count.
async fn opens(http: &reqwest::Client, url: &Url, token: &str) -> String {
    let request =
        http.post(url.clone()).header("authorization", wanted::bearer(token)).timeout(PATIENCE).body("");
    match rest::send(request).await {
        Ok(answer) if answer.status.is_success() => "ok    the endpoint takes the token".to_owned(),
        Ok(answer) => {
            let detail =
                answer.json()["detail"].as_str().map(|text| format!(": {}", safe(text))).unwrap_or_default();
            format!("warn  the endpoint refuses the token in {TOKEN_VARIABLE} ({}{detail})", answer.status)
        }
        Err(error) => format!("?     the token was not checked: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_challenge_is_the_hash_of_the_id_without_a_line_end() {
        // printf %s SU1Z0isxPaozGVKXdv0eY | sha256sum
        let line = super::challenge_line("SU1Z0isxPaozGVKXdv0eY");
        assert_eq!(line, "66b01d440c79400570c755aad9d589af5368719067c13fee58710a7198db2de8");
    }
}
