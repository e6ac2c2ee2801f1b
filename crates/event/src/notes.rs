//! What normalization had to decide for a record, kept beside it so that nobody mistakes a guess for a fact.

/// A set of notes; the bits are stored: never renumber, only append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notes(pub u32);

macro_rules! notes {
    ($( $(#[$doc:meta])* $constant:ident = $bit:literal $name:literal ),* $(,)?) => {
        impl Notes {
            $( $(#[$doc])* pub const $constant: Self = Self(1 << $bit); )*

            /// Every single note with its name in columns and JSON.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$constant, $name)),*];
        }
    };
}

notes! {
    /// The unit of a timestamp was told by its magnitude.
    TIME_UNIT_GUESSED = 0 "time_unit_guessed",
    /// A timestamp had no zone and was taken as UTC.
    TIME_ZONE_ASSUMED = 1 "time_zone_assumed",
    /// No readable time in the record: the time of receipt stands in.
    TIME_MISSING = 2 "time_missing",
    /// The line was not JSON until the bounded repair (`\xNN`, empty numbers, `(null)`, `NAN`).
    REPAIRED = 3 "repaired",
    /// A key stood twice in the record; the first value was kept, the others are attributes.
    DUPLICATE_KEYS = 4 "duplicate_keys",
    /// Bytes that are not UTF-8 were replaced.
    BAD_UTF8 = 5 "bad_utf8",
    /// A negative duration was dropped (Envoy writes one for a reused connection).
    NEGATIVE_DURATION = 6 "negative_duration",
    /// Something in the record was redacted.
    REDACTED = 7 "redacted",
    /// A value was longer than its bound and was cut.
    TRUNCATED = 8 "truncated",
    /// A field could not be read as its type; its text is an attribute.
    UNREADABLE_FIELD = 9 "unreadable_field",
    /// `upstream_rx_first_ns` was estimated from the time to first byte.
    UPSTREAM_ESTIMATED = 10 "upstream_estimated",
    /// Fields of the line could not be told apart for certain (a quote in a user agent): the split may be forged.
    AMBIGUOUS_FIELDS = 11 "ambiguous_fields",
    /// Hop or direction was inferred from cluster and listener names, not stated by the sender.
    HOP_INFERRED = 12 "hop_inferred",
    /// An id looked weak by its form: under 64 bits of randomness.
    WEAK_ID = 13 "weak_id",
}

impl Notes {
    /// No note.
    pub const NONE: Self = Self(0);

    /// Whether every note of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the notes of `other`.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The names of the notes in this set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(note, _)| self.contains(*note)).map(|&(_, name)| name)
    }
}
