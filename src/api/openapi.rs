//! The description of the query API, generated from handlers and answer types; `schemas/openapi.json` is this, and a
//! test holds it current.

use axum::Json;
use utoipa::OpenApi as _;

/// Everything under `/api/v1`.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Throughline query API",
        description = "Hop events and traces joined from Fastly and Envoy logs.",
        license(name = "Apache-2.0")
    ),
    paths(
        super::traces::trace,
        super::traces::why,
        super::events::events,
        super::rejects::rejects,
        super::sources::sources,
        super::ledger::ledger,
        super::coverage::coverage,
        super::service::service,
        super::erase::erase,
        super::erase::receipt,
        super::backup::backup,
    ),
    components(schemas(super::Problem))
)]
struct Description;

/// Answers with the document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_tree_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.json");
        let generated = Description::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == generated,
            "schemas/openapi.json is old: run UPDATE_SCHEMAS=1 cargo test --bin throughline openapi"
        );
    }
}
