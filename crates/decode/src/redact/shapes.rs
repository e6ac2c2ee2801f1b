//! Secrets that are known by their form, whatever they are called: JWTs, bearer credentials, keys of well-known
//! services, private keys, passwords in URLs.
//!
//! [`suspicious`] is the hot path: one vectorized pass that says "nothing here" for almost every text. [`find`]
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

/// Whether a text may hold a secret shape. No false negatives for what [`find`] finds; rarely true for others.
///
/// Three neighbouring bytes tell every shape. They are compared in blocks of a fixed size, which compilers turn into
/// vector code; the last block overlaps the one before, so no byte is left to a slow tail.
pub(super) fn suspicious(text: &[u8]) -> bool {
    let Some(last) = text.len().checked_sub(BLOCK + 2) else {
        let mut padded = [0; BLOCK + 2];
        padded[..text.len()].copy_from_slice(text);
        return block(&padded) || cut_authority(text);
    };
    let mut at = 0;
    while at < last {
        if text[at..].first_chunk().is_some_and(block) {
            return true;
        }
        at += BLOCK;
    }
    text[last..].first_chunk().is_some_and(block) || cut_authority(text)
}

/// Positions looked at together.
const BLOCK: usize = 16;

#[inline]
fn block(text: &[u8; BLOCK + 2]) -> bool {
    let mut hits = [0; BLOCK];
    for (at, hit) in hits.iter_mut().enumerate() {
        *hit = telling(text[at], text[at + 1], text[at + 2]);
    }
    u128::from_ne_bytes(hits) != 0
}

/// Whether a text ends inside of an authority with a colon: the `@` after a password may have been cut off.
fn cut_authority(text: &[u8]) -> bool {
    memchr::memrchr(b'/', text)
        .is_some_and(|slash| text[..slash].ends_with(b":/") && text[slash..].contains(&b':'))
}

/// 1 if three bytes occur in a shape: see the test that holds this to [`PREFIXES`].
#[inline(always)]
fn telling(a: u8, b: u8, c: u8) -> u8 {
    let is = |byte: u8, other: u8| u8::from(byte == other);
    // Base64 of `{"`, `{ `, `{\n`, `{\r`, `{\t`: `eyJ`, `eyA`, `ewo`, `ew0`, `ewk`.
    let json = is(a, b'e')
        & ((is(b, b'y') & (is(c, b'J') | is(c, b'A')))
            | (is(b, b'w') & (is(c, b'o') | is(c, b'0') | is(c, b'k'))));
    // beaRER, baSIC in any case.
    let scheme = (is(a | 32, b'r') & is(b | 32, b'e') & is(c | 32, b'r'))
        | (is(a | 32, b's') & is(b | 32, b'i') & is(c | 32, b'c'));
    let aws = (is(a, b'K') | is(a, b'S') | is(a, b'A')) & is(b, b'I') & (is(c, b'A') | is(c, b'z'));
    let forge =
        (is(a, b'g') & is(b, b'h') & (is(c, b'p') | is(c, b'o') | is(c, b'u') | is(c, b's') | is(c, b'r')))
            | (is(a, b'b') & is(b, b'_') & is(c, b'p'))
            | (is(a, b'l') & is(b, b'p') & is(c, b'a'));
    let others = (is(a, b'x') & is(b, b'o') & is(c, b'x'))
        | (is(a, b'k')
            & ((is(b, b'_') & (is(c, b'l') | is(c, b't'))) | (is(b, b'-') & (is(c, b'a') | is(c, b'p')))))
        | (is(a, b'w') & is(b, b'h') & is(c, b's'))
        | (is(a, b'p') & is(b, b'm') & is(c, b'_'))
        | (is(a, b'y') & is(b, b'a') & is(c, b'2'));
    let block = is(a, b'-') & is(b, b'-') & is(c, b'-');
    json | scheme | aws | forge | others | block | is(c, b'@')
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
    fn the_quick_scan_sees_across_its_blocks() {
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
