//! The open connections of a port: so many and no more, and none that only takes a place.
//!
//! At the bound a newcomer takes the place of the connection that has been idle the longest; those that never asked
//! anything go first. So ten thousand idle connections lock nobody out, wherever they come from: a cap for each address
//! would not have helped there, and would have locked out all senders behind one balancer. A connection with a request
//! under way never gives way: how long that may take is bounded by [`super::pace`].
//!
//! A connection ends by an error of its stream, which is what a peer that vanishes looks like: every layer above has
//! the way to clean up after that.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::Metrics;

/// A connection without one whole request head by then only takes a place. Clients that connect in advance come again.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// A peer that has taken nothing of what we write for so long never will; the answer is memory until then.
const STALLED_FOR: Duration = Duration::from_secs(30);
/// How often the above is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of how many connections one gives way at a time when the bound is met: looking through all of them for each
/// newcomer would be what a flood of newcomers wants.
const GIVE_WAY_SHARE: usize = 256;

/// The open connections of one port.
pub(super) struct Connections {
    most: usize,
    began: Instant,
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Arc<Connection>>,
}

/// One connection, as its port sees it. Times are milliseconds since the port began.
#[derive(Default)]
struct Connection {
    opened_ms: u64,
    has_asked: AtomicBool,
    running: AtomicUsize,
    idle_since_ms: AtomicU64,
    /// Since when a write waits for the peer; 0 for none.
    stalled_since_ms: AtomicU64,
    ended: AtomicBool,
    waker: AtomicWaker,
}

impl Connection {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Connections {
    pub(super) fn new(most: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { most, began: Instant::now(), open: Mutex::default(), metrics })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Each change below is one insert or remove.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A place for a newcomer, if need be that of others. `None` where every connection is at work.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Arc<Place>> {
        let now_ms = self.now_ms();
        let mut open = self.open();
        if open.all.len() >= self.most {
            let mut idle: Vec<(bool, u64, u64)> = open
                .all
                .iter()
                .filter(|(_, one)| one.running.load(Ordering::Acquire) == 0)
                .map(|(id, one)| {
                    let (asked, since) = (&one.has_asked, &one.idle_since_ms);
                    (asked.load(Ordering::Relaxed), since.load(Ordering::Relaxed), *id)
                })
                .collect();
            let give_way = (self.most / GIVE_WAY_SHARE).max(1).min(idle.len());
            if give_way == 0 {
                self.metrics.connection_ended("refused", 1);
                return None;
            }
            idle.select_nth_unstable(give_way - 1);
            for (_, _, id) in &idle[..give_way] {
                if let Some(one) = open.all.remove(id) {
                    one.end();
                }
            }
            self.metrics.connection_ended("gave_way", give_way as u64);
        }
        let id = open.next;
        open.next += 1;
        let connection = Arc::new(Connection {
            opened_ms: now_ms,
            idle_since_ms: AtomicU64::new(now_ms),
            ..Connection::default()
        });
        open.all.insert(id, Arc::clone(&connection));
        Some(Arc::new(Place { id, connection, connections: Arc::clone(self) }))
    }

    /// Ends what is silent or stalled, for ever. To be dropped with the port.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            self.look(self.now_ms());
        }
    }

    fn look(&self, now_ms: u64) {
        let silent = |one: &Connection| {
            !one.has_asked.load(Ordering::Relaxed)
                && now_ms.saturating_sub(one.opened_ms) >= SILENT_FOR.as_millis() as u64
        };
        let stalled = |one: &Connection| match one.stalled_since_ms.load(Ordering::Relaxed) {
            0 => false,
            since => now_ms.saturating_sub(since) >= STALLED_FOR.as_millis() as u64,
        };
        for one in self.open().all.values().filter(|one| !one.ended.load(Ordering::Relaxed)) {
            let why = match (silent(one), stalled(one)) {
                (true, _) => "silent",
                (_, true) => "stalled",
                _ => continue,
            };
            one.end();
            self.metrics.connection_ended(why, 1);
        }
    }
}

