//! Answers to the client: the edge's own, and the origin's with what the edge adds.

use edge::{Forward, Respond, SHARED_CACHE_HEADERS};
use fastly::Response;
use fastly::http::header::CACHE_CONTROL;
use fastly::http::{HeaderName, HeaderValue, StatusCode};

/// An answer made at the edge.
pub(crate) fn made_here(answer: Respond) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::from_status(status).with_body(answer.body);
    // Appended: a login answer sets more than one cookie.
    for (name, value) in &answer.headers {
        if let Some((name, value)) = header(name, value.as_bytes()) {
            response.append_header(name, value);
        }
    }
    response
}

/// The origin's answer with the headers that the decision sets.
pub(crate) fn from_origin(mut response: Response, forward: &Forward) -> Response {
    for (name, _) in &forward.response_headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            response.remove_header(name);
        }
    }
    for (name, value) in &forward.response_headers {
        if let Some((name, value)) = header(name, value.as_bytes()) {
            response.append_header(name, value);
        }
    }
    let origins: Vec<String> = response
        .get_header_all(CACHE_CONTROL)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    if let Some(value) = forward.cache_control(&origins.join(",")) {
        for name in SHARED_CACHE_HEADERS {
            response.remove_header(name);
        }
        let value = HeaderValue::from_str(&value);
        response.set_header(
            CACHE_CONTROL,
            value.unwrap_or_else(|_| HeaderValue::from_static("private, no-store")),
        );
    }
    response
}

/// A header that HTTP allows; others were refused by the configuration and are left out.
pub(crate) fn header(name: &str, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
}
