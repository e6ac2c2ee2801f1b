//! `GET /api/v1/service`: what this instance says of itself, for `throughline doctor`. No secret, and of the sources
//! only those of the caller's tenant.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::{DiskAnswer, EntranceAnswer, PortAnswer, ServiceAnswer, StoreAnswer, time_text};
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::Role;
use crate::config::{Listen, Settings, SourceKind};

/// What does not change while the instance runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    answer: ServiceAnswer,
    /// Inputs with their tenants.
    entrances: Vec<(String, EntranceAnswer)>,
    data_dir: PathBuf,
}

impl Standing {
    /// `http` and `grpc` are where the ports really listen; `engine` is the engine's port for people.
    pub(crate) fn new(
        settings: &Settings,
        http: SocketAddr,
        grpc: SocketAddr,
        engine: Option<String>,
    ) -> Self {
        let port = |listen: &Listen, at: SocketAddr| PortAnswer {
            listen: at.to_string(),
            tls: listen.tls.is_some(),
            client_certificates: listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        };
        let kinds = [SourceKind::Fastly, SourceKind::Envoy, SourceKind::Als, SourceKind::Otlp];
        let entrances = kinds.iter().flat_map(|&kind| settings.sources_of(kind)).map(|source| {
            let answer = EntranceAnswer {
                source: source.name,
                kind: source.kind.name().to_owned(),
                needs_token: source.tokens.is_some(),
                header: source.header,
                is_bounded: source.addresses.is_some() || !source.client_name.is_empty(),
            };
            (source.tenant, answer)
        });
        let answer = ServiceAnswer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            http: port(&settings.http, http),
            grpc: port(&settings.grpc, grpc),
            engine_port: engine,
            disk: DiskAnswer {
                min_free_bytes: settings.spool.min_free_bytes,
                spool_most_bytes: settings.spool.max_bytes,
                ..DiskAnswer::default()
            },
            store: StoreAnswer { embedded: settings.store.url.is_none(), ..StoreAnswer::default() },
            challenge: settings.challenge.lines().map(str::to_owned).collect(),
            exporting: settings.export.is_some(),
            ..ServiceAnswer::default()
        };
        Self { answer, entrances: entrances.collect(), data_dir: settings.data_dir.clone() }
    }
}

/// This instance: ports, disk, store, sources.
#[utoipa::path(
    get,
    path = "/api/v1/service",
    responses(
        (status = 200, description = "The instance that answers", body = ServiceAnswer),
        (status = 403, description = "The reader has not the role", body = Problem),
    )
)]
pub(super) async fn service(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Json<ServiceAnswer>, Problem> {
    let tenant = api.reader(&headers, Role::Search)?.tenant;
    let standing = &api.standing;
    let mut answer = standing.answer.clone();
    answer.now = time_text(unix_ns());
    answer.disk.spool_used_bytes = api.readiness.spool().used_bytes;
    if let Ok(told) = rustix::fs::statvfs(&standing.data_dir) {
        answer.disk.free_bytes = Some(told.f_bavail.saturating_mul(told.f_frsize));
        answer.disk.total_bytes = Some(told.f_blocks.saturating_mul(told.f_frsize));
    }
    // A store that is away is part of the answer.
    if let Ok(store) = api.store()
        && let (Ok(version), Ok(schema)) = (store.server_version().await, store.schema_state().await)
    {
        answer.store.version = Some(version);
        answer.store.schema_statements = schema.statements as u64;
        answer.store.schema_missing = schema.missing.into_iter().map(str::to_owned).collect();
        answer.store.schema_unknown = schema.unknown;
    }
    let own = standing.entrances.iter().filter(|(of, _)| **of == *tenant);
    answer.sources = own.map(|(_, entrance)| entrance.clone()).collect();
    Ok(Json(answer))
}
