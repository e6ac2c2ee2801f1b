//! Finds how a line divides into the values of a format, and which values every possible division agrees on.
//!
//! A division is a path through positions: each value begins where the literal before it ended, and ends where the
//! literal after it begins. Positions reachable from the left are found piece by piece; those from which the end is out
//! of reach are then struck out from the right. What remains are all divisions; a value is *fixed* if both its ends are.
//!
//! Two passes: with the shapes that honest values have (a strict request id holds no blank), then, if any value holds a
//! quote, with every value that a client can choose set free, to learn what a hostile client could have moved.

use memchr::memmem;

use crate::envoy::format::Piece;
use crate::envoy::target::Target;

/// Reachable positions kept per piece. A line of quotes could have thousands; the outer ones decide.
const MAX_POSITIONS: usize = 128;

/// What the text of a value can look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Digits, `-`, `.`.
    Number,
    /// No blanks, no quotes.
    Word,
    /// No quotes.
    Unquoted,
    /// `203.0.113.7, 10.0.0.1`: what proxies write.
    AddressList,
    /// Anything.
    Any,
}

impl Shape {
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Number => byte.is_ascii_digit() || byte == b'-' || byte == b'.',
            Self::Word => !matches!(byte, b' ' | b'"' | b'\t'),
            Self::Unquoted => byte != b'"',
            Self::AddressList => {
                byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b',' | b' ' | b'[' | b']' | b'-')
            }
            Self::Any => true,
        }
    }
}

/// The honest shape of an operator's value.
pub(crate) fn shape(operator: &str, target: Target) -> Shape {
    match target {
        Target::Status | Target::Count(_) | Target::Span(..) | Target::Attempt | Target::AttemptHeader => {
            Shape::Number
        }
        Target::Free(_) if operator.eq_ignore_ascii_case("REQ(X-FORWARDED-FOR)") => Shape::AddressList,
        Target::Free(_) | Target::Url(_) => Shape::Any,
        Target::Start | Target::Termination | Target::FlagsLong => Shape::Unquoted,
        Target::Attribute | Target::Secret | Target::Rbac | Target::UpstreamPeer | Target::DownstreamPeer => {
            if is_clients(operator)
                || operator.starts_with("DYNAMIC_METADATA")
                || operator.starts_with("FILTER_STATE")
            {
                Shape::Any
            } else {
                Shape::Unquoted
            }
        }
        Target::Text(_) if ["ROUTE_NAME", "UPSTREAM_TRANSPORT_FAILURE_REASON"].contains(&operator) => {
            Shape::Unquoted
        }
        _ => Shape::Word,
    }
}

/// Whether a client chooses the value: headers, by whatever operator. Envoy checks method and authority itself.
pub(crate) fn is_clients(operator: &str) -> bool {
    operator.starts_with("REQ(") && operator != "REQ(:METHOD)" && operator != "REQ(:AUTHORITY)"
        || operator.starts_with("RESP(") && operator != "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)"
        || operator.starts_with("TRAILER(")
}

/// Where one value stands in the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Every division gives this value.
    pub(crate) is_fixed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// There is one division.
    Certain,
    /// A client may have written some of what looks like fields.
    Ambiguous,
}

/// Buffers that are used again for every line.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) values: Vec<Value>,
    steps: Vec<Vec<(usize, usize)>>,
    free: Vec<Value>,
}

/// Divides a line. `None` if it does not fit the format. `is_strict` asks for honest shapes; without it, clients' values
/// may look like anything.
pub(crate) fn split(
    head: &str,
    pieces: &[Piece],
    line: &str,
    is_strict: bool,
    scratch: &mut Scratch,
) -> Option<Certainty> {
    let start = line.starts_with(head).then_some(head.len())?;
    if !reach(pieces, line.as_bytes(), start, is_strict, &mut scratch.steps) {
        return None;
    }
    choose(pieces, line.as_bytes(), start, &scratch.steps, &mut scratch.values);
    if !is_strict {
        let is_certain = scratch.values.iter().all(|value| value.is_fixed);
        return Some(if is_certain { Certainty::Certain } else { Certainty::Ambiguous });
    }
    let has_quote =
        scratch.values.iter().any(|value| line.as_bytes()[value.start..value.end].contains(&b'"'));
    if !has_quote && scratch.values.iter().all(|value| value.is_fixed) {
        return Some(Certainty::Certain);
    }
    // Someone wrote a quote: what could it have moved?
    if reach(pieces, line.as_bytes(), start, false, &mut scratch.steps) {
        choose(pieces, line.as_bytes(), start, &scratch.steps, &mut scratch.free);
        for (value, free) in scratch.values.iter_mut().zip(&scratch.free) {
            value.is_fixed &= free.is_fixed;
        }
    }
    let is_certain = scratch.values.iter().all(|value| value.is_fixed);
    Some(if is_certain { Certainty::Certain } else { Certainty::Ambiguous })
}

