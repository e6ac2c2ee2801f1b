//! One reading of the path for routing, signing and forwarding.
//!
//! What an origin could read in another way than we do (encoded slashes, dot segments, `;` parameters, doubled
//! slashes, double encoding) is refused and not repaired: the route that was chosen must be the one that is served.
//! What stays has one spelling: a character that a path may hold is never an escape (but `%2B`, for some origins read `+`
//! as a blank), and one that it may not hold always is, as Envoy's normalization writes it.

/// Longest path that is read; Fastly's own limit for URLs.
const MAX_PATH_BYTES: usize = 8192;

/// Why a path is refused: one word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// Characters that a path may hold beside letters and digits (`pchar` of RFC 3986), without `;` and `+`.
const PLAIN: &[u8] = b"-._~!$&'()*,=:@";

/// The path in its one spelling: escapes of [`PLAIN`], letters and digits decoded, all others in upper case.
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
            if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) || matches!(byte, b'/' | b'+') {
                normal.push(char::from(byte));
            } else {
                normal.push_str(&format!("%{byte:02X}"));
            }
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
            _ if value.is_ascii_alphanumeric() || PLAIN.contains(&value) => normal.push(char::from(value)),
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
            let address: std::net::Ipv6Addr = inner.parse().ok()?;
            if !rest.is_empty() && !rest.starts_with(':') {
                return None;
            }
            (format!("[{address}]"), rest.strip_prefix(':'))
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
    (host.starts_with('[') || is_host_name(&host)).then_some(host)
}

/// Whether this is a host name or an IPv4 address in lower case: labels of 1 to 63 letters, digits, `-` and `_`, of which
/// `-` stands at no end.
pub(crate) fn is_host_name(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 255 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        assert_eq!(normalise("/a/b.c/~d/").as_deref(), Ok("/a/b.c/~d/"));
        assert_eq!(normalise("/%61dmin/%c3%a9%20x").as_deref(), Ok("/admin/%C3%A9%20x"));
        assert_eq!(normalise("/").as_deref(), Ok("/"));
        assert_eq!(normalise("/v1/users%3apurge%40%2C/a+b%2bc").as_deref(), Ok("/v1/users:purge@,/a+b%2Bc"));
        assert_eq!(normalise("/a\"b|c%7c%22").as_deref(), Ok("/a%22b%7Cc%7C%22"));
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
