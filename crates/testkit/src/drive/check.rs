//! The sink that holds every event and reject to its promises.

use decode::coerce::{MAX_ATTRIBUTES, MAX_TEXT_BYTES};
use decode::{Redactor, Sink};
use event::{HopEvent, Notes, Precision, Record, Reject, wire};

pub(super) const TENANT: &str = "tenant-of-the-token";
pub(super) const SOURCE: &str = "source-of-the-listener";
pub(super) const RECEIVED_NS: i64 = 1_770_699_936_000_000_000;

/// A text is cut to its bound before secrets in it are replaced; a mark is longer than the shortest secret is.
pub(super) const MOST_TEXT_BYTES: usize = MAX_TEXT_BYTES * 4;

/// Longest detail of a reject: a sentence, with a name or number of the sender's in it.
const MOST_DETAIL_BYTES: usize = 1024;

/// Counts what comes and checks it.
pub(super) struct Checking {
    payload_bytes: u64,
    wire: Vec<u8>,
    pub(super) events: u64,
    pub(super) rejects: u64,
}

impl Checking {
    pub(super) fn new(payload: &[u8]) -> Self {
        Self { payload_bytes: payload.len() as u64, wire: Vec::new(), events: 0, rejects: 0 }
    }

    /// No record is without at least one byte of the payload.
    fn count_is_sane(&self) {
        assert!(self.events + self.rejects <= self.payload_bytes + 1, "more records than bytes");
    }
}

impl Sink for Checking {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.events += 1;
        self.count_is_sane();
        assert_eq!((&*event.tenant, &*event.source, event.received_ns), (TENANT, SOURCE, RECEIVED_NS));
        assert!(!event.format.is_empty(), "an event that nothing read");
        assert_ne!(event.start_ns, 0, "a record without a time has that of its receipt");
        if event.notes.contains(Notes::TIME_MISSING) {
            assert_eq!((event.start_ns, event.start_precision), (RECEIVED_NS, Precision::Received));
        }
        assert!(
            event.sample_rate.is_finite() && event.sample_rate >= 0.0,
            "sample rate {}",
            event.sample_rate
        );
        assert!(event.status < 1000, "status {}", event.status);
        assert!(event.request_id_reason < 16);
        let known = Notes::ALL.iter().fold(0, |bits, (note, _)| bits | note.0);
        assert_eq!(event.notes.0 & !known, 0, "a note without a name");
        texts_are_bounded(event);
        self.wire.clear();
        wire::put_event(event, &mut self.wire);
        match wire::read(&self.wire) {
            Ok(Record::Event(again)) => assert_eq!(*again, *event, "not the same after the spool"),
            other => panic!("an event of this build is not read back: {other:?}"),
        }
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.rejects += 1;
        self.count_is_sane();
        assert_eq!((&*reject.tenant, &*reject.source, reject.received_ns), (TENANT, SOURCE, RECEIVED_NS));
        assert!(!reject.detail.is_empty() && reject.detail.len() <= MOST_DETAIL_BYTES, "{}", reject.detail);
        assert!(reject.offset <= self.payload_bytes, "offset {} of {}", reject.offset, self.payload_bytes);
        let kept = (reject.length as usize).min(Reject::MAX_BYTES);
        redacted(kept, &reject.bytes);
        self.wire.clear();
        wire::put_reject(&reject, &mut self.wire);
        match wire::read(&self.wire) {
            Ok(Record::Reject(again)) => assert_eq!(again, reject, "not the same after the spool"),
            other => panic!("a reject of this build is not read back: {other:?}"),
        }
    }
}

/// What the redactor gives for `input_bytes`: at most a mark for each byte, so never unbounded.
pub(super) fn redacted(input_bytes: usize, out: &[u8]) {
    assert!(
        out.len() <= input_bytes * (Redactor::MARK.len() + 1),
        "{input_bytes} bytes became {}",
        out.len()
    );
}

fn texts_are_bounded(event: &HopEvent<'_>) {
    macro_rules! bounded { ($($field:ident)*) => { $(
        let length = event.$field.len();
        assert!(length <= MOST_TEXT_BYTES, concat!(stringify!($field), " has {} bytes"), length);
    )* }; }
    bounded!(format log_type method scheme host path query upstream_path protocol response_flags details
        termination_details transport_failure route user_agent referer content_type forwarded_for downstream_remote
        downstream_local upstream_remote upstream_local upstream_cluster sni tls_version tls_cipher ja3 ja4
        downstream_peer upstream_peer country pop server service_id service_version cache_state cache_result node pod
        namespace workload workload_revision mesh_cluster service peer_workload peer_namespace verdict verdict_rule
        verdict_reason policy_version subject issuer key_id);
    // One more may say what became of the others.
    assert!(event.attributes.len() <= MAX_ATTRIBUTES + 1, "{} attributes", event.attributes.len());
    for (name, text) in &event.attributes {
        assert!(name.len() <= MOST_TEXT_BYTES, "the name of an attribute has {} bytes", name.len());
        assert!(text.len() <= MOST_TEXT_BYTES, "attribute {name} has {} bytes", text.len());
    }
}
