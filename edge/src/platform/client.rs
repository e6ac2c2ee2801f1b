//! The client's request as the core wants to see it.

use edge::{ClientTls, IncomingRequest};
use fastly::Request;

use super::uri;

/// Everything of the request but its body; nothing if its URI is not text with an authority.
pub(crate) fn incoming(request: &Request) -> Option<IncomingRequest> {
    let uri = uri::of(request)?;
    let (scheme, rest) = uri.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Some(IncomingRequest {
        method: request.get_method_str().to_owned(),
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        target,
        protocol: format!("{:?}", request.get_version()),
        headers: request
            .get_headers()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        tls: tls(request),
    })
}

fn tls(request: &Request) -> ClientTls {
    ClientTls {
        version: request.get_tls_protocol().ok().flatten().map(str::to_owned),
        cipher: request.get_tls_cipher_openssl_name().ok().flatten().map(str::to_owned),
        ja4: request.get_tls_ja4().map(str::to_owned),
    }
}
