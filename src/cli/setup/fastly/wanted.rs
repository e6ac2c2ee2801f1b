//! What a service is to have: six snippets and one log endpoint. The texts are those of `deploy/fastly`, compiled in.

use anyhow::{Context as _, bail};
use reqwest::Url;

use super::Arguments;

/// Types of the snippets, in the order in which a request meets them, and their texts.
const SNIPPETS: [(&str, &str); 6] = [
    ("init", include_str!("../../../../deploy/fastly/init.vcl")),
    ("recv", include_str!("../../../../deploy/fastly/recv.vcl")),
    ("miss", include_str!("../../../../deploy/fastly/miss.vcl")),
    ("pass", include_str!("../../../../deploy/fastly/pass.vcl")),
    ("fetch", include_str!("../../../../deploy/fastly/fetch.vcl")),
    ("deliver", include_str!("../../../../deploy/fastly/deliver.vcl")),
];
const FORMAT: &str = include_str!("../../../../deploy/fastly/log-format.json");
/// How a Compute service writes a line.
pub(super) const COMPUTE_CODE: &str = include_str!("../../../../deploy/fastly/compute.rs");
/// Before the snippets that a service usually has (100), so that they see the ids.
pub(super) const PRIORITY: &str = "5";
/// How each text of ours begins: by it a snippet is told from somebody else's of the same name.
const MARK: &str = "# Throughline,";
/// The header that carries the token, and what stands before it.
pub(super) const TOKEN_FIELD: &str = "header_value";
pub(super) const TOKEN_VARIABLE: &str = "THROUGHLINE_INGEST_TOKEN";

/// What is the same for every log endpoint: name in the API, flag of the CLI, attribute of Terraform, value.
///
/// Without `blank` each line would have a syslog prefix. Fastly's own bounds of a delivery (100 MB, 10,000 lines) are as large as
/// what a receiver takes at most; these keep one delivery small beside it.
pub(super) const SETTINGS: [(&str, &str, &str, &str); 9] = [
    ("method", "method", "method", "POST"),
    ("content_type", "content-type", "content_type", "application/json"),
    ("json_format", "json-format", "json_format", "2"),
    ("message_type", "message-type", "message_type", "blank"),
    ("header_name", "header-name", "header_name", "Authorization"),
    ("compression_codec", "compression-codec", "compression_codec", "zstd"),
    ("period", "period", "period", "5"),
    ("request_max_entries", "request-max-entries", "request_max_entries", "5000"),
    ("request_max_bytes", "request-max-bytes", "request_max_bytes", "4000000"),
];

/// Where Fastly works on the lines before it sends them on: residency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Region {
    /// Anywhere
    None,
    /// The United States
    Us,
    /// The European Union
    Eu,
}

impl Region {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Us => "us",
            Self::Eu => "eu",
        }
    }
}

/// A snippet as it is to be.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

/// What the service is to have.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Of the log endpoint, and the first word of the snippets' names.
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) region: Region,
    /// Empty for a Compute service, and where somebody's own VCL stamps.
    pub(super) snippets: Vec<Snippet>,
    /// None for a Compute service, whose code makes the line.
    pub(super) format: Option<&'static str>,
}

impl Wanted {
    /// What the arguments ask for, of a service of that kind.
    pub(super) fn new(arguments: &Arguments, is_compute: bool) -> anyhow::Result<Self> {
        let name = checked_name(&arguments.name)?;
        let text =
            arguments.endpoint.as_deref().context("--endpoint says where Throughline takes the lines")?;
        let stamps = !is_compute && !arguments.no_ids;
        Ok(Self {
            url: endpoint_url(text)?,
            region: arguments.region,
            snippets: if stamps { snippets(name) } else { Vec::new() },
            format: (!is_compute).then(|| FORMAT.trim()),
            name: name.to_owned(),
        })
    }

    /// The endpoint's fields as the API names them, but for the token.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("url", self.url.to_string())];
        fields.extend(SETTINGS.iter().map(|(field, _, _, value)| (*field, (*value).to_owned())));
        fields.push(("log_processing_region", self.region.as_str().to_owned()));
        if let Some(format) = self.format {
            fields.extend([("format_version", "2".to_owned()), ("format", format.to_owned())]);
        }
        fields
    }
}

