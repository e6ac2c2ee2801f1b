//! `POST /api/v1/backup`: a copy of the data directory, made by the running service.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{Api, Problem};
use crate::access::Role;
use crate::backup::{BackupError, Manifest};

/// Where to.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupQuery {
    /// An absolute path on the machine of the service, outside of its data directory, where nothing is yet.
    pub(crate) directory: String,
}

/// Backs up every tenant's data. Questions are refused with 503 while the engine is away; deliveries are accepted.
#[utoipa::path(
    post,
    path = "/api/v1/backup",
    request_body = BackupQuery,
    responses(
        (status = 200, description = "What the backup holds", body = Manifest),
        (status = 400, description = "Not a place for a backup", body = Problem),
        (status = 401, description = "Token missing or unknown", body = Problem),
        (status = 403, description = "The reader is no admin", body = Problem),
        (status = 503, description = "The engine or the disk does not allow it now", body = Problem),
    )
)]
pub(super) async fn backup(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Json<BackupQuery>, JsonRejection>,
) -> Result<Json<Manifest>, Problem> {
    let caller = api.reader(&headers, Role::Admin)?;
    let Json(query) = body.map_err(|error| Problem::bad_request(&error.body_text()))?;
    tracing::info!(by = %caller.name, directory = query.directory, "a backup begins");
    // A task of its own: whoever asked may go, and the engine must not stay away.
    let made = tokio::spawn(Arc::clone(&api.backups).make(PathBuf::from(query.directory)));
    let made =
        made.await.map_err(|_| Problem::unavailable("the backup ended; the service's log says why"))?;
    made.map(Json).map_err(|error| match error {
        BackupError::Place => Problem::bad_request(&error.to_string()),
        BackupError::Busy | BackupError::Engine => Problem::unavailable(&error.to_string()),
        // The path is the asker's own.
        BackupError::Disk { .. } => {
            tracing::error!(%error, "a backup failed; what it wrote is no backup and can be deleted");
            Problem::unavailable(&format!("the backup failed: {error}"))
        }
    })
}
