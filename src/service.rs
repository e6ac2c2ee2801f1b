//! The service as a whole: built in the order of the data, ended in the same order, so that nothing accepted is left.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use decode::fastly::Presets;
use decode::redact::RedactionRules;
use decode::{Redactor, Rules};
use spool::{FileLayer, Spool, StdFiles};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::access::{self, Role};
use crate::adopt::Adopter;
use crate::api::{self, Api};
use crate::backup::Backups;
use crate::books::Books;
use crate::config::{DEFAULT_TENANT, Limits, Reader, Settings, SourceKind};
use crate::correlate::{Correlator, StoreSource};
use crate::descriptors;
use crate::drain::Drain;
use crate::erase::{Eraser, Erasures};
use crate::export::Transport;
use crate::ingest::listen::Port;
use crate::ingest::{self, Intake, auth, files};
use crate::link::Link;
use crate::made_once;
use crate::metrics::Metrics;
use crate::reported;
use crate::ship::{LANES, Progress, SPOOL_SOURCE, Shipper};
use crate::shutdown::Signals;
use crate::telemetry::Telemetry;

/// Rows that one record may become in one insert: an event and four ids. Keeps every block below the engine's bound
/// of 1,048,449 rows for an atomic insert.
const SEGMENT_RECORDS: u32 = 200_000;

/// Runs until a signal, then drains.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    run_on(settings, Arc::new(StdFiles)).await
}

