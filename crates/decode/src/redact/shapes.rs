//! Secrets that are known by their form, whatever they are called: JWTs, bearer credentials, keys of well-known
//! services, private keys, passwords in URLs.
//!
//! [`Look`] is the hot path: one pass that says "nothing here" for almost every text. [`find`]
//! then reads what it did not clear, in linear time: every byte is looked at a bounded number of times.

use std::ops::Range;

/// A credential that starts with a fixed text: how many more characters make it one. Longer prefixes first.
const PREFIXES: &[(&[u8], usize)] = &[
    (b"github_pat_", 16),
    (b"glpat-", 16), // GitLab
    (b"ghp_", 16),   // GitHub: personal, OAuth, user, server, refresh
    (b"gho_", 16),
    (b"ghu_", 16),
    (b"ghs_", 16),
    (b"ghr_", 16),
    (b"xoxa-", 10), // Slack
    (b"xoxb-", 10),
    (b"xoxe-", 10),
    (b"xoxp-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"sk_live_", 10), // Stripe
    (b"rk_live_", 10),
    (b"sk_test_", 10),
    (b"rk_test_", 10),
    (b"whsec_", 16),
    (b"sk-ant-", 16), // model providers
    (b"sk-proj-", 16),
    (b"npm_", 30),
    (b"AIza", 30), // Google API key, OAuth access token
    (b"ya29.", 20),
    (b"AKIA", 12), // AWS: long-lived, temporary
    (b"ASIA", 12),
];

/// This much of a prefixed credential counts at the end of a text, where the rest may have been cut off.
const CUT_BYTES: usize = 6;

/// What one pass over a text tells of it.
///
/// Three neighbouring bytes tell every shape. Each byte has one word of the table: in which groups of [`TRIPLES`] it may
/// be first, second or third, and whether it is one of the characters that grammars hang on. So a byte costs some
/// eight instructions without a branch, and no other search for a single character is needed. (Seven ordinary
/// texts of 250 bytes: 410 ns; 610 when blocks of bytes were compared with each of the 40 letters in vector registers.)
#[derive(Debug, Clone, Copy)]
pub(super) struct Look(u64);

/// First, second and third bytes of shapes: see the test that holds this to [`PREFIXES`].
const TRIPLES: [[&[u8]; 3]; 15] = [
    // Base64 of `{"`, `{ `, `{\n`, `{\r`, `{\t`.
    [b"e", b"y", b"JA"],
    [b"e", b"w", b"o0k"],
    // beaRER, baSIC.
    [b"rR", b"eE", b"rR"],
    [b"sS", b"iI", b"cC"],
    [b"KSA", b"I", b"Az"],
    [b"g", b"h", b"pousr"],
    [b"b", b"_", b"p"],
    [b"l", b"p", b"a"],
    [b"x", b"o", b"x"],
    [b"k", b"_", b"lt"],
    [b"k", b"-", b"ap"],
    [b"w", b"h", b"s"],
    [b"p", b"m", b"_"],
    [b"y", b"a", b"2"],
    [b"-", b"-", b"-"],
];

/// Bits 0 to 15: first byte of a group; 16 to 31: second; 32 to 47: third; from [`Look::EQUALS`] on: single characters.
const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut group = 0;
    while group < TRIPLES.len() {
        let mut place = 0;
        while place < 3 {
            let bytes = TRIPLES[group][place];
            let mut at = 0;
            while at < bytes.len() {
                table[bytes[at] as usize] |= 1 << (16 * place + group);
                at += 1;
            }
            place += 1;
        }
        group += 1;
    }
    let singles = *b"=\"%\\:/@";
    let mut at = 0;
    while at < singles.len() {
        table[singles[at] as usize] |= Look::EQUALS << at;
        at += 1;
    }
    table
};

impl Look {
    pub(super) const EQUALS: u64 = 1 << 48;
    pub(super) const QUOTE: u64 = 1 << 49;
    pub(super) const PERCENT: u64 = 1 << 50;
    pub(super) const BACKSLASH: u64 = 1 << 51;
    pub(super) const COLON: u64 = 1 << 52;
    const SLASH: u64 = 1 << 53;
    const AT: u64 = 1 << 54;
    const GROUPS: u64 = 0xffff;

