//! Which source a request is from: by the token it presents, by the name in its path, and by where it comes from.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue};

use super::peer::Peer;
use crate::accept::{Gate, Hold, Refusal, Share, Stranger, unix_ns};
use crate::access::{AddressList, Bucket, TokenHash, origin};
use crate::api::Problem;
use crate::config::{Settings, Source, SourceKind};
use crate::metrics::Metrics;

/// A source that is presented its token from elsewhere is told of in the log so often.
const WARN_EVERY_S: u64 = 60;

/// The configured network sources.
pub(crate) struct Sources {
    all: Vec<Arc<Entrance>>,
    proxies: Option<Arc<AddressList>>,
    /// Counts a refusal, and hands it on.
    count: Count,
    metrics: Arc<Metrics>,
}

type Count = Box<dyn Fn(&Source, Refusal) -> Refusal + Send + Sync>;

/// A source, and what is counted of it while the service runs.
struct Entrance {
    source: Arc<Source>,
    bucket: Option<Bucket>,
    share: Share,
    warned_s: AtomicU64,
}

/// A sender that was let in as a source.
#[derive(Clone)]
pub(crate) struct Admitted {
    entrance: Arc<Entrance>,
    /// What opened the source, where it needs a token.
    token: Option<TokenHash>,
}

impl Deref for Admitted {
    type Target = Arc<Source>;

    fn deref(&self) -> &Self::Target {
        &self.entrance.source
    }
}

impl Admitted {
    /// Whether the token that opened the source is still one of its tokens: a stream may outlive a rotation.
    pub(crate) fn is_welcome(&self) -> bool {
        match (&self.entrance.source.tokens, self.token) {
            (Some(tokens), Some(token)) => tokens.holds(token),
            _ => true,
        }
    }

    /// Refuses where the source is over its rate.
    pub(crate) fn check_rate(&self) -> Result<(), Refusal> {
        let wait = self.entrance.bucket.as_ref().and_then(|bucket| bucket.wait(Instant::now()));
        wait.map_or(Ok(()), |after| Err(Refusal::TooFast(after)))
    }

    /// An empty hold of what the source may have in memory.
    pub(crate) fn hold(&self) -> Hold {
        self.entrance.share.hold()
    }

    /// The largest delivery that ever fits, as it is held: packed and unpacked.
    pub(crate) fn most_bytes(&self) -> usize {
        self.entrance.share.most_bytes()
    }

    /// Waits until the source is within its rate, for transports that push back. Cancel-safe.
    pub(crate) async fn within_rate(&self) {
        while let Err(Refusal::TooFast(after)) = self.check_rate() {
            tokio::time::sleep(after).await;
        }
    }

    /// Counts bytes as sent.
    pub(crate) fn sent(&self, bytes: usize) {
        if let Some(bucket) = &self.entrance.bucket {
            bucket.spend(bytes, Instant::now());
        }
    }
}

impl Sources {
    /// `count` is told of whoever has the token and is refused all the same.
    pub(crate) fn new(
        settings: &Settings,
        gate: &Gate,
        metrics: Arc<Metrics>,
        count: impl Fn(&Source, Refusal) -> Refusal + Send + Sync + 'static,
    ) -> Self {
        let all = network_sources(settings).map(|source| Entrance::new(source, gate.share())).collect();
        Self { all, proxies: settings.trusted_proxies.clone(), count: Box::new(count), metrics }
    }

    /// The source of a kind (and name, where the path gives one) that the request may send to.
    pub(crate) fn admit(
        &self,
        kind: SourceKind,
        name: Option<&str>,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Admitted, Problem> {
        let mut named = self
            .all
            .iter()
            .filter(|entrance| {
                entrance.source.kind == kind && name.is_none_or(|name| name == entrance.source.name)
            })
            .peekable();
        if named.peek().is_none() {
            self.metrics.turned_away(kind, "no_source");
            let what = name.unwrap_or(kind.name());
            return Err(Problem::not_found(&format!(
                "no source `{what}` of kind `{}` is configured: add a [[source]] with that name and kind",
                kind.name()
            )));
        }
        let from = origin(peer.address, headers, self.proxies.as_deref());
        let mut problem = None;
        for entrance in named {
            match entrance.opens(headers, peer, from) {
                Ok(admitted) => return Ok(admitted),
                // Whoever has a source's token is told what that source lacks.
                Err(Some(refusal)) => {
                    let refusal = (self.count)(&entrance.source, refusal);
                    entrance.warn(&refusal, from);
                    problem.get_or_insert_with(|| Problem::from(&refusal));
                }
                Err(None) => {}
            }
        }
        Err(problem.unwrap_or_else(|| {
            self.metrics.turned_away(kind, "wrong_token");
            Problem::unauthorized(
                "the token is missing or wrong: send the source's token in its configured header",
            )
        }))
    }
}

/// What is received over a socket, by kind.
pub(crate) fn network_sources(settings: &Settings) -> impl Iterator<Item = Source> {
    [SourceKind::Fastly, SourceKind::Envoy, SourceKind::Als, SourceKind::Otlp]
        .into_iter()
        .flat_map(|kind| settings.sources_of(kind))
}

impl Entrance {
    fn new(source: Source, share: Share) -> Arc<Self> {
        let rate = source.rate;
        let bucket = rate.map(|rate| Bucket::new(rate.bytes_per_s, rate.burst_bytes, Instant::now()));
        Arc::new(Self { source: Arc::new(source), bucket, share, warned_s: AtomicU64::new(0) })
    }