/// As [`run`], with the spool on a file layer of the caller's choice: how `verify` breaks the disk.
pub(crate) async fn run_on(settings: Settings, disk: Arc<dyn FileLayer>) -> anyhow::Result<()> {
    let telemetry = Telemetry::start(&settings.telemetry)?;
    // A second provider may be compiled in by a dependency; ours is the one that is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data_dir = &settings.data_dir;
    std::fs::create_dir_all(data_dir.join("positions")).with_context(|| {
        format!("cannot make the data directory {}: choose another with --data-dir", data_dir.display())
    })?;

    let audit = access::Audit::open(&settings.audit).with_context(|| {
        format!(
            "cannot write the audit log {}: set `audit.file`, or `audit.mode`",
            settings.audit.file.display()
        )
    })?;

    // Ports first: a taken one must be said before the engine takes its second to start.
    let metrics = Arc::new(Metrics::default());
    let connections = descriptors::connections(settings.limits.connections)?;
    let limits = &Limits { connections, ..settings.limits.clone() };
    let http = Port::bind(&settings.http, limits, Arc::clone(&metrics), "http.listen").await?;
    let grpc = Port::bind(&settings.grpc, limits, Arc::clone(&metrics), "grpc.listen").await?.for_a_mesh();

    // Before anything is accepted: a CA file that cannot be read is the operator's to mend.
    let export =
        settings.export.clone().map(|export| Transport::open(&export).map(|transport| (export, transport)));
    let export = export.transpose()?;

    let books = Arc::new(Books::default());
    // Before the first segment can be shipped: what is to be erased must not become rows.
    let erasures = Arc::new(Erasures::open(data_dir)?);
    let spool = open_spool(&settings, disk, &books).await?;
    let rules = Arc::new(rules(&settings)?);
    let redactor = Arc::new(rules.redactor.clone());
    let acceptor = Acceptor::new(
        rules,
        Arc::clone(&spool),
        settings.limits.in_flight_bytes,
        Arc::clone(&metrics),
        Arc::clone(&books),
    );
    let link = Link::open(&settings, Arc::clone(&metrics)).await?;

    let mut drain = Drain::new(&settings, Arc::clone(&spool), Arc::clone(&books));
    let progress = Arc::new(Progress::default());
    let readiness = api::Readiness::new(Arc::clone(&spool), Arc::clone(&progress), drain.leaving.clone());
    let intake = Intake {
        acceptor: acceptor.clone(),
        sources: Arc::new(auth::Sources::new(&settings, Arc::clone(&metrics), {
            let acceptor = acceptor.clone();
            move |source, refusal| acceptor.refuse(source, refusal)
        })),
        limits: settings.limits.clone(),
        challenge: settings.challenge.as_str().into(),
    };
    let api = Api::new(
        &settings,
        audit,
        link.store(),
        Arc::clone(&metrics),
        readiness.clone(),
        (Arc::clone(&erasures), redactor),
        Arc::new(Backups {
            data_dir: std::path::absolute(data_dir).context("tell the working directory")?,
            spool: Arc::clone(&spool),
            pauses: link.pauses(),
            one: tokio::sync::Semaphore::new(1),
        }),
    );

    let (http_address, grpc_address) = (http.address()?, grpc.address()?);
    let grpc_app = grpc_app(&intake, drain.streams(limits.stream_age));
    // Only gRPC connections age: an HTTP/1.1 client may lose the request that it sends into a closing connection.
    drain.servers.spawn(http.serve(http_app(&intake, api), Duration::ZERO, drain.ending.clone()));
    drain.servers.spawn(grpc.serve(grpc_app, limits.connection_age, drain.ending.clone()));
    // Ends with the runtime; it holds nothing that a drain would wait for.
    tokio::spawn(access::keep_current(settings.reread(), drain.stopping.clone()));
    drain.followers = follow_files(&settings, &acceptor, &drain.stopping);
    let (keeping, entries, until) = (Arc::clone(&books), Arc::clone(&spool), drain.stopping.clone());
    drain.followers.spawn(async move { keeping.keep(&entries, until).await });
    let looking =
        reported::watch(&settings, Arc::clone(&books), Arc::clone(&metrics), drain.stopping.clone())?;
    drain.followers.spawn(looking);
    announce(&settings, &link, http_address, grpc_address);

    let mut signals = Signals::watch().context("watch for signals")?;
    let prepared = tokio::select! {
        prepared = link.prepare(&settings) => prepared,
        signal = signals.requested() => {
            // Nothing ships yet: what was accepted waits in the spool for the next start.
            tracing::info!(signal, "draining; the store was not ready, so nothing is shipped");
            drain.run(&mut signals).await;
            link.close().await;
            tracing::info!("stopped");
            return Ok(());
        }
    };
    if let Err(error) = prepared {
        link.close().await;
        return Err(error);
    }
    let instance = instance(data_dir)?;
    let shipper = Arc::new(Shipper {
        store: link.store(),
        instance: instance.clone(),
        metrics: Arc::clone(&metrics),
        books: Arc::clone(&books),
        progress,
        held: Mutex::default(),
        recent: settings.correlate.on,
        erasures: Arc::clone(&erasures),
        // A server's disk is not ours to watch.
        floor: settings.store.url.is_none().then(|| (data_dir.clone(), settings.spool.min_free_bytes / 2)),
    });
    let eraser = Eraser {
        erasures: Arc::clone(&erasures),
        store: link.store(),
        spool: Arc::clone(&spool),
        instance: instance.clone(),
        shared: settings.store.url.is_some(),
        stopping: drain.stopping.clone(),
    };
    let erasing = tokio::spawn(eraser.run());
    for _ in 0..LANES {
        drain.shipping.spawn(Arc::clone(&shipper).run(Arc::clone(&spool)));
    }
    if !settings.spool.adopt.is_empty() {
        let (directories, options) = (settings.spool.adopt.clone(), spool_options(&settings));
        let stopping = drain.stopping.clone();
        drain.followers.spawn(Adopter { directories, options, shipper, stopping }.run());
    }
    let mut correlating = JoinSet::new();
    if settings.correlate.on {
        let correlator = Correlator {
            source: StoreSource::new(link.store()),
            instance,
            settings: settings.correlate.clone(),
            recent_hours: settings.retention.recent_hours,
            export,
            metrics,
            stopping: drain.stopping.clone(),
            erasures,
        };
        correlating.spawn(correlator.run());
    }
    readiness.prepared();

    let signal = signals.requested().await;
    tracing::info!(signal, "draining");
    drain.run(&mut signals).await;
    while correlating.join_next().await.is_some() {}
    drop(erasing.await);
    link.close().await;
    tracing::info!("stopped");
    drop(telemetry);
    Ok(())
}

async fn open_spool(
    settings: &Settings,
    disk: Arc<dyn FileLayer>,
    books: &Books,
) -> anyhow::Result<Arc<Spool>> {
    let options = spool_options(settings);
    let (spool, recovery) =
        Spool::open_on(disk, settings.data_dir.join("spool"), options).await.context("open the spool")?;
    tracing::info!(?recovery, "spool is open");
    let aside = recovery.set_aside.len() as u64;
    books.note(DEFAULT_TENANT, SPOOL_SOURCE, event::Counter::SetAside, aside);
    Ok(Arc::new(spool))
}

