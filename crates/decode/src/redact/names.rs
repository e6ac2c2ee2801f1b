//! Which names say that their value is a secret. The lists are data; each group has its reason.
//!
//! A name is read in segments: split at anything that is no ASCII letter or digit, and at camel humps. So
//! `X-Api-Key`, `x_api_key`, `xApiKey` and `http.request.header.x-api-key` are one name, while `status_code`,
//! `monkey` and `passenger` are nothing. Trailing digits of a segment do not count (`token2`).

/// A segment equal to one of these makes the whole name secret.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    // Credentials as HTTP carries them. `Set-Cookie` and `Proxy-Authorization` contain these as segments.
    "authorization", "cookie", "cookies", "bearer", "jwt", "jws", "jwe", "dpop",
    // What a person or a program proves itself with.
    "password", "passwords", "passwd", "pwd", "passphrase", "passcode", "otp", "totp", "secret", "secrets",
    "credential", "credentials", "token", "tokens", "apikey",
    // A session id is as good as a login while it lasts.
    "session", "sessionid", "sessid", "sid",
    // Single sign-on and anti-forgery values can be replayed.
    "assertion", "csrf", "xsrf",
    // Signed URLs: whoever holds the signature has what the URL names.
    "signature", "sig", "hmac",
];

/// A segment that ends in one of these is the same thing written without a separator: `accesstoken`, `JSESSIONID`,
/// `dbpassword`, `setcookie`. `key` alone is no such word: `monkey`, `turkey`, `primarykey`.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "authorization", "token", "password", "passwd", "secret", "cookie", "sessionid", "sessid", "apikey",
    "accesskey", "secretkey", "privatekey", "signingkey", "credential", "credentials", "assertion",
    "signature",
];

/// Two segments in a row that are secret together: a key or a code of this sort. Alone they say nothing.
#[rustfmt::skip]
const PAIRS: &[(&str, &str)] = &[
    ("api", "key"), ("access", "key"), ("secret", "key"), ("private", "key"), ("signing", "key"),
    ("encryption", "key"), ("auth", "key"), ("account", "key"), ("shared", "key"), ("master", "key"),
    ("subscription", "key"), ("functions", "key"), ("client", "key"), ("ssh", "key"), ("auth", "code"),
    ("device", "code"), ("code", "verifier"),
];

/// A segment that starts with this: `SAMLResponse`, `saml_request`.
const BEGINNINGS: &[&str] = &["saml"];

/// As the last segment these say that the value is about the secret and not the secret: `token_type`,
/// `session_duration_ms`, `signature_valid`. `id`, `name` and `state` are absent on purpose.
#[rustfmt::skip]
const ABOUT: &[&str] = &[
    "type", "use", "status", "count", "length", "len", "size", "bytes", "ttl", "age", "expires", "expiry",
    "present", "valid", "verified", "alg", "algorithm", "version", "reason", "result", "verdict", "policy",
    "rule", "decision", "duration", "ms", "us", "ns", "reused", "resumed", "issuer", "endpoint",
];

/// Whole names that are secret as URL parameters and harmless as fields of a log line, where `code` is a status and
/// `state` a cache state: the OAuth code and state, API keys, and short spellings of passwords.
const PARAMETERS: &[&str] = &["code", "state", "key", "auth", "pass", "pw"];
const LONGEST_PARAMETER: usize = 5;

/// The built-in lists and those of the configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    extra: Vec<Vec<String>>,
    allowed: Vec<Vec<String>>,
}

impl Names {
    pub(super) fn new(extra: &[String], allowed: &[String]) -> Self {
        let split = |names: &[String]| -> Vec<Vec<String>> {
            let owned = |name: &String| -> Vec<String> {
                Segments::new(name.as_bytes(), true).map(ascii_lower).collect()
            };
            names.iter().map(owned).filter(|parts| !parts.is_empty()).collect()
        };
        Self { extra: split(extra), allowed: split(allowed) }
    }

    /// Whether a field, header or parameter of this name holds a secret.
    pub(super) fn secret(&self, name: &[u8]) -> bool {
        if !self.allowed.is_empty() && self.allowed.iter().any(|allowed| same(name, allowed)) {
            return false;
        }
        if !self.extra.is_empty() && self.extra.iter().any(|extra| contains(name, extra)) {
            return true;
        }
        built_in(name)
    }

