//! Questions in the words of OpenTelemetry: which requests have a span like this, which values an attribute has. What an
//! attribute is called stands in `trace::otlp`; here are the columns that hold them.

mod column;
mod derived;
mod filter;
mod search;
mod values;

pub use column::{Column, Shape};
pub use derived::{IS_ERROR, TRACE_ID};
pub use filter::{Comparison, Filter, Operand, Operator, Value};
pub use search::{Place, Range};