fn spool_options(settings: &Settings) -> spool::Options {
    spool::Options {
        segment_max_bytes: settings.spool.segment_bytes,
        segment_max_records: SEGMENT_RECORDS,
        segment_max_age: settings.spool.segment_age,
        max_bytes: settings.spool.max_bytes,
        when_full: settings.spool.when_full,
        min_free_bytes: settings.spool.min_free_bytes,
        payload_version: u32::from(event::wire::VERSION),
        ..spool::Options::default()
    }
}

fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let redaction = &settings.redaction;
    let key_file = redaction.key_file.clone().unwrap_or_else(|| settings.data_dir.join("subject.key"));
    let redactor = Redactor::new(&RedactionRules {
        subject_key: subject_key(&key_file)?,
        extra_names: redaction.extra_names.clone(),
        allow_names: redaction.allow_names.clone(),
    });
    let mut envoy = decode::envoy::Formats::istio_defaults();
    for format in &settings.envoy_formats {
        envoy = envoy.with_user(format).with_context(|| format!("envoy format string {format:?}"))?;
    }
    Ok(Rules { redactor, fastly: presets(settings)?, envoy })
}

/// The user's presets come before the built-in ones; a preset that a source names must exist.
fn presets(settings: &Settings) -> anyhow::Result<Presets> {
    let mut presets = Presets::built_in().context("read the built-in presets")?;
    for path in &settings.fastly_presets {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read the preset {}", path.display()))?;
        presets = presets.and_user(&text).with_context(|| format!("preset {}", path.display()))?;
    }
    for source in settings.sources.iter().filter(|source| !source.preset.is_empty()) {
        presets.find(&source.preset).with_context(|| format!("source `{}`", source.name))?;
    }
    Ok(presets)
}

/// The key of subject pseudonyms: 32 random bytes, made once. Whoever wants pseudonyms to agree over instances
/// configures one file for all of them.
///
/// An empty file is what an older version left where it was killed: no key was ever in it.
fn subject_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(key) if key.len() >= 16 => return Ok(key),
        Ok(key) if key.is_empty() => {
            std::fs::remove_file(path).with_context(|| format!("remove the empty {}", path.display()))?;
        }
        Ok(_) => anyhow::bail!("the key in {} is shorter than 16 bytes", path.display()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("read the key of subject pseudonyms {}", path.display()));
        }
        Err(_) => {}
    }
    let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    made_once::make(path, &key)
        .with_context(|| format!("write the key of subject pseudonyms {}", path.display()))?;
    Ok(key)
}

/// The instance's name in the store: random, kept with its spool.
fn instance(data_dir: &Path) -> anyhow::Result<String> {
    let path: PathBuf = data_dir.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        // As an older version left it where it was killed; instances without a name would pass for one.
        Ok(_) => {
            std::fs::remove_file(&path).with_context(|| format!("remove the empty {}", path.display()))?;
        }
        Err(_) => {}
    }
    let name = uuid::Uuid::new_v4().to_string();
    made_once::make(&path, name.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    Ok(name)
}

fn http_app(intake: &Intake, api: Api) -> Router {
    let ingest = ingest::fastly::routes().merge(ingest::lines::routes()).merge(ingest::otlp::http_routes());
    let asked = api::routes(api).layer(from_fn_with_state(api::Crowd::default(), api::take_turns));
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
    tracing::info!("HTTP on {}://{http} (Fastly, OTLP, lines, queries)", scheme(settings.http.tls.is_some()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_start_left_empty_is_made_anew_and_kept_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("subject.key");
        std::fs::write(&key, "").unwrap();
        std::fs::write(directory.path().join("instance"), "").unwrap();
        let (made, named) = (subject_key(&key).unwrap(), instance(directory.path()).unwrap());
        assert_eq!((made.len(), named.len()), (32, 36));
        assert_eq!((subject_key(&key).unwrap(), instance(directory.path()).unwrap()), (made, named));
        std::fs::write(&key, "short").unwrap();
        assert!(subject_key(&key).is_err(), "a key that somebody wrote is theirs to mend");
    }
}
