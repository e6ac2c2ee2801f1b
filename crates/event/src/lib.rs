//! The hop event: one request as one hop saw it, and its stable byte form.