/// Fills, for each piece, the (start, end) pairs of its value that lie on a division. `false` if there is none.
fn reach(
    pieces: &[Piece],
    line: &[u8],
    start: usize,
    is_strict: bool,
    steps: &mut Vec<Vec<(usize, usize)>>,
) -> bool {
    steps.resize_with(pieces.len(), Vec::new);
    let (mut starts, mut next) = (vec![start], Vec::new());
    for (at, (piece, steps)) in pieces.iter().zip(steps.iter_mut()).enumerate() {
        steps.clear();
        next.clear();
        let shape = if is_strict || !piece.is_clients { piece.shape } else { Shape::Any };
        for &start in &starts {
            ends(line, start, shape, piece.after.as_bytes(), at + 1 == pieces.len(), |end| {
                steps.push((start, end));
                next.push(end + piece.after.len());
            });
        }
        next.sort_unstable();
        next.dedup();
        if next.len() > MAX_POSITIONS {
            next.drain(MAX_POSITIONS / 2..next.len() - MAX_POSITIONS / 2);
        }
        if next.is_empty() {
            return false;
        }
        std::mem::swap(&mut starts, &mut next);
    }
    // From the right: keep what leads to the end of the line.
    let mut alive = vec![line.len()];
    for (piece, steps) in pieces.iter().zip(steps.iter_mut()).rev() {
        steps.retain(|&(_, end)| alive.binary_search(&(end + piece.after.len())).is_ok());
        alive.clear();
        alive.extend(steps.iter().map(|&(start, _)| start));
        alive.sort_unstable();
        alive.dedup();
    }
    !alive.is_empty()
}

/// Every place where a value that begins at `start` can end.
fn ends(line: &[u8], start: usize, shape: Shape, after: &[u8], is_last: bool, mut found: impl FnMut(usize)) {
    let rest = &line[start..];
    let reach = match shape {
        Shape::Any => rest.len(),
        _ => rest.iter().position(|&byte| !shape.holds(byte)).unwrap_or(rest.len()),
    };
    if is_last {
        if rest.ends_with(after) && rest.len() - after.len() <= reach {
            found(line.len() - after.len());
        }
        return;
    }
    let window = &rest[..(reach + after.len()).min(rest.len())];
    let mut from = 0;
    for _ in 0..MAX_POSITIONS / 2 {
        let Some(at) = memmem::find(&window[from..], after) else { return };
        found(start + from + at);
        from += at + 1;
    }
    // A line full of quotes: the last ones matter as much as the first.
    let mut until = window.len();
    for _ in 0..MAX_POSITIONS / 2 {
        let Some(at) = memmem::rfind(&window[from..until], after) else { return };
        found(start + from + at);
        until = (from + at + after.len()).saturating_sub(1).max(from);
    }
}

/// Takes one division: addresses as short as they can be where they look like addresses, everything else as long as it
/// can be, so that what a client forged stays inside the value it was sent in.
fn choose(
    pieces: &[Piece],
    line: &[u8],
    start: usize,
    steps: &[Vec<(usize, usize)>],
    values: &mut Vec<Value>,
) {
    values.clear();
    let mut at = start;
    for (piece, steps) in pieces.iter().zip(steps) {
        let mine = || steps.iter().filter(|&&(start, _)| start == at).map(|&(_, end)| end);
        let shortest = mine().min().unwrap_or(at);
        let looks_honest = line[at..shortest].iter().all(|&byte| piece.shape.holds(byte));
        let end =
            if piece.shape != Shape::Any && looks_honest { shortest } else { mine().max().unwrap_or(at) };
        let is_fixed = steps.iter().all(|step| *step == (at, end));
        values.push(Value { start: at, end, is_fixed });
        at = end + piece.after.len();
    }
}
