//! coerce.
