//! Values that borrow from bytes, made to outlive them.

use std::borrow::Cow;

use crate::fields::{Attributes, Text};
use crate::kinds::{Direction, Hop, Precision};
use crate::notes::Notes;

/// A type of the table of fields.
pub(crate) trait Lasting {
    /// The same without a borrow.
    type Own;
    /// Copies what is borrowed.
    fn into_own(self) -> Self::Own;
}

impl Lasting for Text<'_> {
    type Own = Text<'static>;
    fn into_own(self) -> Self::Own {
        // Most texts of an event are absent, which costs no allocation.
        if self.is_empty() { Cow::Borrowed("") } else { Cow::Owned(self.into_owned()) }
    }
}

impl Lasting for Attributes<'_> {
    type Own = Attributes<'static>;
    fn into_own(self) -> Self::Own {
        self.into_iter().map(|(name, text)| (name.into_own(), text.into_own())).collect()
    }
}

macro_rules! plain {
    ($($kind:ty),* $(,)?) => {$(
        impl Lasting for $kind {
            type Own = Self;
            fn into_own(self) -> Self {
                self
            }
        }
    )*};
}

plain!(
    u8,
    u16,
    u32,
    u64,
    u128,
    i64,
    f64,
    bool,
    Option<u32>,
    Option<u64>,
    Option<bool>,
    Hop,
    Direction,
    Precision,
    Notes,
);
