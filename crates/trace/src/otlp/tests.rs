//! Requests as OTLP spans.
