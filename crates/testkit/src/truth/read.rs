//! Deliveries back to events, by the real decoders.

use decode::envoy::{AlsStream, Formats, decode_lines};
use decode::fastly::{PresetError, Presets};
use decode::{Redactor, Rules, Sink, fastly, otlp};
use event::{HopEvent, Reject};

use super::contract::{Delivery, Wire};
use super::owned::owned;

/// What a delivery decodes to.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// In the order of the delivery.
    pub events: Vec<HopEvent<'static>>,
    /// What each record that could not be read lacks; a scenario has none.
    pub rejects: Vec<String>,
}

impl Sink for Decoded {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.events.push(owned(event));
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.rejects.push(format!("{}: {}", reject.format, reject.detail));
    }
}

/// The rules that a service without configuration decodes by.
pub fn rules() -> Result<Rules, PresetError> {
    Ok(Rules {
        redactor: Redactor::default(),
        fastly: Presets::built_in()?,
        envoy: Formats::istio_defaults(),
    })
}

/// Decodes a delivery.
pub fn decoded(delivery: &Delivery, rules: &Rules) -> Decoded {
    let mut found = Decoded::default();
    let envelope = decode::Delivery {
        tenant: "default",
        source: delivery.format.name(),
        received_ns: delivery.received_ns,
        id: delivery.id,
        origin: &delivery.origin,
    };
    match delivery.format {
        Wire::FastlyLines => fastly::decode(&delivery.body, &envelope, rules, &mut found),
        Wire::IstioText | Wire::IstioJson => decode_lines(&delivery.body, &envelope, rules, &mut found),
        Wire::Als => AlsStream::new("truth").decode(&delivery.body, &envelope, rules, &mut found),
        Wire::OtlpLogs => _ = otlp::decode_protobuf(&delivery.body, &envelope, rules, &mut found),
    }
    found
}

/// Which true view an event is a record of; `None` for an event that is not of a scenario.
pub fn tag_of(event: &HopEvent<'_>) -> Option<u32> {
    let tag = |text: &str| text.strip_prefix("probe/")?.parse().ok();
    tag(&event.user_agent).or_else(|| tag(&event.route))
}