    #[inline]
    pub(super) fn at(text: &[u8]) -> Self {
        let (mut shapes, mut singles) = (0, 0);
        let (mut first, mut second) = (0, 0);
        for &byte in text {
            let here = TABLE[usize::from(byte)];
            shapes |= first & (second >> 16) & (here >> 32);
            singles |= here;
            (first, second) = (second, here);
        }
        Self(singles & !Self::GROUPS | shapes & Self::GROUPS)
    }

    /// Whether one of these characters is there.
    pub(super) fn has(self, singles: u64) -> bool {
        self.0 & singles != 0
    }

    /// Whether the text may hold a secret shape. No false negatives for what [`find`] finds; rarely true for others.
    pub(super) fn suspicious(self, text: &[u8]) -> bool {
        let authority = self.has(Self::COLON) && self.has(Self::SLASH);
        self.has(Self::GROUPS) || authority && (self.has(Self::AT) || cut_authority(text))
    }
}

/// Whether a text ends inside of an authority with a colon: the `@` after a password may have been cut off.
fn cut_authority(text: &[u8]) -> bool {
    memchr::memrchr(b'/', text)
        .is_some_and(|slash| text[..slash].ends_with(b":/") && text[slash..].contains(&b':'))
}

/// Appends where secrets stand, in order of their starts; ranges may touch.
pub(super) fn find(text: &[u8], out: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let found = match rest[0] {
            b'e' => json_in_base64(rest),
            b'b' | b'B' => scheme(text, at),
            b'-' => private_key(rest),
            b':' => user_information(rest),
            b'g' | b'x' | b's' | b'r' | b'w' | b'n' | b'A' | b'y' => prefixed(rest),
            _ => None,
        };
        match found {
            Some(range) => {
                let end = at + range.end;
                out.push(at + range.start..end);
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
}

/// A JWT, or any JSON object in base64 (session cookies look so): everything up to the end of its run.
fn json_in_base64(rest: &[u8]) -> Option<Range<usize>> {
    // Characters that are decoded to see whether they are JSON, and the least length of a secret in plain text.
    const HEAD: usize = 8;
    const LEAST: usize = 12;
    if !matches!(rest.get(..3)?, b"eyJ" | b"eyA" | b"ewo" | b"ew0" | b"ewk") {
        return None;
    }
    let head = rest.iter().take(HEAD).take_while(|&&byte| sextet(byte).is_some()).count();
    if head < HEAD {
        return None;
    }
    // Real JSON starts with characters one can print; `/donkeyJokesForChildren` does not.
    let mut plain = true;
    decode(&rest[..head], |byte| plain &= matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t'));
    if !plain {
        return None;
    }
    let mut end = run(rest, |byte| {
        sextet(byte).is_some_and(|_| !matches!(byte, b'+' | b'/')) || matches!(byte, b'.' | b'=' | b'%')
    });
    if !rest[..end].contains(&b'.') {
        end = run(rest, |byte| sextet(byte).is_some() || matches!(byte, b'=' | b'%'));
    }
    // Shorter is only a secret that was cut off.
    (end >= LEAST || end == rest.len()).then_some(0..end)
}

/// The credential after `Bearer` or `Basic`.
fn scheme(text: &[u8], at: usize) -> Option<Range<usize>> {
    if at > 0 && text[at - 1].is_ascii_alphabetic() {
        return None;
    }
    let rest = &text[at..];
    let basic = rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"basic"));
    let bearer = rest.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer"));
    let word = if basic {
        5
    } else if bearer {
        6
    } else {
        return None;
    };
    let mut start = word;
    loop {
        match rest.get(start..)? {
            [b' ' | b'\t' | b'+', ..] => start += 1,
            [b'%', b'2', b'0', ..] | [b'%', b'0', b'9', ..] => start += 3,
            _ => break,
        }
    }
    if start == word {
        return None;
    }
    let credential = &rest[start..];
    let length = run(credential, |byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'%' | b':' | b'|')
    });
    let (credential, cut) = (&credential[..length], start + length == rest.len());
    let secret = if basic { is_basic(credential, cut) } else { length >= 4 && !is_word(credential) };
    secret.then_some(start..start + length)
}

