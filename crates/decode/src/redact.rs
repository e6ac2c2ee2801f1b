//! What must not touch the disk: secrets by name and by shape, and the keyed pseudonym of subjects.
//!
//! | room | knows |
//! |---|---|
//! | `names` | which names say secret: the lists, as data |
//! | `shapes` | what secrets look like, whatever they are called |
//! | `pairs` | where the value of a name starts and ends, without a grammar to rely on |
//! | `view` | escapes undone, so that none hides a secret |
//!
//! Every text of every record comes through here, so the way of a text without secrets is short: one pass,
//! no allocation, the text handed back as it came. Only what that pass does not clear is searched in full. Both are
//! linear in the text, and what comes out is no longer than what came in plus a [`Redactor::MARK`] for each secret.

mod names;
mod pairs;
mod shapes;
#[cfg(test)]
mod tests;
mod view;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use names::Names;
use pairs::Grammar;
use shapes::Look;
use view::View;

/// What the configuration says about secrets.
#[derive(Clone, Default)]
pub struct RedactionRules {
    /// Keys the pseudonyms of subjects: who has it can tell whether a pseudonym is a given subject's. At least 16
    /// random bytes; all instances of a service need the same key for one subject to have one pseudonym.
    pub subject_key: Vec<u8>,
    /// Names that are secret besides the built-in ones, matched by segments like those.
    pub extra_names: Vec<String>,
    /// Whole names that are not secret although a built-in rule says so. Shapes are replaced in them all the same.
    pub allow_names: Vec<String>,
}

/// Finds and replaces secrets; makes pseudonyms.
#[derive(Clone)]
pub struct Redactor {
    names: Names,
    subjects: Hmac<Sha256>,
}

/// The built-in rules, and an empty subject key: for tests and for tools that never store a subject.
impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactionRules::default())
    }
}

/// Says nothing of the key.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Stands in place of a secret.
    pub const MARK: &'static str = "[redacted]";

    /// A redactor that follows the built-in rules and `rules`.
    pub fn new(rules: &RedactionRules) -> Self {
        // HMAC takes a key of any length: the error of the signature is for other constructions.
        let subjects = Hmac::<Sha256>::new_from_slice(&rules.subject_key)
            .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        Self { names: Names::new(&rules.extra_names, &rules.allow_names), subjects }
    }

    /// A value under a name: replaced whole if the name says secret, in part where its shape does.
    /// The flag says whether anything was replaced.
    pub fn value<'a>(&self, name: &str, value: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        self.value_judged(self.is_secret_name(name), value)
    }

    /// Whether the values of a name are secret: for who asks once and keeps the answer for many values.
    pub(crate) fn is_secret_name(&self, name: &str) -> bool {
        self.names.secret(name.as_bytes())
    }

    /// As [`Self::value`], with the answer of [`Self::is_secret_name`].
    pub(crate) fn value_judged<'a>(&self, secret_name: bool, value: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        if secret_name {
            return match pairs::is_trivial(value.as_bytes()) {
                true => (value, false),
                false => (Cow::Borrowed(Self::MARK), true),
            };
        }
        // Attributes hold anything: URLs, headers, JSON in a string.
        let bytes = value.as_bytes();
        let look = Look::at(bytes);
        let grammar = look.has(Look::EQUALS | Look::QUOTE | Look::PERCENT | Look::BACKSLASH)
            || look.has(Look::COLON) && memchr::memmem::find(bytes, b": ").is_some();
        if !grammar && !look.suspicious(bytes) {
            return (value, false);
        }
        self.search(value, Grammar::None)
    }

    /// A URL, path with query, or bare query: values of secret-looking parameters are replaced.
    pub fn url<'a>(&self, url: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        let bytes = url.as_bytes();
        let look = Look::at(bytes);
        let search = look.has(Look::PERCENT | Look::BACKSLASH)
            || bytes.starts_with(b"//")
            || look.suspicious(bytes)
            || look.has(Look::EQUALS) && pairs::has_secret_parameter(bytes, &self.names);
        if !search {
            return (url, false);
        }
        let from = pairs::query_start(bytes);
        self.search(url, Grammar::Url { from })
    }

    /// Free text of the sender (user agent, details): shapes (JWT, bearer and the like) are replaced, and values
    /// that follow a secret name and `=`.
    pub fn text<'a>(&self, text: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        let bytes = text.as_bytes();
        let look = Look::at(bytes);
        if !look.has(Look::EQUALS | Look::PERCENT | Look::BACKSLASH) && !look.suspicious(bytes) {
            return (text, false);
        }
        self.search(text, Grammar::None)
    }

    /// The bytes of a reject: names and shapes as above, without any grammar to rely on.
    ///
    /// Bytes that are still compressed are not looked into.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut secrets = Vec::new();
        pairs::find_in_protobuf(bytes, &self.names, &mut secrets);
        self.find(bytes, Grammar::None, &mut secrets);
        if secrets.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned(replace(bytes, secrets)) }
    }

    /// The pseudonym of a subject: keyed HMAC-SHA-256, first 128 bits, 32 hex digits.
    pub fn subject(&self, subject: &str) -> String {
        let mut hmac = self.subjects.clone();
        hmac.update(subject.as_bytes());
        let digest = hmac.finalize().into_bytes();
        digest.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            for digit in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
            text
        })
    }

    fn search<'a>(&self, text: Cow<'a, str>, grammar: Grammar) -> (Cow<'a, str>, bool) {
        let mut secrets = Vec::new();
        self.find(text.as_bytes(), grammar, &mut secrets);
        if secrets.is_empty() {
            return (text, false);
        }
        // Secrets start and end beside ASCII, so the pieces between them are whole characters.
        let replaced = replace(text.as_bytes(), secrets);
        let replaced = String::from_utf8(replaced)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        (Cow::Owned(replaced), true)
    }

    /// Appends where secrets stand in `raw`, read as it is and with its escapes undone.
    fn find(&self, raw: &[u8], grammar: Grammar, out: &mut Vec<Range<usize>>) {
        shapes::find(raw, out);
        if let (Grammar::Url { .. }, Some(authority)) = (grammar, raw.strip_prefix(b"//")) {
            out.extend(
                shapes::credentials_of_authority(authority).map(|range| range.start + 2..range.end + 2),
            );
        }
        let view = View::new(raw);
        let mut seen = Vec::new();
        let grammar = match grammar {
            Grammar::Url { .. } => Grammar::Url { from: pairs::query_start(view.bytes()) },
            Grammar::None => Grammar::None,
        };
        pairs::find(&view, &self.names, grammar, &mut seen);
        if view.bytes().len() < raw.len() {
            shapes::find(view.bytes(), &mut seen);
        }
        out.extend(seen.iter().map(|range| view.origin(range)));
    }
}

/// Puts one mark in place of each run of overlapping ranges. Empty ranges are nothing.
fn replace(bytes: &[u8], mut secrets: Vec<Range<usize>>) -> Vec<u8> {
    secrets.sort_unstable_by_key(|range| range.start);
    let mut out = Vec::with_capacity(bytes.len());
    let mut kept = 0;
    for secret in secrets {
        if secret.end <= kept {
            continue;
        }
        // A secret that starts inside of the last one only makes that one longer.
        if secret.start >= kept {
            out.extend_from_slice(&bytes[kept..secret.start]);
            out.extend_from_slice(Redactor::MARK.as_bytes());
        }
        kept = secret.end;
    }
    out.extend_from_slice(&bytes[kept..]);
    out
}
