//! One JSON object to a flat list of values, each under the number of its dotted path.
//!
//! Log lines of one template repeat their keys in one order. The walk is told the order of the line before and only
//! compares; where a line differs it goes on with a hash lookup for each key. Paths are numbered per body, so a
//! duplicate is a stamp comparison and a path's name is written once.

use std::collections::HashMap;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::json::{Fault, FaultKind, MAX_DEPTH, Scanner};
use crate::coerce::Scalar;

/// Values kept of one record. A template of 8,000 characters, the most that Fastly's own tool allows, holds fewer.
const MAX_VALUES: usize = 1024;
/// Paths remembered at once; above it all are forgotten and learnt anew, so hostile keys cost time but no memory.
const MAX_PATHS: usize = 4096;
/// Longest dotted path, in bytes; what is longer is skipped and noted as cut.
const MAX_PATH_BYTES: usize = 512;

/// Number of a path; [`ROOT`] is the record itself.
pub(crate) type PathId = u32;
const ROOT: PathId = 0;

/// One value of a record.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) path: PathId,
    pub(crate) value: Scalar<'a>,
    /// Where the value stands in the text, with its quotes.
    pub(crate) place: Range<usize>,
    /// The path stood in this record before.
    pub(crate) duplicate: bool,
}

#[derive(Debug)]
struct Path {
    name: String,
    /// Where the last segment begins in `name`.
    key_at: usize,
    parent: PathId,
    /// Whether the last segment needs no escapes, so that it may be compared with raw bytes.
    plain: bool,
}

/// The paths met in a body.
#[derive(Debug)]
pub(crate) struct Paths {
    list: Vec<Path>,
    by_hash: HashMap<u64, PathId>,
    /// Per path, the number of the record that had it last.
    seen: Vec<u32>,
    record: u32,
}

/// What a walk found besides the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Bytes up to and with the closing brace.
    pub(crate) length: usize,
    /// The keys came exactly in the predicted order.
    pub(crate) as_predicted: bool,
    /// Values beyond the bounds were left out.
    pub(crate) cut: bool,
}

/// A key in the order of a record: the path, and in the lowest bit whether its value was an object or array.
pub(crate) type Key = u32;

impl Paths {
    pub(crate) fn new() -> Self {
        let root = Path { name: String::new(), key_at: 0, parent: ROOT, plain: false };
        Self { list: vec![root], by_hash: HashMap::new(), seen: vec![0], record: 0 }
    }

    pub(crate) fn name(&self, id: PathId) -> &str {
        &self.list[id as usize].name
    }

    /// Forgets everything if the bound is reached; true if ids handed out before are void.
    pub(crate) fn forget_if_full(&mut self) -> bool {
        let full = self.list.len() > MAX_PATHS;
        if full {
            *self = Self::new();
        }
        full
    }

    fn expected(&self, key: Key, parent: PathId) -> Option<&str> {
        let path = &self.list[(key >> 1) as usize];
        (path.plain && path.parent == parent).then(|| &path.name[path.key_at..])
    }

    /// The number of `key` under `parent`; `None` if the path is too long.
    fn find(&mut self, parent: PathId, key: &str) -> Option<PathId> {
        let mut hash = xxh3_64_with_seed(key.as_bytes(), u64::from(parent));
        while let Some(&id) = self.by_hash.get(&hash) {
            let path = &self.list[id as usize];
            if path.parent == parent && &path.name[path.key_at..] == key {
                return Some(id);
            }
            hash = hash.wrapping_add(1);
        }
        let prefix = &self.list[parent as usize].name;
        if prefix.len() + key.len() >= MAX_PATH_BYTES {
            return None;
        }
        let name = if parent == ROOT { key.to_owned() } else { format!("{prefix}.{key}") };
        let id = self.list.len() as PathId;
        let plain = !key.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.list.push(Path { key_at: name.len() - key.len(), name, parent, plain });
        self.seen.push(0);
        self.by_hash.insert(hash, id);
        Some(id)
    }

    /// Stamps a path as met in this record; true if it was met before.
    fn stamp(&mut self, id: PathId) -> bool {
        std::mem::replace(&mut self.seen[id as usize], self.record) == self.record
    }
}

