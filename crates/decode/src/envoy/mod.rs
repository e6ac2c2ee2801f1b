//! Envoy's access logs: JSON and TEXT lines, lines of a custom format, and ALS messages.

mod als;
mod draft;
mod format;
mod hop;
mod json;
mod lines;
mod object;
mod target;
mod text;
mod verdict;
mod wrap;

pub use als::AlsStream;
pub use format::{FormatError, Formats};
pub use lines::decode_lines;
pub use wrap::is_cut_line;

pub(crate) use draft::Draft;
pub(crate) use format::Scratch;
pub(crate) use json::{Keys, read_members};
pub(crate) use target::Target;