/// Value of the header that opens the source.
pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The snippets under a name.
pub(super) fn snippets(name: &str) -> Vec<Snippet> {
    let named = |&(kind, content)| Snippet { name: format!("{name} {kind}"), kind, content };
    SNIPPETS.iter().map(named).collect()
}

/// Whether a text is one of ours, of this version or another.
pub(super) fn is_our_text(content: &str) -> bool {
    content.trim_start().starts_with(MARK)
}

/// Whether an endpoint sends to a Throughline.
pub(super) fn is_our_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_our_path(url.path()))
}

fn is_our_path(path: &str) -> bool {
    match path.strip_prefix("/v1/fastly") {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix('/').is_some_and(|source| !source.is_empty() && !source.contains('/'))
        }
        None => false,
    }
}

/// The name of a log endpoint: Compute takes neither a colon nor these two, and VCL's names have letters, digits, `_`, `-` and
/// blanks.
pub(super) fn checked_name(name: &str) -> anyhow::Result<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        bail!("--name {name:?}: 1 to 64 characters, a letter first");
    }
    if !name.chars().all(is_part) {
        bail!("--name {name:?}: letters, digits, - and _ only");
    }
    if ["stdout", "stderr"].contains(&name) {
        bail!("--name {name}: Fastly keeps this name for itself; choose another");
    }
    Ok(name)
}

fn endpoint_url(text: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(text).with_context(|| format!("--endpoint {text:?} is no URL"))?;
    if url.scheme() != "https" {
        bail!("--endpoint {text:?}: Fastly sends to https only");
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("--endpoint: no user or password in the URL; the token goes into a header");
    }
    if url.query().is_some() || url.fragment().is_some() {
        bail!("--endpoint {text:?}: neither ? nor # belongs there");
    }
    if url.path() == "/" {
        url.set_path("/v1/fastly");
    }
    if !is_our_path(url.path()) {
        bail!(
            "--endpoint {text:?}: must be https://HOST, https://HOST/v1/fastly or https://HOST/v1/fastly/SOURCE"
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_route_of_the_service() {
        for (given, made) in [
            ("https://logs.example.com", "https://logs.example.com/v1/fastly"),
            ("https://logs.example.com/", "https://logs.example.com/v1/fastly"),
            ("https://logs.example.com:8443/v1/fastly/site", "https://logs.example.com:8443/v1/fastly/site"),
        ] {
            assert_eq!(endpoint_url(given).unwrap().as_str(), made);
            assert!(is_our_url(made));
        }
        for wrong in [
            "logs.example.com",
            "http://logs.example.com",
            "https://logs.example.com/ingest",
            "https://logs.example.com/v1/fastly/",
            "https://logs.example.com/v1/fastlyx",
            "https://logs.example.com/v1/fastly/a/b",
            "https://logs.example.com/v1/fastly?x=1",
            "https://user:pw@logs.example.com",
        ] {
            let error = endpoint_url(wrong).map(|url| url.to_string()).unwrap_err();
            assert!(error.to_string().contains("--endpoint"), "{error:#}");
        }
        assert!(!is_our_url("https://other.example/ingest"));
    }

    #[test]
    fn names_that_fastly_keeps_or_a_url_would_change_are_refused() {
        for good in ["throughline", "edge-logs", "T2_x"] {
            assert_eq!(checked_name(good).unwrap(), good);
        }
        for bad in ["", "2x", "a:b", "a b", "stdout", "a/b", "ä", &"x".repeat(65)] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_text_carries_the_mark_by_which_it_is_known_again() {
        assert_eq!(snippets("throughline").len(), 6);
        for snippet in snippets("throughline") {
            assert!(is_our_text(snippet.content), "{}", snippet.name);
            assert!(snippet.content.contains(&format!("snippet of type \"{}\"", snippet.kind)));
        }
        assert!(!is_our_text("set req.http.X = \"1\";"));
    }
}
