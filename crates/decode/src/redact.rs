//! What must not touch the disk: secrets by key and by value shape, and the keyed pseudonym of subjects.

use std::borrow::Cow;

/// Finds and replaces secrets; makes pseudonyms.
#[derive(Debug, Clone, Default)]
pub struct Redactor {}

impl Redactor {
    /// Stands in place of a secret.
    pub const MARK: &'static str = "[redacted]";

    /// A value under a name: replaced whole if the name says secret, in part where its shape does.
    /// The flag says whether anything was replaced.
    pub fn value<'a>(&self, _name: &str, value: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        (value, false)
    }

    /// A URL, path with query, or bare query: values of secret-looking parameters are replaced.
    pub fn url<'a>(&self, url: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        (url, false)
    }

    /// Free text of the sender (user agent, details): only shapes (JWT, bearer and the like) are replaced.
    pub fn text<'a>(&self, text: Cow<'a, str>) -> (Cow<'a, str>, bool) {
        (text, false)
    }

    /// The bytes of a reject: keys and shapes as above, without any grammar to rely on.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(bytes)
    }

    /// The pseudonym of a subject: keyed HMAC-SHA-256, first 128 bits, 32 hex digits.
    pub fn subject(&self, subject: &str) -> String {
        subject.to_owned()
    }
}
