//! ClickHouse's columnar `Native` form, written, and its `RowBinary` form, read.
//!
//! ```text
//! block  = varint columns · varint rows · column…         column = name · type · head · keys · data
//! text   = varint length, then the bytes                   head   = null map (Nullable) or end offsets u64 (Map)
//! ```
//!
//! Why not the `clickhouse` crate's block builder: it has no `DateTime64`, no enums and no 128-bit values, encodes
//! through a dynamic call per value, gives its buffers away with each block, and cannot cut a block by rows, which
//! bisecting a refusal needs. The bytes still go through that crate.

mod cell;
mod column;
mod reader;

pub(crate) use cell::Cell;
pub(crate) use column::{Block, Column, Layout};
pub(crate) use reader::{Malformed, Reader};
