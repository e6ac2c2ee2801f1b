//! The request as the client sent it.

/// A client's request without its body: the body is never looked at, only passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncomingRequest {
    /// Method as sent, e.g. `GET`.
    pub method: String,
    /// `https`, or `http` where the platform saw no TLS.
    pub scheme: String,
    /// Host and port as the client named them (authority or `Host`); empty when it named none.
    pub authority: String,
    /// Path and query exactly as sent, before any decoding.
    pub target: String,
    /// `HTTP/1.1`, `HTTP/2` and so on.
    pub protocol: String,
    /// Every header with every value, in the order in which they came. Names in any case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What the TLS handshake said, where there was one.
    pub tls: ClientTls,
}

/// What the platform knows of the client's TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// E.g. `TLSv1.3`.
    pub version: Option<String>,
    /// Cipher suite.
    pub cipher: Option<String>,
    /// JA4 fingerprint.
    pub ja4: Option<String>,
}

impl IncomingRequest {
    /// All values of a header, by its name in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The one value of a header, when it is there exactly once and is visible ASCII.
    pub fn only_value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() || !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return None;
        }
        std::str::from_utf8(value).ok()
    }

    /// The target's path, before normalising.
    pub fn raw_path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The target's query without `?`; `None` when there is no `?`.
    pub fn raw_query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}
