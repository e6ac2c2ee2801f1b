//! Durable append-only segments of opaque records; knows bytes only.
