//! Which source a request is from: by the token it presents, and by the name in its path.

use std::sync::Arc;

use axum::http::HeaderMap;

use crate::api::Problem;
use crate::config::{Settings, Source, SourceKind};

/// The configured network sources.
pub(crate) struct Sources {
    all: Vec<Arc<Source>>,
}

impl Sources {
    pub(crate) fn new(settings: &Settings) -> Self {
        let kinds = [SourceKind::Fastly, SourceKind::Envoy, SourceKind::Als, SourceKind::Otlp];
        Self { all: kinds.iter().flat_map(|&kind| settings.sources_of(kind)).map(Arc::new).collect() }
    }

    /// The source of a kind (and name, where the path gives one) that the request's token opens.
    pub(crate) fn admit(
        &self,
        kind: SourceKind,
        name: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Arc<Source>, Problem> {
        let mut named = self
            .all
            .iter()
            .filter(|source| source.kind == kind && name.is_none_or(|name| name == source.name))
            .peekable();
        if named.peek().is_none() {
            let what = name.unwrap_or(kind.name());
            return Err(Problem::not_found(&format!(
                "no source `{what}` of kind `{}` is configured: add a [[source]] with that name and kind",
                kind.name()
            )));
        }
        named.find(|source| opens(source, headers)).map(Arc::clone).ok_or_else(|| {
            Problem::unauthorized(
                "the token is missing or wrong: send the source's token in its configured header",
            )
        })
    }
}

fn opens(source: &Source, headers: &HeaderMap) -> bool {
    let Some(token) = &source.token else { return true };
    headers.get(&source.header).is_some_and(|value| token.admits(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::Secret;

    fn sources() -> Sources {
        let with_token = |name: &str, token: &str| {
            let mut source = Source::open(SourceKind::Fastly, name);
            source.token = Some(Secret::from(token.to_owned()));
            source.tenant = name.to_owned();
            Arc::new(source)
        };
        Sources { all: vec![with_token("a", "token-of-tenant-a"), with_token("b", "token-of-tenant-b")] }
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn the_token_chooses_the_source() {
        let sources = sources();
        for value in ["Bearer token-of-tenant-b", "token-of-tenant-b", "bearer  token-of-tenant-b "] {
            assert_eq!(sources.admit(SourceKind::Fastly, None, &headers(value)).unwrap().tenant, "b");
        }
    }

    #[test]
    fn a_name_in_the_path_does_not_replace_its_token() {
        let sources = sources();
        let refused = sources.admit(SourceKind::Fastly, Some("a"), &headers("Bearer token-of-tenant-b"));
        assert_eq!(refused.unwrap_err().status(), 401);
        assert_eq!(sources.admit(SourceKind::Fastly, Some("c"), &headers("x")).unwrap_err().status(), 404);
        assert_eq!(sources.admit(SourceKind::Fastly, None, &HeaderMap::new()).unwrap_err().status(), 401);
    }
}
