//! Bad input as data: what could not be read, why, where, and its redacted bytes.

use std::borrow::Cow;

use crate::fields::{HopEvent, Text};
use crate::tally::Tally;

macro_rules! reasons {
    ($( $(#[$doc:meta])* $variant:ident = $number:literal $name:literal ),* $(,)?) => {
        /// Why a record is a reject. The numbers are stored: never renumber, only append.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum RejectReason { $( $(#[$doc])* $variant = $number ),* }

        impl RejectReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word used in columns, JSON and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The reason of a stored number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// No decoder knows the form of the line or document.
    UnknownFormat = 1 "unknown_format",
    /// Not JSON, even after the bounded repair.
    BadJson = 2 "bad_json",
    /// Cut at a sender's line limit (16 KiB in VCL, 64 KiB in Compute).
    Truncated = 3 "truncated",
    /// JSON, but not an object where one record must be an object.
    NotAnObject = 4 "not_an_object",
    /// An object in which no known field was found.
    NoKnownField = 5 "no_known_field",
    /// The line does not fit the format string it was read by.
    FormatMismatch = 6 "format_mismatch",
    /// Bytes that are not the protobuf message they claim to be.
    BadProtobuf = 7 "bad_protobuf",
    /// One record is larger than its bound.
    TooLarge = 8 "too_large",
    /// Nested deeper than the bound.
    TooDeep = 9 "too_deep",
    /// The store refused the row for good.
    StoreRefused = 10 "store_refused",
    /// The body was not what its compression claims, or grew past the cap while it was unpacked.
    BadCompression = 11 "bad_compression",
}

/// A record that could not be read, or that the store would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject<'a> {
    /// When it was accepted, unix nanoseconds.
    pub received_ns: i64,
    /// Whose it is.
    pub tenant: Text<'a>,
    /// The configured input that received it.
    pub source: Text<'a>,
    /// The decoder that gave up, if one was chosen.
    pub format: Text<'a>,
    /// Why, as a word.
    pub reason: RejectReason,
    /// Why, in a sentence.
    pub detail: Text<'a>,
    /// Where the record began in its delivery (after decompression), in bytes.
    pub offset: u64,
    /// How long it was, in bytes, before any cut.
    pub length: u64,
    /// The record itself, redacted, cut to [`Reject::MAX_BYTES`].
    pub bytes: Cow<'a, [u8]>,
}

impl Reject<'_> {
    /// Bytes of a rejected record that are kept: enough to see what it was.
    pub const MAX_BYTES: usize = 8 * 1024;
}

/// What the spool carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// A hop event (boxed: it is some kilobytes of mostly absent fields).
    Event(Box<HopEvent<'a>>),
    /// A reject.
    Reject(Reject<'a>),
    /// An entry of the ledger.
    Tally(Tally<'a>),
}
