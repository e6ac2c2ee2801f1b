//! Bytes of one delivery to hop events and rejects; pure, no IO, no clock.
