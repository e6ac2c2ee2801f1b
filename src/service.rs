//! The service as a whole: built in the order of the data, ended in the same order, so that nothing accepted is left.

mod drain;
mod first_start;
mod parts;
mod rules;
mod signals;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use spool::{FileLayer, StdFiles};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::access::{self, Role};
use crate::api::{self, Api, Readiness};
use crate::backup::Backups;
use crate::books::reported;
use crate::config::{Reader, Settings, SourceKind};
use crate::correlate::{Correlator, StoreSource};
use crate::erase::Eraser;
use crate::ingest::{self, Intake, auth, files};
use crate::link::Link;
use crate::page;
use crate::ship::{Adopter, LANES, Progress, RoomKeeper, Shipper};
use crate::telemetry::Telemetry;
use drain::Drain;
use parts::{Parts, Ports};
pub(crate) use signals::Signals;

/// Runs until a signal, then drains.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    run_on(settings, Arc::new(StdFiles)).await
}

/// As [`run`], with the spool on a file layer of the caller's choice: how `verify` breaks the disk.
pub(crate) async fn run_on(settings: Settings, disk: Arc<dyn FileLayer>) -> anyhow::Result<()> {
    // Lives to the end, which is when the service's own spans go out.
    let _telemetry = Telemetry::start(&settings.telemetry)?;
    // A second provider may be compiled in by a dependency; ours is the one that is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (ports, mut parts) = parts::open(&settings, disk).await?;
    let mut drain = Drain::new(&settings, Arc::clone(&parts.spool), Arc::clone(&parts.books));
    let progress = Arc::new(Progress::default());
    let readiness = Readiness::new(Arc::clone(&parts.spool), Arc::clone(&progress), drain.leaving.clone());

    receive(&settings, ports, &mut parts, &readiness, &mut drain)?;
    let mut signals = Signals::watch().context("watch for signals")?;
    let prepared = tokio::select! {
        prepared = parts.link.prepare(&settings) => prepared.map(|()| None),
        signal = signals.requested() => Ok(Some(signal)),
    };
    match prepared {
        Ok(None) => {
            let mut readers = ship(&settings, &mut parts, progress, &mut drain);
            readiness.prepared();
            let signal = signals.requested().await;
            tracing::info!(signal, "draining");
            drain.run(&mut signals).await;
            while readers.join_next().await.is_some() {}
        }
        Ok(Some(signal)) => {
            // Nothing ships yet: what was accepted waits in the spool for the next start.
            tracing::info!(signal, "draining; the store was not ready, so nothing is shipped");
            drain.run(&mut signals).await;
        }
        Err(error) => {
            parts.link.close().await;
            return Err(error);
        }
    }
    parts.link.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the doors: deliveries are accepted from here on, and questions answered as far as there is a store.
fn receive(
    settings: &Settings,
    ports: Ports,
    parts: &mut Parts,
    readiness: &Readiness,
    drain: &mut Drain,
) -> anyhow::Result<()> {
    let intake = Intake {
        acceptor: parts.acceptor.clone(),
        sources: Arc::new(auth::Sources::new(settings, parts.acceptor.gate(), Arc::clone(&parts.metrics), {
            let acceptor = parts.acceptor.clone();
            move |source, refusal| acceptor.refuse(source, refusal)
        })),
        limits: settings.limits.clone(),
        challenge: settings.challenge.as_str().into(),
    };
    let backups = Backups {
        data_dir: std::path::absolute(&settings.data_dir).context("tell the working directory")?,
        spool: Arc::clone(&parts.spool),
        pauses: parts.link.pauses(),
        one: tokio::sync::Semaphore::new(1),
    };
    let (http_address, grpc_address) = (ports.http.address()?, ports.grpc.address()?);
    let public = parts.link.public.as_ref().map(|(address, _)| address.clone());
    let api = Api::new(
        settings,
        parts.audit.take(),
        parts.link.store(),
        Arc::clone(&parts.metrics),
        readiness.clone(),
        (Arc::clone(&parts.erasures), Arc::clone(&parts.redactor)),
        Arc::new(backups),
    )
    .standing(api::Standing::new(settings, http_address, grpc_address, public));

    let (limits, ending) = (&settings.limits, &drain.ending);
    let grpc_app = grpc_app(&intake, drain.streams(limits.stream_age));
    // Only gRPC connections age: an HTTP/1.1 client may lose the request that it sends into a closing connection.
    let http =
        ports.http.serve(http_app(&intake, api, settings.http.tls.is_some()), Duration::ZERO, ending.clone());
    let grpc = ports.grpc.serve(grpc_app, limits.connection_age, ending.clone());
    drain.servers.spawn(http);
    drain.servers.spawn(grpc);
    // Ends with the runtime; it holds nothing that a drain would wait for.
    tokio::spawn(access::keep_current(settings.reread(), drain.stopping.clone()));
    drain.followers = follow_files(settings, &parts.acceptor, &drain.stopping);
    let (books, spool, until) = (Arc::clone(&parts.books), Arc::clone(&parts.spool), drain.stopping.clone());
    drain.followers.spawn(async move { books.keep(&spool, until).await });
    let (books, metrics) = (Arc::clone(&parts.books), Arc::clone(&parts.metrics));
    drain.followers.spawn(reported::watch(settings, books, metrics, drain.stopping.clone())?);
    announce(settings, &parts.link, http_address, grpc_address);
    Ok(())
}

/// Moves segments into the store, and starts what reads them there: the tasks that a drain waits for last.
fn ship(settings: &Settings, parts: &mut Parts, progress: Arc<Progress>, drain: &mut Drain) -> JoinSet<()> {
    let is_embedded = settings.store.url.is_none();
    let full = Arc::<AtomicBool>::default();
    let shipper = Arc::new(Shipper {
        store: parts.link.store(),
        instance: parts.instance.clone(),
        metrics: Arc::clone(&parts.metrics),
        books: Arc::clone(&parts.books),
        progress,
        held: Mutex::default(),
        recent: settings.correlate.on,
        erasures: Arc::clone(&parts.erasures),
        // A server's disk is not ours to watch.
        floor: is_embedded.then(|| (settings.data_dir.clone(), settings.spool.min_free_bytes / 2)),
        full: Arc::clone(&full),
    });
    for _ in 0..LANES {
        drain.shipping.spawn(Arc::clone(&shipper).run(Arc::clone(&parts.spool)));
    }
    if !settings.spool.adopt.is_empty() {
        let (directories, options) = (settings.spool.adopt.clone(), parts::spool_options(settings));
        let stopping = drain.stopping.clone();
        drain.followers.spawn(Adopter { directories, options, shipper, stopping }.run());
    }
    let mut readers = JoinSet::new();
    let room = RoomKeeper {
        store: parts.link.store(),
        max_bytes: settings.store_max_bytes,
        full,
        metrics: Arc::clone(&parts.metrics),
        stopping: drain.stopping.clone(),
    };
    readers.spawn(room.run());
    let eraser = Eraser {
        erasures: Arc::clone(&parts.erasures),
        store: parts.link.store(),
        spool: Arc::clone(&parts.spool),
        instance: parts.instance.clone(),
        shared: !is_embedded,
        stopping: drain.stopping.clone(),
    };
    readers.spawn(eraser.run());
    if settings.correlate.on {
        let correlator = Correlator {
            source: StoreSource::new(parts.link.store()),
            instance: parts.instance.clone(),
            settings: settings.correlate.clone(),
            recent_hours: settings.retention.recent_hours,
            export: parts.export.take(),
            metrics: Arc::clone(&parts.metrics),
            stopping: drain.stopping.clone(),
            erasures: Arc::clone(&parts.erasures),
        };
        readers.spawn(correlator.run());
    }
    readers
}

fn http_app(intake: &Intake, api: Api, is_tls: bool) -> Router {
    let ingest = ingest::fastly::routes().merge(ingest::lines::routes()).merge(ingest::otlp::http_routes());
    let asked = api::routes(api.clone()).merge(page::routes(api, is_tls));
    let asked = asked.layer(from_fn_with_state(api::Crowd::default(), api::take_turns));
    ingest.with_state(intake.clone()).merge(asked).layer(map_response(api::as_called))
}

fn grpc_app(intake: &Intake, streams: ingest::als::Streams) -> Router {
    ingest::als::routes(streams).merge(ingest::otlp::grpc_routes()).with_state(intake.clone())
}

fn follow_files(settings: &Settings, acceptor: &Acceptor, stopping: &CancellationToken) -> JoinSet<()> {
    let mut followers = JoinSet::new();
    for source in settings.sources.iter().filter(|source| source.kind == SourceKind::File) {
        let positions = settings.data_dir.join("positions");
        followers.spawn(files::follow(
            Arc::new(source.clone()),
            acceptor.clone(),
            positions,
            stopping.clone(),
        ));
    }
    followers
}

fn announce(settings: &Settings, link: &Link, http: SocketAddr, grpc: SocketAddr) {
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    tracing::info!(
        "HTTP on {}://{http} (Fastly, OTLP, lines, queries; a page at /)",
        scheme(settings.http.tls.is_some())
    );
    tracing::info!("gRPC on {}://{grpc} (Envoy ALS, OTLP)", scheme(settings.grpc.tls.is_some()));
    if let Some((address, credentials)) = &link.public {
        tracing::info!(
            "ClickHouse, read-only, on http://{address}, user and password in {}",
            credentials.display()
        );
    }
    let is_masked = |reader: &Reader| !reader.roles.allow(Role::Personal);
    if link.public.is_some() && settings.readers.iter().any(is_masked) {
        tracing::warn!(
            "the engine's port shows personal fields to whoever has its password, whatever the roles of readers; \
             `engine.public_listen = \"\"` switches it off"
        );
    }
    if settings.insecure {
        tracing::warn!("--insecure: ports are open without TLS or tokens to whoever reaches them");
    }
}
