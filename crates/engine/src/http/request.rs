//! A request as ClickHouse's HTTP interface defines it, taken apart: SQL, parameters, settings, credentials.

use axum::http::{HeaderMap, Method, header};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::connection::{EngineError, Parameters};

/// Settings that ride on each insert instead of choosing a connection: their values differ from one insert to the next.
const PER_INSERT: &[&str] = &["insert_deduplication_token"];

/// Request words that are no settings and have no effect here. `log_comment` names our connections.
const IGNORED: &[&str] = &[
    "quota_key",
    "session_id",
    "session_timeout",
    "session_check",
    "stacktrace",
    "wait_end_of_query",
    "buffer_size",
    "log_comment",
    "send_progress_in_http_headers",
    "enable_http_compression",
    "http_zlib_compression_level",
];

/// What the query string, the headers and form fields say; the body is read separately.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// SQL outside the body.
    pub(crate) query: Option<String>,
    pub(crate) query_id: String,
    pub(crate) database: String,
    pub(crate) default_format: Option<String>,
    pub(crate) parameters: Parameters,
    /// Sorted by name; last mention wins.
    pub(crate) settings: Vec<(String, String)>,
    /// Settings for the `SETTINGS` clause of an insert.
    pub(crate) insert_settings: Vec<(String, String)>,
    /// The answer goes in compressed frames.
    pub(crate) compress: bool,
    /// The body comes in compressed frames.
    pub(crate) decompress: bool,
    /// The Native form the client would read; 0 is the plain one, the only one the engine writes.
    pub(crate) protocol_version: u64,
    /// `GET` may not change anything.
    pub(crate) get: bool,
    pub(crate) credentials: Option<(String, String)>,
    /// The form boundary of a `multipart/form-data` body.
    pub(crate) boundary: Option<String>,
}

impl Request {
    pub(crate) fn new(method: &Method, query_string: &str, headers: &HeaderMap) -> Result<Self, EngineError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(encoding) =
            headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity")
        {
            let what = format!(
                "Content-Encoding {encoding:?} is not supported here; send the body plain, or in LZ4 frames with decompress=1"
            );
            return Err(EngineError::new(89, "UNKNOWN_COMPRESSION_METHOD", &what));
        }
        let mut request = Self { get: method == Method::GET || method == Method::HEAD, ..Self::default() };
        request.database = text("x-clickhouse-database").unwrap_or_default();
        request.default_format = text("x-clickhouse-format");
        let (mut user, mut password) = (text("x-clickhouse-user"), text("x-clickhouse-key"));
        for (name, value) in form_urlencoded::parse(query_string.as_bytes()) {
            match name.as_ref() {
                "user" => user = Some(value.into_owned()),
                "password" => password = Some(value.into_owned()),
                _ => request.word(&name, &value)?,
            }
        }
        request.credentials = match (user, text("authorization")) {
            (Some(user), _) => Some((user, password.unwrap_or_default())),
            (None, Some(basic)) => basic_credentials(&basic),
            (None, None) => None,
        };
        if let Some(content_type) =
            text("content-type").filter(|kind| kind.starts_with("multipart/form-data"))
        {
            let boundary = multer::parse_boundary(&content_type)
                .map_err(|_| bad("the multipart body has no boundary in its Content-Type"))?;
            request.boundary = Some(boundary);
        }
        if request.query_id.is_empty() {
            request.query_id = uuid::Uuid::new_v4().to_string();
        }
        Ok(request)
    }

    /// Takes one `name=value` of the query string or one form field.
    pub(crate) fn word(&mut self, name: &str, value: &str) -> Result<(), EngineError> {
        let owned = || value.to_owned();
        if let Some(parameter) = name.strip_prefix("param_") {
            self.parameters.push((parameter.to_owned(), owned()));
            return Ok(());
        }
        match name {
            "query" => self.query = Some(owned()),
            // It goes back in a header.
            "query_id" => self.query_id = value.chars().filter(|c| c.is_ascii_graphic()).take(128).collect(),
            "database" => self.database = owned(),
            "default_format" => self.default_format = Some(owned()),
            "client_protocol_version" => self.protocol_version = value.parse().unwrap_or(0),
            "compress" => self.compress = value == "1",
            "decompress" => self.decompress = value == "1",
            _ if IGNORED.contains(&name) => {}
            _ if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                return Err(EngineError::new(
                    115,
                    "UNKNOWN_SETTING",
                    &format!("{name:?} is not the name of a setting"),
                ));
            }
            _ => {
                let list =
                    if PER_INSERT.contains(&name) { &mut self.insert_settings } else { &mut self.settings };
                match list.binary_search_by(|(have, _)| have.as_str().cmp(name)) {
                    Ok(at) => list[at].1 = owned(),
                    Err(at) => list.insert(at, (name.to_owned(), owned())),
                }
            }
        }
        Ok(())
    }

    /// Sets a setting unless the client did.
    pub(crate) fn default_setting(&mut self, name: &str, value: &str) {
        if let Err(at) = self.settings.binary_search_by(|(have, _)| have.as_str().cmp(name)) {
            self.settings.insert(at, (name.to_owned(), value.to_owned()));
        }
    }

    /// Lowers a numeric setting to `most`; 0 and what is no number count as more.
    pub(crate) fn cap_setting(&mut self, name: &str, most: u64) {
        let value = most.to_string();
        self.default_setting(name, &value);
        if let Some((_, have)) = self.settings.iter_mut().find(|(have, _)| have == name)
            && !have.parse().is_ok_and(|asked: u64| asked > 0 && asked <= most)
        {
            *have = value;
        }
    }
}

