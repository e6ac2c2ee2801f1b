//! Fastly's log lines, in whatever field set they come: a [preset](Presets) is found by the keys of a record, or
//! chosen for the source, and says which key fills which field.
//!
//! A record is read on its own: nothing carries over from one to the next but knowledge that only saves time (the
//! order of keys, the plan of a field set), so any order and any split of a body gives the same events.

mod body;
mod json;
mod map;
mod normalize;
mod plan;
mod preset;
mod repair;
mod shape;
mod skeleton;
mod target;
mod text;
mod url;

pub use preset::{PresetError, PresetId, Presets};

use crate::{Delivery, Rules, Sink};

/// Decodes a decompressed body of Fastly's HTTPS endpoint, a file of it, or lines of it. Field sets are told apart by
/// their keys.
pub fn decode(payload: &[u8], delivery: &Delivery<'_>, rules: &Rules, sink: &mut dyn Sink) {
    decode_with(payload, None, delivery, rules, sink);
}

/// As [`decode`], for a source whose preset is configured: that one reads every JSON record, whatever its keys.
pub fn decode_with(
    payload: &[u8],
    preset: Option<PresetId>,
    delivery: &Delivery<'_>,
    rules: &Rules,
    sink: &mut dyn Sink,
) {
    body::Decoder::new(preset, delivery, rules).run(payload, sink);
}
