//! Line parsers derived from Envoy format strings: Istio's defaults, and whatever string the configuration gives.
//!
//! Envoy escapes nothing in TEXT: a client can put `"` and blanks into its user agent and so write what looks like other
//! fields. [`split`] therefore finds every split of a line that fits the format, and a value is believed only where all
//! of them agree, or where the shapes of the operators leave one.

mod split;

use std::borrow::Cow;

use event::Notes;

use crate::coerce::Scalar;
use crate::envoy::draft::Draft;
use crate::envoy::target::{self, Target};

pub(crate) use split::Scratch;
use split::{Certainty, Shape};

/// The user's format strings first, then Istio's and Envoy's defaults, compiled.
#[derive(Debug, Clone)]
pub struct Formats {
    all: Vec<Format>,
}

/// Why text is not an Envoy format string that lines can be read by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` without its partner, or something between two that is no operator.
    #[error(
        "format string: no command operator at byte {at}: write %OPERATOR% or %OPERATOR(ARGUMENT)%, and %% for a percent sign"
    )]
    Operator {
        /// Where the `%` stands.
        at: usize,
    },
    /// Two operators touch, so no reader can tell where one value ends.
    #[error(
        "format string: %{first}% and %{second}% touch: put a character between them that the first cannot contain"
    )]
    Touching {
        /// Operator text.
        first: String,
        /// Operator text.
        second: String,
    },
    /// No operator at all.
    #[error("format string: holds no command operator")]
    Empty,
}

/// Istio 1.9 and later (`_RAW` since 1.23; the position is the same), Istio before, and Envoy's own.
const DEFAULTS: [&str; 3] = [
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% "#,
        r#"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "#,
        r#""%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
        r#"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
        r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% "#,
        r#"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%"#,
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% "#,
        r#"%RESPONSE_FLAGS% "%DYNAMIC_METADATA(istio.mixer:status)%" "%UPSTREAM_TRANSPORT_FAILURE_REASON%" "#,
        r#"%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "#,
        r#""%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% "#,
        r#"%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% "#,
        r#"%ROUTE_NAME%"#,
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% "#,
        r#"%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "#,
        r#""%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#,
    ),
];

impl Default for Formats {
    fn default() -> Self {
        Self::istio_defaults()
    }
}

impl Formats {
    /// The formats that Istio and Envoy use when nobody configures one.
    pub fn istio_defaults() -> Self {
        // The constants are compiled by a test, so none is lost here.
        Self { all: DEFAULTS.iter().filter_map(|text| Format::compile(text).ok()).collect() }
    }

    /// Adds a user's format string; it is tried before those that were there. A trailing newline is ignored.
    pub fn with_user(mut self, text: &str) -> Result<Self, FormatError> {
        self.all.insert(0, Format::compile(text)?);
        Ok(self)
    }

    /// Reads a line by the first format that it fits; `false` if it fits none.
    pub(crate) fn read<'a>(&self, line: &'a str, draft: &mut Draft<'a, '_>, scratch: &mut Scratch) -> bool {
        let strict = self.all.iter().find(|format| format.read(line, true, draft, scratch));
        strict.is_some() || self.all.iter().any(|format| format.read(line, false, draft, scratch))
    }
}

/// One compiled format string.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    /// Text before the first operator.
    head: String,
    pieces: Vec<Piece>,
}

/// An operator and the literal text after it.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    target: Target,
    /// Attribute name, if it becomes one.
    name: String,
    /// What its value looks like when nobody plays tricks.
    shape: Shape,
    /// Whether a client can put any bytes there.
    is_clients: bool,
    after: String,
}

impl Format {
    fn compile(text: &str) -> Result<Self, FormatError> {
        let text = text.trim_end_matches(['\n', '\r']);
        let (mut head, mut pieces) = (String::new(), Vec::<Piece>::new());
        let mut operators = Vec::<&str>::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('%') {
            let start = at + found;
            let literal = &text[at..start];
            pieces.last_mut().map_or(&mut head, |piece| &mut piece.after).push_str(literal);
            if text[start + 1..].starts_with('%') {
                pieces.last_mut().map_or(&mut head, |piece| &mut piece.after).push('%');
                at = start + 2;
                continue;
            }
            let length = operator_length(&text[start + 1..]).ok_or(FormatError::Operator { at: start })?;
            let operator = &text[start + 1..start + 1 + length];
            let target = target::operator(operator).ok_or(FormatError::Operator { at: start })?;
            if let (Some(last), Some(first)) = (pieces.last(), operators.last())
                && last.after.is_empty()
            {
                return Err(FormatError::Touching { first: (*first).into(), second: operator.into() });
            }
            operators.push(operator);
            pieces.push(Piece {
                target,
                name: target::attribute_name(operator),
                shape: split::shape(operator, target),
                is_clients: split::is_clients(operator),
                after: String::new(),
            });
            at = start + length + 2;
        }
        match pieces.last_mut() {
            Some(piece) => piece.after.push_str(&text[at..]),
            None => return Err(FormatError::Empty),
        }
        Ok(Self { head, pieces })
    }

    /// Reads a line into the draft; `false`, and the draft untouched, if it does not fit.
    fn read<'a>(
        &self,
        line: &'a str,
        is_strict: bool,
        draft: &mut Draft<'a, '_>,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(certainty) = split::split(&self.head, &self.pieces, line, is_strict, scratch) else {
            return false;
        };
        if certainty == Certainty::Ambiguous {
            draft.event.notes.add(Notes::AMBIGUOUS_FIELDS);
        }
        for (piece, value) in self.pieces.iter().zip(&scratch.values) {
            let text = &line[value.start..value.end];
            if value.is_fixed || piece.is_clients {
                draft.put(piece.target, &piece.name, Scalar::Text(Cow::Borrowed(text)));
            } else {
                // Envoy's own word, but where it stands a client may have written it.
                draft.event.notes.add(Notes::UNREADABLE_FIELD);
                draft.attribute(&piece.name, Cow::Borrowed(text));
            }
        }
        true
    }
}

/// Length of the operator text up to its closing `%`; an argument may hold `%` itself (`START_TIME(%s.%3f)`).
fn operator_length(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b'%' if depth == 0 => return (at > 0).then_some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_compiles() {
        assert_eq!(Formats::istio_defaults().all.len(), DEFAULTS.len());
    }

    #[test]
    fn a_bad_string_says_where() {
        assert_eq!(Format::compile("a %REQ(X").unwrap_err(), FormatError::Operator { at: 2 });
        assert_eq!(Format::compile("%lower%").unwrap_err(), FormatError::Operator { at: 0 });
        assert_eq!(Format::compile("plain").unwrap_err(), FormatError::Empty);
        assert!(matches!(Format::compile("%DURATION%%BYTES_SENT%"), Err(FormatError::Touching { .. })));
        assert_eq!(Format::compile("%DURATION%%% %START_TIME(%s.%3f)%").unwrap().pieces[0].after, "% ");
    }
}