/// User and password in base64 hold a colon, by the grammar of the scheme.
fn is_basic(credential: &[u8], cut: bool) -> bool {
    // A longer run is a credential whatever it decodes to.
    const LONGEST: usize = 256;
    let mut colon = false;
    decode(&credential[..credential.len().min(LONGEST)], |byte| colon |= byte == b':');
    credential.len() >= 4 && (colon || (cut && !is_word(credential)) || credential.len() > LONGEST)
}

/// "bearer authentication", "basic support": a word of a sentence, not a credential.
fn is_word(text: &[u8]) -> bool {
    let text = text.strip_suffix(b".").or(text.strip_suffix(b":")).unwrap_or(text);
    text.len() <= 16
        && text.iter().skip(1).all(u8::is_ascii_lowercase)
        && text.iter().all(u8::is_ascii_alphabetic)
}

fn prefixed(rest: &[u8]) -> Option<Range<usize>> {
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let aws = matches!(*prefix, b"AKIA" | b"ASIA");
    let more = run(&rest[prefix.len()..], |byte| match aws {
        true => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        false => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
    });
    let end = prefix.len() + more;
    let cut = end == rest.len() && more >= CUT_BYTES;
    (more >= *least || cut).then_some(0..end)
}

/// A PEM block with a private key, to its end or to the end of the text.
fn private_key(rest: &[u8]) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN";
    // `-----BEGIN ENCRYPTED PRIVATE KEY-----` and the like, blanks perhaps percent-encoded.
    const LABEL: usize = 64;
    if !rest.starts_with(BEGIN) {
        return None;
    }
    let label = &rest[BEGIN.len()..rest.len().min(LABEL)];
    memchr::memmem::find(label, b"PRIVATE")?;
    let end = memchr::memmem::find(rest, b"-----END").map_or(rest.len(), |end| {
        let label = end + 8;
        memchr::memmem::find(&rest[label..], b"-----").map_or(rest.len(), |dashes| label + dashes + 5)
    });
    Some(0..end)
}

/// `://user:password@`: all before the `@`; also when the text was cut before the `@`.
fn user_information(rest: &[u8]) -> Option<Range<usize>> {
    let authority = rest.strip_prefix(b"://")?;
    credentials_of_authority(authority).map(|range| range.start + 3..range.end + 3)
}

/// Where user and password stand at the start of an authority (what follows `//`).
pub(super) fn credentials_of_authority(authority: &[u8]) -> Option<Range<usize>> {
    // A user without a password may stay (`ssh://git@host`) unless it is as long as a token.
    const LONGEST_USER: usize = 16;
    let length = run(authority, |byte| {
        !matches!(
            byte,
            b'/' | b'?' | b'#' | b'\\' | b'"' | b'\'' | b'<' | b'>' | b' ' | b'\t' | b'\r' | b'\n'
        )
    });
    let part = &authority[..length];
    if let Some(sign) = memchr::memrchr(b'@', part) {
        let user = &part[..sign];
        let secret = memchr::memchr(b':', user).is_some() || user.len() >= LONGEST_USER;
        return secret.then_some(0..sign);
    }
    // No `@`: a port is digits; anything else after the colon is a password whose end was cut off.
    let colon = memchr::memchr(b':', part)?;
    let after = &part[colon + 1..];
    let cut = length == authority.len() && part[0] != b'[' && after.iter().any(|byte| !byte.is_ascii_digit());
    cut.then_some(0..length)
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !belongs(byte)).unwrap_or(text.len())
}

