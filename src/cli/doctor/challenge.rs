//! Fastly's challenge, asked as Fastly asks it: without a token, at the root of the host, and no redirect is followed.
//! It is asked again every few seconds; while the answer is wrong, nothing is delivered.

use std::fmt::Write as _;

use sha2::Digest as _;

use super::finding::Finding;
use super::given::{Given, is_loopback};
use crate::api::answer::ServiceAnswer;

/// Where Fastly asks, whatever the path of the configured URL.
pub(super) const PATH: &str = "/.well-known/fastly/logging/challenge";

/// What came back.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    /// 0 where nobody answered.
    pub(super) status: u16,
    /// Where a redirect leads.
    pub(super) location: String,
    pub(super) body: String,
    /// Why nobody answered.
    pub(super) error: String,
}

pub(super) fn check(given: &Given, service: &ServiceAnswer, reply: &Reply) -> Vec<Finding> {
    let at = format!("{}{PATH}", given.public_url.as_str().trim_end_matches('/'));
    let one = |finding| vec![finding];
    match reply.status {
        200 => {}
        0 => {
            return one(Finding::problem(
                "challenge",
                format!("nobody answers {at}: {}", reply.error),
                "Fastly must reach it from the internet: look at DNS, firewall and balancer; --public-url says where",
            ));
        }
        300..=399 => {
            return one(Finding::problem(
                "challenge",
                format!(
                    "{at} leads elsewhere ({}, {}), and Fastly does not follow",
                    reply.status, reply.location
                ),
                "let the host answer this path itself, over https and without a redirect",
            ));
        }
        status => {
            return one(Finding::problem(
                "challenge",
                format!("{at} answers {status}, where Fastly wants 200"),
                "a proxy before the service keeps the path to itself: pass `/.well-known/fastly/` on, without login",
            ));
        }
    }
    let lines: Vec<&str> = reply.body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.iter().any(|line| !is_line(line)) {
        return one(Finding::problem(
            "challenge",
            format!("{at} answers 200, but with something else than service ids: {:?}", start(&reply.body)),
            "somebody else answers there, such as a login page or a default site: pass the path on to the service",
        ));
    }
    if lines.is_empty() {
        return one(Finding::problem(
            "challenge",
            format!("{at} names no service id, so Fastly delivers nothing"),
            "set `fastly.services` to the ids of your Fastly services",
        ));
    }
    let mut findings = Vec::new();
    let own: Vec<&str> = service.challenge.iter().map(String::as_str).collect();
    if !own.is_empty() && own != lines {
        findings.push(Finding::problem(
            "challenge",
            format!("{at} is not answered by the service at {}: they name other service ids", given.url),
            "--public-url or --url is another service, or instances have different `fastly.services`",
        ));
    }
    let is_any = lines.contains(&"*");
    let missing: Vec<&str> = given
        .fastly_services
        .iter()
        .filter(|id| !lines.contains(&digest(id).as_str()))
        .map(String::as_str)
        .collect();
    if !is_any && !missing.is_empty() {
        findings.push(Finding::problem(
            "challenge",
            format!(
                "the answer does not name the Fastly services {}: they deliver nothing",
                missing.join(", ")
            ),
            "add their ids to `fastly.services`; the answer is the SHA-256 of each bare id",
        ));
    }
    if is_any && !is_loopback(&given.public_url) {
        findings.push(Finding::note(
            "challenge",
            "it is answered for every Fastly service (`*`): anybody's may name this endpoint",
            "set `fastly.services` to the ids of your own; tokens keep others out meanwhile",
        ));
    }
    if findings.is_empty() {
        let of =
            if is_any { "any Fastly service".to_owned() } else { format!("{} Fastly services", lines.len()) };
        findings.push(Finding::ok("challenge", format!("is answered as Fastly wants it, for {of}")));
    }
    findings
}

fn is_line(line: &str) -> bool {
    line == "*" || line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

/// As Fastly compares it: lower-case hex.
fn digest(id: &str) -> String {
    sha2::Sha256::digest(id.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