/// An object or array that is open.
#[derive(Clone, Copy, Default)]
struct Open {
    path: PathId,
    /// The next index of an array; `None` for an object.
    index: Option<u32>,
    /// Below a path that is not kept.
    skipped: bool,
}

struct Walk<'w, 'a> {
    paths: &'w mut Paths,
    predicted: &'w [Key],
    followed: usize,
    diverged: bool,
    order: &'w mut Vec<Key>,
    entries: &'w mut Vec<Entry<'a>>,
    cut: bool,
}

/// Walks the object at the start of `text`. `entries` and `order` are cleared first; `order` is only written where
/// the record differs from `predicted`.
pub(crate) fn walk<'a>(
    text: &'a str,
    paths: &mut Paths,
    predicted: &[Key],
    order: &mut Vec<Key>,
    entries: &mut Vec<Entry<'a>>,
) -> Result<Walked, Fault> {
    entries.clear();
    order.clear();
    paths.record += 1;
    let mut scanner = Scanner::new(text);
    let mut walk = Walk { paths, predicted, followed: 0, diverged: false, order, entries, cut: false };
    walk.object(&mut scanner)?;
    if !walk.diverged && walk.followed < predicted.len() {
        walk.diverge();
    }
    Ok(Walked { length: scanner.at(), as_predicted: !walk.diverged, cut: walk.cut })
}

impl<'a> Walk<'_, 'a> {
    fn object(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.expect(b'{', "an object")?;
        let mut stack = [Open::default(); MAX_DEPTH];
        let mut depth = 0;
        let mut here = Open { path: ROOT, index: None, skipped: false };
        let mut first = true;
        loop {
            let closing = if here.index.is_some() { b']' } else { b'}' };
            match scanner.peek() {
                Some(byte) if byte == closing => {
                    scanner.bump();
                    if depth == 0 {
                        return Ok(());
                    }
                    depth -= 1;
                    here = stack[depth];
                    first = false;
                    continue;
                }
                Some(b',') if !first => {
                    scanner.bump();
                    // A comma promises a value: without this `[1,]` would pass.
                    if scanner.peek() == Some(closing) {
                        return scanner.fault(FaultKind::Expected("a value after `,`"));
                    }
                }
                _ if first => {}
                _ => return scanner.fault(FaultKind::Expected("`,` or a closing bracket")),
            }
            first = false;
            let path = self.key(scanner, &mut here)?;
            let byte = scanner.peek();
            if let Some(bracket @ (b'{' | b'[')) = byte {
                if depth == MAX_DEPTH - 1 {
                    return scanner.fault(FaultKind::Depth);
                }
                scanner.bump();
                stack[depth] = here;
                depth += 1;
                let skipped = here.skipped || path.is_none();
                here = Open { path: path.unwrap_or(ROOT), index: (bracket == b'[').then_some(0), skipped };
                if let Some(path) = path {
                    self.follow(path << 1 | 1);
                }
                first = true;
                continue;
            }
            let start = scanner.at();
            let value = scanner.scalar(false)?;
            if let Some(path) = path {
                self.keep(path, value, start..scanner.at());
            }
        }
    }

    /// The path of the next value: a key with its colon, or the next index of an array.
    #[inline]
    fn key(&mut self, scanner: &mut Scanner<'a>, here: &mut Open) -> Result<Option<PathId>, Fault> {
        let expected = if self.diverged { None } else { self.predicted.get(self.followed).copied() };
        if let Some(index) = &mut here.index {
            let mut digits = itoa_buffer(*index);
            *index += 1;
            let digits = digits.as_text();
            return Ok(if here.skipped { None } else { self.find(here.path, digits) });
        }
        if scanner.peek() != Some(b'"') {
            return scanner.fault(FaultKind::Expected("a key"));
        }
        let foreseen = expected.and_then(|key| Some((key >> 1, self.paths.expected(key, here.path)?)));
        let path = match foreseen {
            Some((path, key)) if !here.skipped && scanner.accept_key(key) => Some(path),
            _ => {
                let key = scanner.string()?;
                if here.skipped { None } else { self.find(here.path, &key) }
            }
        };
        scanner.expect(b':', "`:`")?;
        Ok(path)
    }

    fn find(&mut self, parent: PathId, key: &str) -> Option<PathId> {
        // Containers make no entry: the other two bounds hold against `{"a":{},"b":{},…`.
        let full = self.entries.len() >= MAX_VALUES
            || self.order.len() >= 2 * MAX_VALUES
            || self.paths.list.len() > 2 * MAX_PATHS;
        if full {
            self.cut = true;
            return None;
        }
        let path = self.paths.find(parent, key);
        self.cut |= path.is_none();
        path
    }

    #[inline]
    fn keep(&mut self, path: PathId, value: Scalar<'a>, place: Range<usize>) {
        if self.entries.len() >= MAX_VALUES {
            self.cut = true;
            return;
        }
        self.follow(path << 1);
        let duplicate = self.paths.stamp(path);
        self.entries.push(Entry { path, value, place, duplicate });
    }

    #[inline]
    fn follow(&mut self, key: Key) {
        if !self.diverged {
            if self.predicted.get(self.followed) == Some(&key) {
                self.followed += 1;
                return;
            }
            self.diverge();
        }
        self.order.push(key);
    }

    #[cold]
    fn diverge(&mut self) {
        self.diverged = true;
        self.order.extend_from_slice(&self.predicted[..self.followed]);
    }
}