/// The six bits of a base64 character, of either alphabet.
fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// Whole bytes of base64, up to the first character that is none.
fn decode(text: &[u8], mut each: impl FnMut(u8)) {
    let (mut bits, mut count) = (0u32, 0);
    for sextet in text.iter().map_while(|&byte| sextet(byte)) {
        bits = (bits << 6) | sextet;
        count += 6;
        if count >= 8 {
            count -= 8;
            each((bits >> count) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspicious(text: &[u8]) -> bool {
        Look::at(text).suspicious(text)
    }

    fn spans(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        find(text.as_bytes(), &mut out);
        assert!(out.is_empty() || suspicious(text.as_bytes()), "the quick scan passes over {text:?}");
        out.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn the_quick_scan_knows_every_prefix() {
        for (prefix, _) in PREFIXES {
            assert!(suspicious(prefix), "{:?}", String::from_utf8_lossy(prefix));
        }
    }

    #[test]
    fn the_quick_scan_sees_every_place() {
        for at in 0..600 {
            let text = format!("{}eyJhbGciOiJIUzI1NiJ9.e30.x", "a".repeat(at));
            assert!(suspicious(text.as_bytes()), "{at}");
        }
    }

    #[test]
    fn json_web_tokens() {
        let signed = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let unsecured = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2UifQ.";
        let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aaaa.bbbb.cccc";
        let spaced = "ewogICJhbGciOiAiSFMyNTYiCn0.e30.abc";
        for token in [signed, unsecured, encrypted, spaced, "eyJhbGciOiJIUz", "eyJpdiI6Im9wcXJzdHV2"] {
            assert_eq!(spans(&format!("a {token} b")), [token]);
            assert_eq!(spans(token), [token]);
        }
        assert_eq!(spans("eyJhbGci"), ["eyJhbGci"], "cut at the end");
        for harmless in ["/donkeyJokesForChildren", "keyJar", "/a/eyJ", "they are, eyJ."] {
            assert!(spans(harmless).is_empty(), "{harmless}");
        }
    }

    #[test]
    fn credentials_after_their_scheme() {
        for (text, secret) in [
            ("Bearer abc123", "abc123"),
            ("x bearer%20SECRETsecret&y", "SECRETsecret"),
            ("BEARER\tq1w2e3, next", "q1w2e3"),
            ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
            ("basic+YTpi;", "YTpi"),
        ] {
            assert_eq!(spans(text), [secret], "{text}");
        }
        for harmless in [
            "bearer authentication is needed",
            "Visual Basic 6.0",
            "Basic Support",
            "forbearer abc123",
            "basic 2026 plan",
            "Bearer",
        ] {
            assert!(spans(harmless).is_empty(), "{harmless}");
        }
    }

    #[test]
    fn keys_of_services() {
        for secret in [
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
            "xoxb-123456789012-abcdefghijkl",
            "sk_live_0123456789abcdef",
            "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        ] {
            assert_eq!(spans(&format!("({secret})")), [secret]);
        }
        for harmless in
            ["ASIA", "AKIA and more", "ghp_short.", "high_water", "npm_config_cache=/x", "sk_live_ "]
        {
            assert!(spans(harmless).is_empty(), "{harmless}");
        }
    }

    #[test]
    fn private_keys_and_only_those() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----";
        assert_eq!(spans(&format!("a\n{key}\nb")), [key]);
        assert_eq!(spans(&key[..45]), [&key[..45]], "cut");
        assert!(spans("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----").is_empty());
    }

    #[test]
    fn passwords_in_urls() {
        assert_eq!(spans("https://joe:hunter2@example.com/x"), ["joe:hunter2"]);
        assert_eq!(spans("https://joe:p@ss@example.com/x"), ["joe:p@ss"]);
        assert_eq!(spans("https://0123456789abcdef0123@example.com"), ["0123456789abcdef0123"]);
        assert_eq!(spans("https://joe:hunt"), ["joe:hunt"], "cut before the @");
        for harmless in [
            "https://example.com:8443",
            "https://example.com/@joe",
            "ssh://git@example.com/x",
            "https://[::1]:80",
            "https://example.com:80/a:b@c",
            "spiffe://cluster.local/ns/default/sa/a",
        ] {
            assert!(spans(harmless).is_empty(), "{harmless}");
        }
    }
}
