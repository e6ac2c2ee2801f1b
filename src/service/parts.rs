//! What there is before anybody is served: whatever can be wrong with configuration, files and ports is said here.

use std::sync::Arc;

use anyhow::Context as _;
use decode::Redactor;
use spool::{FileLayer, Spool};

use super::first_start::instance;
use super::rules::rules;
use crate::accept::{Acceptor, Gate};
use crate::access::Audit;
use crate::books::Books;
use crate::config::{DEFAULT_TENANT, ExportSettings, Limits, Settings};
use crate::erase::Erasures;
use crate::export::Transport;
use crate::ingest::auth::network_sources;
use crate::ingest::{descriptors, listen::Port};
use crate::link::Link;
use crate::metrics::Metrics;
use crate::ship::SPOOL_SOURCE;

/// Rows that one record may become in one insert: an event and four ids. Keeps every block below the engine's bound
/// of 1,048,449 rows for an atomic insert.
const SEGMENT_RECORDS: u32 = 200_000;

/// Both ports, bound and not serving yet.
pub(super) struct Ports {
    pub(super) http: Port,
    pub(super) grpc: Port,
}

/// What more than one stage of the service uses.
pub(super) struct Parts {
    pub(super) metrics: Arc<Metrics>,
    pub(super) books: Arc<Books>,
    pub(super) erasures: Arc<Erasures>,
    pub(super) spool: Arc<Spool>,
    pub(super) acceptor: Acceptor,
    pub(super) redactor: Arc<Redactor>,
    pub(super) audit: Option<Audit>,
    pub(super) export: Option<(ExportSettings, Transport)>,
    pub(super) link: Link,
    /// This instance's name in the store.
    pub(super) instance: String,
}

/// Opens everything, in an order in which the quick mistakes are told first. The engine comes last: it takes a second.
pub(super) async fn open(settings: &Settings, disk: Arc<dyn FileLayer>) -> anyhow::Result<(Ports, Parts)> {
    let data_dir = &settings.data_dir;
    std::fs::create_dir_all(data_dir.join("positions")).with_context(|| {
        format!("cannot make the data directory {}: choose another with --data-dir", data_dir.display())
    })?;
    let audit = Audit::open(&settings.audit).with_context(|| {
        format!(
            "cannot write the audit log {}: set `audit.file`, or `audit.mode`",
            settings.audit.file.display()
        )
    })?;
    let metrics = Arc::new(Metrics::default());
    let ports = bind(settings, &metrics).await?;
    // Before anything is accepted: a CA file that cannot be read is the operator's to mend.
    let export =
        settings.export.clone().map(|export| Transport::open(&export).map(|transport| (export, transport)));
    let export = export.transpose()?;

    let books = Arc::new(Books::default());
    // Before the first segment can be shipped: what is to be erased must not become rows.
    let erasures = Arc::new(Erasures::open(data_dir)?);
    let spool = open_spool(settings, disk, &books).await?;
    let rules = Arc::new(rules(settings)?);
    let redactor = Arc::new(rules.redactor.clone());
    let gate = Gate::new(settings.limits.in_flight_bytes, network_sources(settings).count());
    let acceptor = Acceptor::new(rules, Arc::clone(&spool), gate, Arc::clone(&metrics), Arc::clone(&books));
    let instance = instance(data_dir)?;
    let link = Link::open(settings, Arc::clone(&metrics)).await?;
    let parts = Parts { metrics, books, erasures, spool, acceptor, redactor, audit, export, link, instance };
    Ok((ports, parts))
}

async fn bind(settings: &Settings, metrics: &Arc<Metrics>) -> anyhow::Result<Ports> {
    let connections = descriptors::connections(settings.limits.connections)?;
    let limits = Limits { connections, ..settings.limits.clone() };
    let http = Port::bind(&settings.http, &limits, Arc::clone(metrics), "http.listen").await?;
    let grpc = Port::bind(&settings.grpc, &limits, Arc::clone(metrics), "grpc.listen").await?.for_a_mesh();
    Ok(Ports { http, grpc })
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

pub(super) fn spool_options(settings: &Settings) -> spool::Options {
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