/// Decimal digits without an allocation.
struct Digits {
    bytes: [u8; 10],
    from: usize,
}

fn itoa_buffer(mut value: u32) -> Digits {
    let mut digits = Digits { bytes: [b'0'; 10], from: 9 };
    while value >= 10 {
        digits.bytes[digits.from] = b'0' + (value % 10) as u8;
        value /= 10;
        digits.from -= 1;
    }
    digits.bytes[digits.from] = b'0' + value as u8;
    digits
}

impl Digits {
    fn as_text(&mut self) -> &str {
        str::from_utf8(&self.bytes[self.from..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(text: &str) -> Vec<(String, String)> {
        let (mut paths, mut order, mut entries) = (Paths::new(), Vec::new(), Vec::new());
        walk(text, &mut paths, &[], &mut order, &mut entries).unwrap();
        entries.into_iter().map(|e| (paths.name(e.path).to_owned(), e.value.to_text().into_owned())).collect()
    }

    #[test]
    fn nesting_becomes_dots() {
        let found = flat(r#"{"a":1,"b":{"c":"x","d":[true,{"e":null}],"f":{}},"g":-1.50}"#);
        let expected = [("a", "1"), ("b.c", "x"), ("b.d.0", "true"), ("b.d.1.e", ""), ("g", "-1.50")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn a_repeated_order_is_followed_and_a_new_one_is_told() {
        let (mut paths, mut order, mut entries) = (Paths::new(), Vec::new(), Vec::new());
        let mut step = |text: &'static str, predicted: &[Key]| {
            let walked = walk(text, &mut paths, predicted, &mut order, &mut entries).unwrap();
            (walked.as_predicted, entries.iter().any(|entry| entry.duplicate), order.clone())
        };
        let (_, _, first) = step(r#"{"a":1,"b":{"c":2}}"#, &[]);
        assert!(step(r#"{"a":5, "b" : {"c":"x"}}"#, &first).0);
        assert!(!step(r#"{"a":5}"#, &first).0);
        assert!(!step(r#"{"a":5,"b":{"c":1},"d":1}"#, &first).0);
        assert!(!step(r#"{"a":5,"b":7}"#, &first).0);
        assert!(step(r#"{"a":5,"b":{"c":1,"c":2}}"#, &first).1);
    }

    proptest! {
        #[test]
        fn accepts_the_objects_that_serde_json_accepts(inner in r#"[\[\]{}:, "a1t\-]{0,20}"#) {
            let text = format!("{{{inner}");
            let (mut paths, mut order, mut entries) = (Paths::new(), Vec::new(), Vec::new());
            let ours = walk(&text, &mut paths, &[], &mut order, &mut entries)
                .is_ok_and(|walked| text[walked.length..].trim_ascii().is_empty());
            prop_assert_eq!(ours, serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