/// A connection's place among the others, until its stream and its service are dropped.
pub(super) struct Place {
    id: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().all.remove(&self.id);
    }
}

/// A stream that breaks when its connection is told to end, and tells when its peer takes nothing.
pub(super) struct Watched<I> {
    stream: I,
    place: Arc<Place>,
}

impl<I> Watched<I> {
    pub(super) fn new(stream: I, place: &Arc<Place>) -> Self {
        Self { stream, place: Arc::clone(place) }
    }

    fn poll_ended(&self, context: &Context<'_>) -> io::Result<()> {
        let connection = &self.place.connection;
        connection.waker.register(context.waker());
        match connection.ended.load(Ordering::Acquire) {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "gave way to others")),
            false => Ok(()),
        }
    }

    fn wrote<T>(&self, outcome: Poll<T>) -> Poll<T> {
        let stalled = &self.place.connection.stalled_since_ms;
        match outcome {
            // Only the first of several tries counts.
            Poll::Pending if stalled.load(Ordering::Relaxed) == 0 => {
                stalled.store(self.place.connections.now_ms(), Ordering::Relaxed);
            }
            Poll::Pending => {}
            Poll::Ready(_) => stalled.store(0, Ordering::Relaxed),
        }
        outcome
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_ended(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_ended(context)?;
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_ended(context)?;
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection's service; says when the connection is at work.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    place: Arc<Place>,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, place: &Arc<Place>) -> Self {
        Self { service, place: Arc::clone(place) }
    }
}

/// A request under way.
struct Running(Arc<Place>);

impl Running {
    fn begin(place: &Arc<Place>) -> Self {
        place.connection.has_asked.store(true, Ordering::Relaxed);
        place.connection.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(place))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.connection.idle_since_ms.store(self.0.connections.now_ms(), Ordering::Relaxed);
        self.0.connection.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<S, R> tower::Service<R> for Counted<S>
where
    S: tower::Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let running = Running::begin(&self.place);
        let answer = self.service.call(request);
        Box::pin(async move {
            let answered = answer.await;
            drop(running);
            answered
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(most: usize) -> Arc<Connections> {
        Connections::new(most, Arc::default())
    }

    fn ended(place: &Place) -> bool {
        place.connection.ended.load(Ordering::Relaxed)
    }

    #[test]
    fn the_longest_idle_gives_way_and_the_silent_before_it() {
        let port = port(3);
        let place = || port.admit().unwrap();
        let (worker, asker, silent) = (place(), place(), place());
        let at_work = Running::begin(&worker);
        drop(Running::begin(&asker));
        let fourth = place();
        assert_eq!((ended(&worker), ended(&asker), ended(&silent)), (false, false, true));
        let _fourth_at_work = Running::begin(&fourth);
        let fifth = place();
        assert!(ended(&asker));
        let _fifth_at_work = Running::begin(&fifth);
        assert!(port.admit().is_none(), "who is at work is not cut off");
        drop(at_work);
        assert!(port.admit().is_some());
        assert!(ended(&worker));
        // Places that were given away are not given back; the fourth and the fifth are at work.
        drop((worker, asker, silent));
        assert_eq!(port.open().all.len(), 2);
    }

    #[test]
    fn silent_and_stalled_ones_end_and_others_do_not() {
        let port = port(10);
        let place = || port.admit().unwrap();
        let (silent, asked, stalled) = (place(), place(), place());
        for place in [&asked, &stalled] {
            drop(Running::begin(place));
        }
        stalled.connection.stalled_since_ms.store(port.now_ms(), Ordering::Relaxed);
        port.look(port.now_ms() + 29_000);
        assert!(!ended(&silent) && !ended(&stalled));
        port.look(port.now_ms() + 30_001);
        assert_eq!((ended(&silent), ended(&asked), ended(&stalled)), (true, false, true));
    }
}
