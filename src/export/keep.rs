//! Which requests are exported: rules that look at the request, and a share of the rest by a hash of the trace id, so
//! that every instance decides alike and the requests of one trace stay together.

use trace::otlp::is_error;
use trace::{Request, Span};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::Keep;

impl Keep {
    /// The rule that keeps a request, if one does.
    pub(crate) fn rule(&self, request: &Request, trace_id: u128) -> Option<&'static str> {
        let events = || request.spans.iter().flat_map(Span::records);
        if self.in_share(trace_id) {
            Some("share")
        } else if self.errors && events().any(is_error) {
            Some("errors")
        } else if self.denials && events().any(|event| !matches!(&*event.verdict, "" | "allow")) {
            Some("denials")
        } else if self.slow.is_some_and(|slow| {
            let longest_ns = events().filter_map(|event| event.duration_ns).max().unwrap_or(0);
            u128::from(longest_ns) > slow.as_nanos()
        }) {
            Some("slow")
        } else {
            None
        }
    }

    /// The hash of a trace id is spread evenly, however its maker draws them.
    fn in_share(&self, trace_id: u128) -> bool {
        let drawn = xxh3_64(&trace_id.to_be_bytes()) as f64 / 2f64.powi(64);
        self.share >= 1.0 || drawn < self.share
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event::{Hop, HopEvent};
    use trace::Moment;

    use super::*;

    const NONE: Keep = Keep { share: 0.0, errors: true, denials: true, slow: None };

    fn request(event: HopEvent<'static>) -> Request {
        let event = HopEvent { hop: Hop::Gateway, correlation_id: 1, event_key: 1, ..event };
        trace::requests(vec![event], Moment::FINAL).remove(0)
    }

    #[test]
    fn a_request_is_kept_for_what_happened_to_it() {
        let rule = |keep: Keep, event| keep.rule(&request(event), 7);
        let fine = || HopEvent { status: 200, duration_ns: Some(2_000_000_000), ..HopEvent::default() };
        assert_eq!(rule(NONE, fine()), None);
        assert_eq!(rule(NONE, HopEvent { status: 503, ..fine() }), Some("errors"));
        assert_eq!(rule(NONE, HopEvent { status: 403, verdict: "deny".into(), ..fine() }), Some("denials"));
        assert_eq!(rule(NONE, HopEvent { verdict: "allow".into(), ..fine() }), None);
        let slow = |ms| Keep { slow: Some(Duration::from_millis(ms)), ..NONE };
        assert_eq!((rule(slow(1999), fine()), rule(slow(2000), fine())), (Some("slow"), None));
        let off = Keep { errors: false, denials: false, ..NONE };
        assert_eq!(rule(off, HopEvent { status: 503, verdict: "deny".into(), ..fine() }), None);
    }

    #[test]
    fn a_share_is_that_share_and_the_same_every_time() {
        let keep = Keep { share: 0.25, ..NONE };
        let kept = |from: u128| (from..from + 10_000).filter(|&id| keep.in_share(id)).count();
        assert!((2300..2700).contains(&kept(0)), "{}", kept(0));
        assert_eq!(kept(0), kept(0));
        assert!(!NONE.in_share(1) && Keep { share: 1.0, ..NONE }.in_share(1));
    }
}
