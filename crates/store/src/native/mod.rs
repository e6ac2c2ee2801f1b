//! ClickHouse's columnar `Native` form, written, and its `RowBinary` form, read.
//!
//! ```text
//! block  = varint columns · varint rows · column…         column = name · type · head · keys · data
//! text   = varint length, then the bytes                   head   = null map (Nullable) or end offsets u64 (Map)
//! ```
//!
//! Why not the `clickhouse` crate's block builder: a block of it cannot be cut by rows, which bisecting a refusal needs,
//! it maps no Rust type to `DateTime64` or an enum without an encoder of one's own, and its insert never compresses,
//! which a remote server wants. The two were not compared for speed. The bytes still go through that crate's client.

mod cell;
mod column;
mod reader;

pub(crate) use cell::Cell;
pub(crate) use column::{Block, Column, Layout};
pub(crate) use reader::{Malformed, Reader};
