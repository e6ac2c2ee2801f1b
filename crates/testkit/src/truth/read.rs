//! Deliveries back to events, by the real decoders.

use decode::envoy::{AlsStream, Formats, decode_lines};
use decode::fastly::{PresetError, Presets};
use decode::{Redactor, Rules, Sink, fastly, otlp};
use event::key::{Place, event_key};
use event::{HopEvent, Reject};

use super::contract::{Delivery, Wire};

/// What a delivery decodes to.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// In the order of the delivery.
    pub events: Vec<HopEvent<'static>>,
    /// What each record that could not be read lacks; a scenario has none.
    pub rejects: Vec<String>,
}

/// The attribute that holds the tag after decoding: no event key and no assembly looks at it.
const TAG: &str = "probe.tag";

/// Takes what the decoders give, and the tags out of every field that could tell an assembly which record is which.
struct Collecting {
    found: Decoded,
    delivery: u128,
}

impl Sink for Collecting {
    fn event(&mut self, event: &HopEvent<'_>) {
        let mut event = event.clone().into_owned();
        if let Some(tag) = written_tag(&event) {
            // With the tag in it the key would tell records apart that no real sender does.
            event.user_agent = if event.user_agent.is_empty() { "" } else { "probe" }.into();
            if event.route.starts_with(PREFIX) {
                event.route = "".into();
            }
            event.attributes.push((TAG.into(), tag.to_string().into()));
            let index = self.found.events.len() as u64;
            event.event_key = event_key(&event, Place { delivery: self.delivery, index });
        }
        self.found.events.push(event);
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.found.rejects.push(format!("{}: {}", reject.format, reject.detail));
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

/// Decodes a delivery. Its tags are moved to where only [`tag_of`] looks, and the event keys made again without them.
pub fn decoded(delivery: &Delivery, rules: &Rules) -> Decoded {
    let mut found = Collecting { found: Decoded::default(), delivery: delivery.id };
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
    found.found
}

const PREFIX: &str = "probe/";

/// Which true view an event is a record of, decoded here or by a running service; `None` for an event that is not of a
/// scenario.
pub fn tag_of(event: &HopEvent<'_>) -> Option<u32> {
    let kept = event.attributes.iter().find(|(name, _)| name == TAG);
    match kept {
        Some((_, tag)) => tag.parse().ok(),
        None => written_tag(event),
    }
}

/// The tag as the senders write it.
fn written_tag(event: &HopEvent<'_>) -> Option<u32> {
    let tag = |text: &str| text.strip_prefix(PREFIX)?.parse().ok();
    tag(&event.user_agent).or_else(|| tag(&event.route))
}
