//! URIs byte for byte.
//!
//! The SDK hands a URI out only through a parser that resolves dots, turns backslashes round and panics on what it does not
//! like. The core refuses such targets itself and signs the path that is sent on, so both ways go past that parser.
#![allow(unsafe_code, reason = "two host calls that the SDK wraps only with its parser")]

use fastly::Request;
use fastly::handle::RequestHandle;
use fastly_sys::fastly_http_req::{uri_get, uri_set};

/// The platform's limit on a URL is 8192 bytes; this leaves room for scheme and authority.
const MAX_URI_BYTES: usize = 16 * 1024;

/// The URI as the client sent it; nothing if it is longer than the platform takes, or not UTF-8.
pub(crate) fn of(request: &Request) -> Option<String> {
    let (handle, _) = request.as_handles();
    let mut bytes = vec![0; MAX_URI_BYTES];
    let mut written = 0;
    // SAFETY: the pointer and the length belong to one live buffer, and `written` outlives the call.
    let status = unsafe { uri_get(handle.as_u32(), bytes.as_mut_ptr(), bytes.len(), &raw mut written) };
    status.result().ok()?;
    bytes.truncate(written);
    String::from_utf8(bytes).ok()
}

/// Sets the URI of a request to be sent; false if the platform does not take it.
pub(crate) fn set(request: &mut RequestHandle, uri: &str) -> bool {
    // SAFETY: pointer and length are those of one string that outlives the call.
    unsafe { uri_set(request.as_u32(), uri.as_ptr(), uri.len()) }.result().is_ok()
}
