//! How each Rust type of the schema stands in a column: its ClickHouse type on the wire, written and read.
//!
//! The type on the wire may be plainer than the column's (`String` for `LowCardinality(String)`, `Int8` for an enum):
//! the engine converts.

use std::borrow::Cow;

use event::{Attributes, Direction, Hop, Notes, Precision, RejectReason};

use super::column::{Column, Layout, put_text};
use super::reader::{Malformed, Reader};

/// A value that a column can hold.
pub(crate) trait Cell: Sized {
    /// Type on the wire.
    const TYPE: &'static str;
    /// Place in the buffers.
    const LAYOUT: Layout;
    /// Appends the value.
    fn put(&self, column: &mut Column);
    /// Reads one from `RowBinary`.
    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

impl Cell for Cow<'_, str> {
    const TYPE: &'static str = "String";
    const LAYOUT: Layout = Layout::Text;

    fn put(&self, column: &mut Column) {
        column.present |= !self.is_empty();
        put_text(self.as_bytes(), &mut column.data);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Cow::Owned(String::from_utf8_lossy(reader.bytes()?).into_owned()))
    }
}

macro_rules! numbers {
    ($($kind:ty: $type_name:literal, $nullable:literal;)*) => {$(
        impl Cell for $kind {
            const TYPE: &'static str = $type_name;
            const LAYOUT: Layout = Layout::Fixed(size_of::<$kind>());

            fn put(&self, column: &mut Column) {
                let bytes = self.to_le_bytes();
                column.present |= bytes.iter().any(|&byte| byte != 0);
                column.data.extend_from_slice(&bytes);
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.array().map(<$kind>::from_le_bytes)
            }
        }

        impl Cell for Option<$kind> {
            const TYPE: &'static str = $nullable;
            const LAYOUT: Layout = Layout::Nullable(size_of::<$kind>());

            fn put(&self, column: &mut Column) {
                column.present |= self.is_some();
                column.head.push(u8::from(self.is_none()));
                column.data.extend_from_slice(&self.unwrap_or_default().to_le_bytes());
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                if reader.byte()? != 0 { Ok(None) } else { Cell::take(reader).map(Some) }
            }
        }
    )*};
}

// The only signed 64-bit numbers of the schema are times.
numbers! {
    u8: "UInt8", "Nullable(UInt8)";
    u16: "UInt16", "Nullable(UInt16)";
    u32: "UInt32", "Nullable(UInt32)";
    u64: "UInt64", "Nullable(UInt64)";
    f64: "Float64", "Nullable(Float64)";
    i64: "DateTime64(9, 'UTC')", "Nullable(DateTime64(9, 'UTC'))";
}

/// Ids and addresses: 16 bytes, most significant first, so that `hex()` and sorting are those of the text.
impl Cell for u128 {
    const TYPE: &'static str = "FixedString(16)";
    const LAYOUT: Layout = Layout::Fixed(16);

    fn put(&self, column: &mut Column) {
        column.present |= *self != 0;
        column.data.extend_from_slice(&self.to_be_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_be_bytes)
    }
}

impl Cell for bool {
    const TYPE: &'static str = "Bool";
    const LAYOUT: Layout = Layout::Fixed(1);

    fn put(&self, column: &mut Column) {
        u8::from(*self).put(column);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.byte().map(|byte| byte != 0)
    }
}

impl Cell for Option<bool> {
    const TYPE: &'static str = "Nullable(Bool)";
    const LAYOUT: Layout = Layout::Nullable(1);

    fn put(&self, column: &mut Column) {
        self.map(u8::from).put(column);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(<Option<u8> as Cell>::take(reader)?.map(|byte| byte != 0))
    }
}

macro_rules! enums {
    ($($kind:ty),*) => {$(
        impl Cell for $kind {
            const TYPE: &'static str = "Int8";
            const LAYOUT: Layout = Layout::Fixed(1);

            fn put(&self, column: &mut Column) {
                (*self as u8).put(column);
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Self::from_number(reader.byte()?).ok_or(Malformed)
            }
        }
    )*};
}

enums!(Hop, Direction, Precision);

impl Cell for Notes {
    const TYPE: &'static str = u32::TYPE;
    const LAYOUT: Layout = u32::LAYOUT;

    fn put(&self, column: &mut Column) {
        self.0.put(column);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        u32::take(reader).map(Self)
    }
}

/// As a word, so that a new reason needs no migration.
impl Cell for RejectReason {
    const TYPE: &'static str = "String";
    const LAYOUT: Layout = Layout::Text;

    fn put(&self, column: &mut Column) {
        Cow::Borrowed(self.name()).put(column);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let word = reader.bytes()?;
        Self::ALL.iter().copied().find(|reason| reason.name().as_bytes() == word).ok_or(Malformed)
    }
}

impl Cell for Cow<'_, [u8]> {
    const TYPE: &'static str = "String";
    const LAYOUT: Layout = Layout::Text;

    fn put(&self, column: &mut Column) {
        column.present |= !self.is_empty();
        put_text(self, &mut column.data);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Cow::Owned(reader.bytes()?.to_vec()))
    }
}

impl Cell for Vec<u64> {
    const TYPE: &'static str = "Array(UInt64)";
    const LAYOUT: Layout = Layout::Array(8);

    fn put(&self, column: &mut Column) {
        column.present |= !self.is_empty();
        self.iter().for_each(|number| column.data.extend_from_slice(&number.to_le_bytes()));
        column.pairs += self.len() as u64;
        column.head.extend_from_slice(&column.pairs.to_le_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.varint()?;
        // No capacity by the claimed count: the loop ends with the answer.
        let mut numbers = Self::new();
        for _ in 0..count {
            numbers.push(Cell::take(reader)?);
        }
        Ok(numbers)
    }
}

impl Cell for Attributes<'_> {
    const TYPE: &'static str = "Map(String, String)";
    const LAYOUT: Layout = Layout::Map;

    fn put(&self, column: &mut Column) {
        column.present |= !self.is_empty();
        for (name, text) in self {
            put_text(name.as_bytes(), &mut column.keys);
            put_text(text.as_bytes(), &mut column.data);
        }
        column.pairs += self.len() as u64;
        column.head.extend_from_slice(&column.pairs.to_le_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.varint()?;
        // Each pair takes two bytes at least, so the loop ends with the answer, whatever the count claims.
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((Cell::take(reader)?, Cell::take(reader)?));
        }
        Ok(pairs)
    }
}
