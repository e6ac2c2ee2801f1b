//! The ids that one hop event carries, and which of them may bridge.

use correlation::{Id, IdKind};
use event::{HopEvent, Notes};

/// The ids of one event: what a row of the id table says, or the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventIds {
    /// The event's key: rows of one event are told by it.
    pub event_key: u64,
    /// Values by [`IdKind::ALL`]; 0 where the event has none.
    pub values: [u128; 4],
    /// Whether the id at the same place is weak: it gathers candidates, it never bridges.
    pub weak: [bool; 4],
}

impl EventIds {
    /// Every id that is there, strongest kind first.
    pub fn all(&self) -> impl Iterator<Item = (IdKind, u128)> {
        let values = self.values;
        IdKind::ALL.into_iter().zip(values).filter(|&(_, value)| value != 0)
    }

    /// The ids that may say "the same request": not weak, and not a trace id, which spans many requests.
    pub fn bridging(&self) -> impl Iterator<Item = (IdKind, u128)> {
        let strong = self.weak.map(|weak| !weak);
        IdKind::ALL
            .into_iter()
            .zip(self.values)
            .zip(strong)
            .filter(|&((kind, value), strong)| strong && value != 0 && kind != IdKind::Trace)
            .map(|(id, _)| id)
    }

    /// The value of one kind where it is not weak; 0 otherwise.
    pub(crate) fn strong(&self, wanted: IdKind) -> u128 {
        self.bridging().find(|&(kind, _)| kind == wanted).map_or(0, |(_, value)| value)
    }

    /// The value of one kind; 0 if there is none.
    pub fn value(&self, kind: IdKind) -> u128 {
        self.all().find(|&(other, _)| other == kind).map_or(0, |(_, value)| value)
    }
}

impl From<&HopEvent<'_>> for EventIds {
    fn from(event: &HopEvent<'_>) -> Self {
        let values = [event.correlation_id, event.request_id, event.edge_request_id, event.trace_id];
        let weak = if event.notes.contains(Notes::WEAK_ID) {
            IdKind::ALL.map(|kind| written_weak(event, kind))
        } else {
            [false; 4]
        };
        Self { event_key: event.event_key, values, weak }
    }
}

/// The note does not say which id is weak; the id's text does. A UUID or hex id has no text beside it and is strong.
fn written_weak(event: &HopEvent<'_>, kind: IdKind) -> bool {
    event
        .attributes
        .iter()
        .find(|(name, _)| name == kind.name())
        .is_some_and(|(_, text)| Id::parse(kind, text).is_none_or(|id| id.weak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_names_no_id_but_the_text_does() {
        let event = HopEvent {
            correlation_id: 7,
            edge_request_id: 9,
            notes: Notes::WEAK_ID,
            attributes: vec![("edge_request_id".into(), "974e67f6".into())],
            ..HopEvent::default()
        };
        let bridging: Vec<_> = EventIds::from(&event).bridging().collect();
        assert_eq!(bridging, [(IdKind::Correlation, 7)]);
    }

    #[test]
    fn a_trace_id_is_an_id_that_does_not_bridge() {
        let ids = EventIds::from(&HopEvent { trace_id: 5, request_id: 6, ..HopEvent::default() });
        assert_eq!(ids.all().count(), 2);
        assert_eq!(ids.bridging().collect::<Vec<_>>(), [(IdKind::Request, 6)]);
        assert_eq!(ids.value(IdKind::Trace), 5);
    }
}
