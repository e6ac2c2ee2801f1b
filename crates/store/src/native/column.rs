//! Columns of one table as growing buffers, kept from batch to batch.

use std::ops::Range;

/// How the values of a column lie in its buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// So many bytes each, in `data`.
    Fixed(usize),
    /// A byte each in `head`, so many bytes each in `data`.
    Nullable(usize),
    /// Length and bytes each, in `data`.
    Text,
    /// End offset each in `head`; the pairs' texts in `keys` and `data`.
    Map,
    /// End offset each in `head`; the elements, of so many bytes each, in `data`.
    Array(usize),
}

/// One column of a batch.
#[derive(Debug)]
pub(crate) struct Column {
    name: &'static str,
    type_name: &'static str,
    layout: Layout,
    pub(crate) head: Vec<u8>,
    pub(crate) keys: Vec<u8>,
    pub(crate) data: Vec<u8>,
    /// Pairs or elements so far, for the offsets of a map or an array.
    pub(crate) pairs: u64,
    /// Whether any value differs from the column's default; a column of defaults is not sent.
    pub(crate) present: bool,
}

impl Column {
    /// The values of `rows`, as a column of their own.
    fn slice(&self, rows: Range<usize>) -> Self {
        // A column that is filled later (the sums of a rollup) has no bytes yet.
        let bytes = |buffer: &[u8], width: usize, range: Range<usize>| {
            buffer.get(range.start * width..range.end * width).unwrap_or_default().to_vec()
        };
        let mut part = Self {
            name: self.name,
            type_name: self.type_name,
            layout: self.layout,
            head: Vec::new(),
            keys: Vec::new(),
            data: Vec::new(),
            pairs: 0,
            present: self.present,
        };
        match self.layout {
            Layout::Fixed(width) => part.data = bytes(&self.data, width, rows),
            Layout::Nullable(width) => {
                part.head = bytes(&self.head, 1, rows.clone());
                part.data = bytes(&self.data, width, rows);
            }
            Layout::Text => part.data = texts(&self.data, rows).to_vec(),
            Layout::Map | Layout::Array(_) => {
                let pairs = self.pair_end(rows.start)..self.pair_end(rows.end);
                for row in rows {
                    part.pairs = (self.pair_end(row + 1) - pairs.start) as u64;
                    part.head.extend_from_slice(&part.pairs.to_le_bytes());
                }
                if let Layout::Array(width) = self.layout {
                    part.data = bytes(&self.data, width, pairs);
                } else {
                    part.keys = texts(&self.keys, pairs.clone()).to_vec();
                    part.data = texts(&self.data, pairs).to_vec();
                }
            }
        }
        part
    }

    /// How many pairs the rows before `row` hold.
    fn pair_end(&self, row: usize) -> usize {
        let end = row.checked_sub(1).and_then(|last| self.head.get(last * 8..)?.first_chunk());
        end.map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize)
    }
}

/// The bytes of the texts in `range`, lengths included.
fn texts(buffer: &[u8], range: Range<usize>) -> &[u8] {
    let skip = |mut at: usize, count: usize| {
        for _ in 0..count {
            let (length, width) = varint_at(buffer, at);
            at += width + length;
        }
        at
    };
    let start = skip(0, range.start);
    &buffer[start..skip(start, range.len())]
}

fn varint_at(buffer: &[u8], at: usize) -> (usize, usize) {
    let mut value = 0;
    for (index, &byte) in buffer[at..].iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return (value, index + 1);
        }
    }
    (value, 0)
}

/// The rows of one table in one batch.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: usize,
}

impl Block {
    pub(crate) fn new(columns: impl IntoIterator<Item = (&'static str, &'static str, Layout)>) -> Self {
        let columns = columns.into_iter().map(|(name, type_name, layout)| Column {
            name,
            type_name,
            layout,
            head: Vec::new(),
            keys: Vec::new(),
            data: Vec::new(),
            pairs: 0,
            present: false,
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// Forgets the rows and keeps the buffers.
    pub(crate) fn clear(&mut self) {
        for column in &mut self.columns {
            column.head.clear();
            column.keys.clear();
            column.data.clear();
            column.pairs = 0;
            column.present = false;
        }
        self.rows = 0;
    }

    /// The rows of `range`, as a block of their own.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let rows = range.len();
        Self { columns: self.columns.iter().map(|column| column.slice(range.clone())).collect(), rows }
    }

    /// Bytes of values held.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.head.len() + column.keys.len() + column.data.len()).sum()
    }

    /// The columns worth sending: the first (it carries the row count) and those with any value.
    fn sent(&self) -> impl Iterator<Item = &Column> + Clone {
        self.columns
            .iter()
            .enumerate()
            .filter(|(index, column)| *index == 0 || column.present)
            .map(|(_, it)| it)
    }

    /// Their names, for the statement.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.sent().map(|column| column.name)
    }

    /// Name and type on the wire of every column, sent or not.
    pub(crate) fn all_columns(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.columns.iter().map(|column| (column.name, column.type_name))
    }

    /// Every text value of row `row` with its column's name, leaving out empty ones.
    pub(crate) fn texts_of_row(&self, row: usize) -> impl Iterator<Item = (&'static str, String)> {
        let text = self.columns.iter().filter(|column| column.layout == Layout::Text);
        text.filter_map(move |column| {
            let bytes = texts(&column.data, row..row + 1);
            let (length, width) = varint_at(bytes, 0);
            (length > 0).then(|| (column.name, String::from_utf8_lossy(&bytes[width..]).into_owned()))
        })
    }

    /// The first eight bytes of a fixed column in row `row`; 0 where there is no such column.
    pub(crate) fn i64_of_row(&self, name: &str, row: usize) -> i64 {
        let column =
            self.columns.iter().find(|column| column.name == name && column.layout == Layout::Fixed(8));
        let bytes = column.and_then(|column| column.data.get(row * 8..)?.first_chunk());
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Writes the block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes() + 64 * self.columns.len());
        put_varint(self.sent().count() as u64, &mut out);
        put_varint(self.rows as u64, &mut out);
        for column in self.sent() {
            put_text(column.name.as_bytes(), &mut out);
            put_text(column.type_name.as_bytes(), &mut out);
            out.extend_from_slice(&column.head);
            out.extend_from_slice(&column.keys);
            out.extend_from_slice(&column.data);
        }
        out
    }
}

/// Appends a length and the bytes.
pub(crate) fn put_text(text: &[u8], out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// Appends a number, seven bits a byte, low bits first.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