    /// Whether the source is the sender's. `Err(None)`: it is somebody else's, and nothing is said of it.
    fn opens(
        self: &Arc<Self>,
        headers: &HeaderMap,
        peer: &Peer,
        from: IpAddr,
    ) -> Result<Admitted, Option<Refusal>> {
        let source = &self.source;
        let token = match &source.tokens {
            None => None,
            Some(tokens) => {
                let presented = headers.get(&source.header).map(HeaderValue::as_bytes).ok_or(None)?;
                Some(tokens.admits(presented, now_s()).ok_or(None)?)
            }
        };
        if source.addresses.as_ref().is_some_and(|addresses| !addresses.contains(from)) {
            return Err(Some(Refusal::Stranger { by: Stranger::Address, has_token: token.is_some() }));
        }
        if !source.client_name.is_empty() && !peer.is_named(&source.client_name) {
            return Err(Some(Refusal::Stranger { by: Stranger::Certificate, has_token: token.is_some() }));
        }
        Ok(Admitted { entrance: Arc::clone(self), token })
    }

    fn warn(&self, refusal: &Refusal, from: IpAddr) {
        let (now, last) = (now_s(), self.warned_s.load(Ordering::Relaxed));
        let is_due = now.saturating_sub(last) >= WARN_EVERY_S;
        if is_due && self.warned_s.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(source = self.source.name, %from, %refusal, "a sender is not let in");
        }
    }
}

fn now_s() -> u64 {
    (unix_ns() / 1_000_000_000).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::keyring;

    fn sources(change: impl Fn(&mut Source)) -> Sources {
        let with_token = |name: &str, token: &str| {
            let mut source = Source::open(SourceKind::Fastly, name);
            source.tokens = Some(keyring::of(token));
            source.tenant = name.to_owned();
            change(&mut source);
            Entrance::new(source, Gate::new(1 << 20, 2).share())
        };
        Sources {
            all: vec![with_token("a", "token-of-tenant-a"), with_token("b", "token-of-tenant-b")],
            proxies: None,
            count: Box::new(|_, refusal| refusal),
            metrics: Arc::default(),
        }
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::AUTHORIZATION, value.parse().unwrap())])
    }

    fn from(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), names: None }
    }

    #[test]
    fn the_token_chooses_the_source() {
        let (sources, peer) = (sources(|_| {}), from("127.0.0.1:9"));
        for value in ["Bearer token-of-tenant-b", "token-of-tenant-b", "bearer  token-of-tenant-b "] {
            let admitted = sources.admit(SourceKind::Fastly, None, &headers(value), &peer).ok().unwrap();
            assert_eq!(admitted.tenant, "b");
        }
    }

    #[test]
    fn a_name_in_the_path_does_not_replace_its_token() {
        let (sources, peer) = (sources(|_| {}), from("127.0.0.1:9"));
        let status = |name: Option<&str>, headers: &HeaderMap| {
            sources.admit(SourceKind::Fastly, name, headers, &peer).map(|_| ()).unwrap_err().status().as_u16()
        };
        assert_eq!(status(Some("a"), &headers("Bearer token-of-tenant-b")), 401);
        assert_eq!(status(Some("c"), &headers("x")), 404);
        assert_eq!(status(None, &HeaderMap::new()), 401);
    }

    #[test]
    fn who_has_the_token_and_comes_from_elsewhere_may_come_again_and_a_stranger_not() {
        let listed = |source: &mut Source| {
            let list = AddressList::new(&["192.0.2.0/24".to_owned()], None).unwrap().unwrap();
            source.addresses = Some(Arc::new(list));
        };
        let status = |sources: &Sources, peer: &str, token: &str| {
            let admitted = sources.admit(SourceKind::Fastly, Some("a"), &headers(token), &from(peer));
            admitted.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        let with_tokens = sources(listed);
        assert_eq!(status(&with_tokens, "[::ffff:192.0.2.7]:9", "token-of-tenant-a"), 200);
        assert_eq!(status(&with_tokens, "198.51.100.7:9", "token-of-tenant-a"), 503);
        assert_eq!(status(&with_tokens, "198.51.100.7:9", "wrong"), 401, "nothing is said of the list");
        let open = sources(|source| {
            listed(source);
            source.tokens = None;
        });
        assert_eq!(status(&open, "198.51.100.7:9", ""), 403);
        assert_eq!(status(&open, "192.0.2.7:9", ""), 200);
    }

    #[test]
    fn one_source_over_its_rate_leaves_the_other_alone() {
        let sources = sources(|source| {
            if source.name == "a" {
                source.rate = Some(crate::config::Rate { bytes_per_s: 10, burst_bytes: 100 });
            }
        });
        let admit = |token: &str| {
            sources.admit(SourceKind::Fastly, None, &headers(token), &from("127.0.0.1:9")).ok().unwrap()
        };
        admit("token-of-tenant-a").sent(1_000);
        assert!(matches!(admit("token-of-tenant-a").check_rate(), Err(Refusal::TooFast(_))));
        admit("token-of-tenant-b").sent(1_000_000);
        assert!(admit("token-of-tenant-b").check_rate().is_ok());
    }
}
