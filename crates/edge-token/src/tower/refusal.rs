//! The answer to a request that was not let in: problem+json (RFC 9457), with the word that logs count by.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::{Fault, VerifyError};

pub(super) fn response<B: From<String>>(error: VerifyError) -> Response<B> {
    let status = status(error);
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": error.to_string(),
        "code": error.code(),
        "fault": match error.fault() {
            Fault::Caller => "caller",
            Fault::Edge => "edge",
            Fault::Origin => "origin",
        },
    });
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("EdgeToken"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response.extensions_mut().insert(error);
    response
}

/// 401: nobody vouches for the request. 403: somebody does, for another one. 503: this origin cannot tell.
fn status(error: VerifyError) -> StatusCode {
    match error {
        VerifyError::Audience | VerifyError::Method | VerifyError::Path | VerifyError::Replayed => {
            StatusCode::FORBIDDEN
        }
        VerifyError::NoKeys | VerifyError::ReplayUnknown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    }
}
