//! One reading of the path for routing, signing and forwarding.
//!
//! What an origin could read in another way than we do (encoded slashes, dot segments, `;` parameters, doubled
//! slashes, double encoding) is refused and not repaired: the route that was chosen must be the one that is served.

/// Longest path that is read; Fastly's own limit for URLs.
const MAX_PATH_BYTES: usize = 8192;

/// Why a path is refused: one word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// The path with escapes of unreserved characters decoded and all others in upper case.
pub(crate) fn normalise(raw: &str) -> Result<String, BadPath> {
    if !raw.starts_with('/') || raw.len() > MAX_PATH_BYTES {
        return Err(BadPath("path_form"));
    }
    let bytes = raw.as_bytes();
    let mut normal = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            if !byte.is_ascii_graphic() || matches!(byte, b'\\' | b';' | b'#' | b'?') {
                return Err(BadPath("path_character"));
            }
            normal.push(char::from(byte));
            decoded.push(byte);
            at += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err(BadPath("path_escape"));
        };
        let value = u8::try_from(high * 16 + low).map_err(|_| BadPath("path_escape"))?;
        match value {
            b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => return Err(BadPath("path_escape")),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                normal.push(char::from(value));
            }
            _ => normal.push_str(&format!("%{value:02X}")),
        }
        decoded.push(value);
        at += 3;
    }
    // Overlong forms of `/` and `.` are no UTF-8.
    let text = std::str::from_utf8(&decoded).map_err(|_| BadPath("path_escape"))?;
    // Characters that some servers fold into a slash, backslash or dot.
    if text.contains(['\u{2215}', '\u{2044}', '\u{ff0f}', '\u{ff3c}', '\u{ff0e}', '\u{2024}'])
        || text.chars().any(char::is_control)
    {
        return Err(BadPath("path_character"));
    }
    let mut segments = normal.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, "." | "..") {
            return Err(BadPath("path_dots"));
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(BadPath("path_slashes"));
        }
    }
    Ok(normal)
}

/// Whether a path is a prefix itself or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

/// Whether a place to send a browser to is on this host: a path, which no browser reads as another host.
pub(crate) fn is_local(place: &str) -> bool {
    let bytes = place.as_bytes();
    place.len() <= 2048
        && bytes.first() == Some(&b'/')
        && !matches!(bytes.get(1), Some(b'/' | b'\\'))
        && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\')
}

/// Whether a query can be forwarded and signed as it is.
pub(crate) fn is_query(query: &str) -> bool {
    query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\')
}

/// Whether this is a header name (a token of RFC 9110).
pub(crate) fn is_header_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The host of an authority in lower case, without port and final dot; `None` when it is no host name or address.
pub(crate) fn host_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inner, rest) = rest.split_once(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            (format!("[{inner}]"), rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (authority.to_owned(), None),
        },
    };
    if port.is_some_and(|port| port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(&byte);
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_stay_and_unreserved_escapes_are_decoded() {
        assert_eq!(normalise("/a/b.c/~d/").as_deref(), Ok("/a/b.c/~d/"));
        assert_eq!(normalise("/%61dmin/%c3%a9%20x").as_deref(), Ok("/admin/%C3%A9%20x"));
        assert_eq!(normalise("/").as_deref(), Ok("/"));
    }

    #[test]
    fn prefixes_end_at_segments() {
        assert!(is_below("/api", "/api") && is_below("/api/x", "/api") && is_below("/x", "/"));
        assert!(!is_below("/apix", "/api"));
    }

    #[test]
    fn other_hosts_are_not_local() {
        for place in
            ["//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "", "evil", "/\t/evil"]
        {
            assert!(!is_local(place), "{place:?}");
        }
        assert!(is_local("/a?b=c"));
    }
}
