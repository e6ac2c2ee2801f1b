//! Ids of a request: parsing, traceparent, minting; no IO.
