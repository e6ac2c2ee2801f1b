//! What a real Envoy wrote, decoded: every captured record is one event or one explained reject, with the facts of its
//! scenario. `tests/data/README.md` says where the captures came from.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod als;
mod lines;
mod otlp;
mod properties;
mod support;
