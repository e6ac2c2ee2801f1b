//! The link to the store: the embedded engine as a supervised child, or a ClickHouse server. Everyone else sees only
//! "the store as it is reachable now", which changes when the engine restarts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use engine::Supervisor;
use store::{Endpoint, Store};
use tokio::sync::watch;

use crate::config::{Migrate, Settings, StoreSettings};
use crate::metrics::Metrics;

/// Pause between tries to reach a server that is not there yet at start.
const SERVER_PAUSE: Duration = Duration::from_secs(1);

/// How the store is reached; the embedded engine lives as long as this.
pub(crate) struct Link {
    store: watch::Receiver<Option<Store>>,
    supervisor: Option<Supervisor>,
    /// Read-only ClickHouse port for people and Grafana, and its credentials file.
    pub(crate) public: Option<(String, PathBuf)>,
}

impl Link {
    /// Starts the engine or points at the server; does not wait for a server.
    pub(crate) async fn open(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        match &settings.store.url {
            Some(url) => Ok(Self::to_server(url, &settings.store)),
            None => Self::embedded(settings, metrics).await,
        }
    }

    fn to_server(url: &str, settings: &StoreSettings) -> Self {
        let store = Store::connect(Endpoint {
            url: url.to_owned(),
            user: settings.user.clone(),
            password: settings.password.expose().to_owned(),
            database: settings.database.clone(),
            cluster: settings.cluster.clone(),
            fsync: true,
        });
        Self { store: watch::channel(Some(store)).1, supervisor: None, public: None }
    }

    async fn embedded(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let library = library(&settings.store)?;
        let data = settings.data_dir.join("engine");
        let credentials = settings.data_dir.join("clickhouse-credentials");
        let mut options = engine::Options::new(library, data);
        options.limits.server_memory_bytes = settings.store.engine_memory_bytes;
        options.public_http = settings.store.engine_public_listen;
        options.public_credentials = Some(credentials.clone());
        options.insecure = settings.insecure;
        let program = std::env::current_exe().context("find this program, to start the engine from it")?;
        let supervisor = Supervisor::start(program, vec!["engine".to_owned()], options)
            .await
            .context("start the embedded engine")?;

        let mut endpoint = supervisor.endpoint();
        let database = settings.store.database.clone();
        let connect = move |endpoint: &engine::Endpoint| {
            Store::connect(Endpoint {
                url: endpoint.url.clone(),
                user: endpoint.user.clone(),
                password: endpoint.secret.clone(),
                database: database.clone(),
                cluster: None,
                fsync: true,
            })
        };
        let first = endpoint.borrow_and_update().clone();
        let public =
            first.as_ref().and_then(|first| first.public.clone()).map(|address| (address, credentials));
        let (sender, store) = watch::channel(first.as_ref().map(&connect));
        tokio::spawn(async move {
            while endpoint.changed().await.is_ok() {
                let now = endpoint.borrow_and_update().as_ref().map(&connect);
                if now.is_some() {
                    metrics.engine_restarted();
                }
                if sender.send(now).is_err() {
                    return;
                }
            }
        });
        Ok(Self { store, supervisor: Some(supervisor), public })
    }

    /// The store as it is reachable now, and as it changes.
    pub(crate) fn store(&self) -> watch::Receiver<Option<Store>> {
        self.store.clone()
    }

    /// How the embedded engine is ended for a while; `None` for a server.
    pub(crate) fn pauses(&self) -> Option<engine::Pauses> {
        self.supervisor.as_ref().map(Supervisor::pauses)
    }

    /// Brings the schema up to date, or checks it; waits for a server that is not there yet.
    pub(crate) async fn prepare(&self, settings: &Settings) -> anyhow::Result<()> {
        loop {
            let Some(store) = self.store.borrow().clone() else {
                tokio::time::sleep(SERVER_PAUSE).await;
                continue;
            };
            let prepared = match settings.store.migrate {
                Migrate::Auto => store.migrate(&settings.retention).await.map(|report| {
                    tracing::info!(statements = report.applied.len(), "schema is current");
                }),
                Migrate::Off => store.check_schema().await,
            };
            match prepared {
                Ok(()) => return Ok(()),
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, "store is not ready; what comes in waits in the spool");
                    tokio::time::sleep(SERVER_PAUSE).await;
                }
                Err(error) => return Err(error).context("prepare the store's schema"),
            }
        }
    }

    /// Ends the engine.
    pub(crate) async fn close(self) {
        if let Some(supervisor) = self.supervisor {
            supervisor.stop().await;
        }
    }
}

/// Where `libchdb.so` is: configured, or where set-up puts it.
pub(crate) fn library(settings: &StoreSettings) -> anyhow::Result<PathBuf> {
    locate_library(settings.engine_lib.as_deref())
}

/// As [`library`], for `throughline engine`, which has no configuration file.
pub(crate) fn locate_library(configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = configured.map(Path::to_owned).or_else(engine_in_cache).context(
        "no engine library: run scripts/engine-lib to fetch it, set `engine.lib` (THROUGHLINE_ENGINE_LIB), \
         or give --store URL of a ClickHouse server",
    )?;
    anyhow::ensure!(
        path.is_file(),
        "no engine library at {}: run scripts/engine-lib to fetch it, or give --store URL of a ClickHouse server",
        path.display()
    );
    Ok(path)
}

/// The cache that `scripts/engine-lib` fills; the version is the one that this build was tried with.
fn engine_in_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("THROUGHLINE_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("throughline")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/throughline")))?;
    Some(cache.join("chdb-26.7.3-stable.1/libchdb.so"))
}