    /// The same for a parameter of a URL, where a few more names are secret.
    pub(super) fn secret_parameter(&self, name: &[u8]) -> bool {
        if self.secret(name) {
            return true;
        }
        name.len() <= LONGEST_PARAMETER
            && PARAMETERS.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
            && !self.allowed.iter().any(|allowed| same(name, allowed))
    }
}

/// Whether a name may be secret: false for most names after one look at each byte (some 15 ns for 14 bytes; the lists
/// take ten times that). A secret word ends where a segment or hump ends, and its last three letters are in [`TAILS`].
fn may_be_secret(name: &[u8]) -> bool {
    let (mut before, mut last) = (0u8, 0u8);
    for (at, &byte) in name.iter().enumerate() {
        let letter = (byte | 32).wrapping_sub(b'a');
        if letter < 26 {
            let ends = name.get(at + 1).is_none_or(|next| !next.is_ascii_lowercase());
            // `ml`: of `saml`, which counts at the start of a segment.
            if (ends && tail(before, last, letter)) || (last == b'm' - b'a' && letter == b'l' - b'a') {
                return true;
            }
            (before, last) = (last, letter);
        }
    }
    false
}

/// One bit for each three letters that a word of the lists ends in.
const TAILS: [u64; 26 * 26 * 26 / 64 + 1] = {
    let mut bits = [0; 26 * 26 * 26 / 64 + 1];
    let mut list = 0;
    while list < 3 {
        let count = [WORDS.len(), ENDINGS.len(), PAIRS.len()][list];
        let mut index = 0;
        while index < count {
            let word = [WORDS, ENDINGS][list % 2];
            let word = if list == 2 { PAIRS[index].1 } else { word[index] }.as_bytes();
            let length = word.len();
            let bit = place(word[length - 3] - b'a', word[length - 2] - b'a', word[length - 1] - b'a');
            bits[bit / 64] |= 1 << (bit % 64);
            index += 1;
        }
        list += 1;
    }
    bits
};

const fn place(a: u8, b: u8, c: u8) -> usize {
    (a as usize * 26 + b as usize) * 26 + c as usize
}

fn tail(a: u8, b: u8, c: u8) -> bool {
    let bit = place(a, b, c);
    TAILS[bit / 64] >> (bit % 64) & 1 == 1
}

fn built_in(name: &[u8]) -> bool {
    if !may_be_secret(name) {
        return false;
    }
    let (mut found, mut last): (bool, &[u8]) = (false, &[]);
    for segment in Segments::new(name, false) {
        found = found || whole(segment);
        last = segment;
    }
    // Humps only matter where there are some: most names of log lines have none.
    if !found && name.iter().any(u8::is_ascii_uppercase) && name.iter().any(u8::is_ascii_lowercase) {
        let mut previous: &[u8] = &[];
        for segment in Segments::new(name, true) {
            found = found || whole(segment) || pair(previous, segment);
            previous = segment;
            last = segment;
        }
    } else if !found {
        let mut previous: &[u8] = &[];
        for segment in Segments::new(name, false) {
            found = found || pair(previous, segment);
            previous = segment;
        }
    }
    found && !is_about(name, last)
}