pub(crate) fn bad(what: &str) -> EngineError {
    EngineError::new(36, "BAD_ARGUMENTS", what)
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ").or_else(|| header.strip_prefix("basic "))?;
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_string_is_taken_apart() {
        let query = "query=SELECT+1&database=d&param_a=x%20y&max_threads=2&max_threads=3&session_id=s&insert_deduplication_token=t&decompress=1";
        let request = Request::new(&Method::POST, query, &HeaderMap::new()).unwrap();
        assert_eq!(request.query.as_deref(), Some("SELECT 1"));
        assert_eq!(request.parameters, [("a".to_owned(), "x y".to_owned())]);
        assert_eq!(request.settings, [("max_threads".to_owned(), "3".to_owned())]);
        assert_eq!(request.insert_settings, [("insert_deduplication_token".to_owned(), "t".to_owned())]);
        assert!(request.decompress && !request.compress && !request.get);
        assert!(Request::new(&Method::POST, "a%20b=1", &HeaderMap::new()).is_err());
    }

    #[test]
    fn credentials_come_in_three_ways() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Basic dXNlcjpwYTpzcw==".parse().unwrap());
        let of = |query: &str, headers: &HeaderMap| {
            Request::new(&Method::GET, query, headers).unwrap().credentials
        };
        assert_eq!(of("", &headers), Some(("user".to_owned(), "pa:ss".to_owned())));
        assert_eq!(of("user=a&password=b", &headers), Some(("a".to_owned(), "b".to_owned())));
        headers.insert("x-clickhouse-user", "h".parse().unwrap());
        headers.insert("x-clickhouse-key", "k".parse().unwrap());
        assert_eq!(of("", &headers), Some(("h".to_owned(), "k".to_owned())));
        assert_eq!(of("", &HeaderMap::new()), None);
    }

    #[test]
    fn caps_lower_and_never_raise() {
        let mut request = Request::default();
        for (asked, expected) in [("5", "5"), ("0", "10"), ("11", "10"), ("x", "10")] {
            request.word("max_execution_time", asked).unwrap();
            request.cap_setting("max_execution_time", 10);
            assert_eq!(request.settings[0].1, expected, "{asked}");
        }
    }
}