fn is_about(name: &[u8], last: &[u8]) -> bool {
    let hump = Segments::new(name, true).last().unwrap_or(last);
    // `signature` alone ends in nothing else; a name of one segment is never only "about".
    hump.len() < name.len() && ABOUT.iter().any(|word| hump.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether one segment is enough.
fn whole(segment: &[u8]) -> bool {
    // The shortest word has three letters: short segments, the most frequent, are done here.
    if segment.len() < 3 {
        return false;
    }
    let digits = segment.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let segment = &segment[..segment.len() - digits];
    WORDS.iter().any(|word| segment.eq_ignore_ascii_case(word.as_bytes()))
        || segment.len() >= 4
            && (ENDINGS.iter().any(|word| ends_with(segment, word))
                || BEGINNINGS.iter().any(|word| segment[..word.len()].eq_ignore_ascii_case(word.as_bytes())))
}

fn pair(first: &[u8], second: &[u8]) -> bool {
    PAIRS
        .iter()
        .any(|(a, b)| first.eq_ignore_ascii_case(a.as_bytes()) && second.eq_ignore_ascii_case(b.as_bytes()))
}

fn ends_with(segment: &[u8], word: &str) -> bool {
    segment.len() >= word.len() && segment[segment.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes())
}

fn same(name: &[u8], parts: &[String]) -> bool {
    let mut segments = Segments::new(name, true);
    parts
        .iter()
        .all(|part| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(part.as_bytes())))
        && segments.next().is_none()
}

fn contains(name: &[u8], parts: &[String]) -> bool {
    let mut rest = Segments::new(name, true);
    loop {
        let mut here = rest;
        if parts
            .iter()
            .all(|part| here.next().is_some_and(|segment| segment.eq_ignore_ascii_case(part.as_bytes())))
        {
            return true;
        }
        if rest.next().is_none() {
            return false;
        }
    }
}

fn ascii_lower(part: &[u8]) -> String {
    part.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The segments of a name, in order, without allocation.
#[derive(Clone, Copy)]
struct Segments<'a> {
    rest: &'a [u8],
    humps: bool,
}

impl<'a> Segments<'a> {
    fn new(name: &'a [u8], humps: bool) -> Self {
        Self { rest: name, humps }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(u8::is_ascii_alphanumeric)?;
        let rest = &self.rest[start..];
        let mut end = 1;
        while end < rest.len() && rest[end].is_ascii_alphanumeric() {
            let (before, here) = (rest[end - 1], rest[end]);
            let after_lower = here.is_ascii_uppercase() && !before.is_ascii_uppercase();
            // `APIKey`: the hump starts at the last capital of a row of them.
            let last_capital =
                here.is_ascii_uppercase() && rest.get(end + 1).is_some_and(u8::is_ascii_lowercase);
            if self.humps && (after_lower || last_capital) {
                break;
            }
            end += 1;
        }
        let (segment, rest) = rest.split_at(end);
        self.rest = rest;
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_any_spelling() {
        let names = Names::default();
        for name in [
            "authorization",
            "Proxy-Authorization",
            "http.request.header.authorization",
            "REQ(AUTHORIZATION)",
            "cookie",
            "Set-Cookie",
            "setcookie",
            "req_http_cookie",
            "token",
            "access_token",
            "accessToken",
            "accesstoken",
            "id_token",
            "refresh_token",
            "id_token_hint",
            "X-Amz-Security-Token",
            "token2",
            "api_key",
            "apikey",
            "x-api-key",
            "X_API_KEY",
            "xApiKey",
            "APIKey",
            "password",
            "passWord",
            "user[password]",
            "db_passwd",
            "pwd",
            "secret",
            "client_secret",
            "clientSecret",
            "session",
            "sessionid",
            "session_id",
            "SESSIONid",
            "JSESSIONID",
            "PHPSESSID",
            "connect.sid",
            "jwt",
            "bearer",
            "signature",
            "sig",
            "X-Amz-Signature",
            "x-goog-signature",
            "X-Goog-Credential",
            "credential",
            "private_key",
            "privateKey",
            "client_assertion",
            "SAMLResponse",
            "saml_request",
            "csrftoken",
            "device_code",
            "code_verifier",
        ] {
            assert!(names.secret(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_of_ordinary_fields() {
        let names = Names::default();
        for name in [
            "",
            "-",
            "status_code",
            "country_code",
            "response_code",
            "code",
            "state",
            "token_use",
            "token_type",
            "tokenType",
            "keyboard",
            "monkey",
            "passenger",
            "pass",
            "key",
            "key_id",
            "session_duration_ms",
            "signature_valid",
            "author",
            "authority",
            "cached",
            "secretary",
            "bypass",
            "sidecar",
            "inside",
            "design",
            "assigned",
            "x_forwarded_for",
            "tls_client_servername",
            "cache_status",
            "geo_city",
            "user_agent",
            "samples",
            "primary_key",
            "basic",
            "resp_bytes",
            "sku",
            "cookiecutter",
        ] {
            assert!(!names.secret(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn parameters_only_count_whole() {
        let names = Names::default();
        for name in ["code", "STATE", "key", "auth", "access_token"] {
            assert!(names.secret_parameter(name.as_bytes()), "{name}");
        }
        for name in ["country_code", "us_state", "keyword", "q", "page"] {
            assert!(!names.secret_parameter(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn configured_names_add_and_allow() {
        let names =
            Names::new(&["customer number".into()], &["session".into(), "state".into(), "x-token".into()]);
        assert!(names.secret(b"customerNumber"));
        assert!(names.secret(b"shop_customer_number_2"));
        assert!(!names.secret(b"customer"));
        assert!(!names.secret(b"Session"));
        assert!(!names.secret(b"x_token"));
        assert!(!names.secret_parameter(b"state"));
        assert!(names.secret(b"y_token"));
    }
}
