//! The table of configuration keys: name, default, what it is for and why the default is what it is.

/// What every environment variable of ours begins with.
pub(crate) const VARIABLE_PREFIX: &str = "THROUGHLINE_";

/// Variables with our prefix that are read elsewhere: the CLI's target and token, the file of `--config`, set-up.
const OTHER_VARIABLES: &[&str] = &[
    "THROUGHLINE_URL",
    "THROUGHLINE_GRPC_URL",
    "THROUGHLINE_TOKEN",
    "THROUGHLINE_CONFIG",
    "THROUGHLINE_CACHE_DIR",
    "THROUGHLINE_ENVOY",
    "THROUGHLINE_ROTEL",
    "THROUGHLINE_KUBECTL",
    "THROUGHLINE_KUBERNETES_SCHEMAS",
    "THROUGHLINE_CARGO_DENY",
    "THROUGHLINE_VICEROY",
    "THROUGHLINE_VICEROY_JOBS",
    "THROUGHLINE_EDGE_WASM",
    "THROUGHLINE_BOARD_TOOLS",
    "THROUGHLINE_WASM_FROM_PACKAGES",
    "THROUGHLINE_FAKETIME",
    "THROUGHLINE_HADOLINT",
    "THROUGHLINE_CHECK_JSONSCHEMA",
    "THROUGHLINE_INGEST_TOKEN",
    "THROUGHLINE_LOGS_URL",
    "THROUGHLINE_ENGINE_SECRET",
];

/// Whether a variable with our prefix is not ours to judge: read elsewhere, or made by Kubernetes for a service that
/// is called `throughline` (`THROUGHLINE_SERVICE_HOST`, `THROUGHLINE_PORT_8080_TCP_ADDR`).
pub(super) fn is_foreign(name: &str) -> bool {
    let from_kubernetes =
        name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT");
    OTHER_VARIABLES.contains(&name) || from_kubernetes
}

/// One key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Dotted name in TOML.
    pub(crate) name: &'static str,
    /// Value where nobody says otherwise.
    pub(crate) default: &'static str,
    /// Never shown by `--print-config`.
    pub(crate) secret: bool,
    /// What it is for, and the reason of the default.
    pub(crate) doc: &'static str,
}

impl Key {
    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }
}

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default, secret: false, doc }
}

const fn secret(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: "", secret: true, doc }
}

/// Every key, in the order in which they are shown.
pub(crate) const KEYS: &[Key] = &[
    key("data_dir", "data", "Directory for spool, positions and the embedded engine's data."),
    key("insecure", "false", "Serve other addresses than loopback without TLS and tokens. For trials only."),
    key(
        "http.listen",
        "127.0.0.1:8080",
        "Fastly, OTLP/HTTP, lines, query API, metrics. Loopback: safe without tokens.",
    ),
    key("http.tls_cert", "", "PEM chain; with http.tls_key makes the port https, which Fastly requires."),
    key("http.tls_key", "", "PEM key of http.tls_cert. Both files are read again when they change."),
    key(
        "http.client_ca",
        "",
        "PEM of the CA that client certificates must be of (Fastly's mTLS option). Empty: none is asked for.",
    ),
    key("grpc.listen", "127.0.0.1:4317", "Envoy ALS and OTLP/gRPC; 4317 is OTLP's registered port."),
    key("grpc.tls_cert", "", "PEM chain for the gRPC port."),
    key("grpc.tls_key", "", "PEM key for the gRPC port."),
    key(
        "grpc.client_ca",
        "",
        "PEM of the CA that clients' certificates must be of. Empty: none is asked for.",
    ),
    key(
        "trusted_proxies",
        "",
        "Networks of proxies before both ports, comma-separated, whose X-Forwarded-For is believed. Empty: none.",
    ),
    key(
        "audit.mode",
        "auto",
        "Log of who looked up what: `required`: a lookup that cannot be logged is refused; `best_effort`; `off`. `auto`: required where readers are configured.",
    ),
    key("audit.file", "", "Where it goes, one JSON object a line. Empty: audit.log in data_dir."),
    key("audit.max_bytes", "64MiB", "Size at which the file is rotated: some 200,000 lookups."),
    key("audit.files", "8", "Rotated files that are kept beside the current one."),
    key("limits.body", "100MiB", "Largest request body as sent. Fastly sends at most 100 MB by default."),
    key(
        "limits.unpacked",
        "256MiB",
        "Largest body after decompression. 100 MB of JSON lines pack 2-20 to 1; a bomb stops here.",
    ),
    key(
        "limits.in_flight",
        "384MiB",
        "Bytes of deliveries held at once, packed and unpacked. Over it: 503 and Retry-After. Sources own a sixteenth of it, in equal parts; the rest is common.",
    ),
    key(
        "limits.grpc_message",
        "16MiB",
        "Largest gRPC message. Envoy sends 16 KiB batches after a first of 80 KiB.",
    ),
    key(
        "limits.connections",
        "12000",
        "Connections per port; one costs about 18 KiB. At it those that are idle the longest give way.",
    ),
    key(
        "limits.patience",
        "15s",
        "How long headers may take, and a body that comes slower than 8 KiB a second. The worst link needs a second.",
    ),
    key(
        "limits.stream_age",
        "10m",
        "Age (give or take a fifth) at which an ALS stream is ended, so that new instances get their share. `0s`: never.",
    ),
    key(
        "limits.connection_age",
        "30m",
        "Age at which a connection of the gRPC port is asked to go (GOAWAY), for balancers that place connections. `0s`: never.",
    ),
    key("limits.answer_rows", "10000", "Most rows that one answer of the query API may have."),
    key(
        "spool.max_bytes",
        "8GiB",
        "Disk that waiting segments may take: 20 million records at 411 bytes, six hours of a store outage at a thousand a second. Over it: 503.",
    ),
    key(
        "spool.when_full",
        "refuse",
        "At that size: `refuse` what comes, with 503, or `drop_oldest`: delete the oldest segments unshipped, counted as lost.",
    ),
    key(
        "spool.min_free",
        "0B",
        "Room on the disk that the spool leaves to others, the engine above all: below it 503. Below half of it nothing is shipped to the engine.",
    ),
    key(
        "spool.segment_bytes",
        "32MiB",
        "A segment is sealed at this size: one insert of up to 100,000 events, read back in whole.",
    ),
    key(
        "spool.segment_age",
        "1s",
        "A segment is sealed at this age: what an engineer waits for a fresh record.",
    ),
    key(
        "spool.adopt",
        "",
        "Data directories of other instances, comma-separated: a spool there whose owner is dead is shipped from here, once.",
    ),
    key("store.url", "", "ClickHouse server's HTTP address. Empty: the embedded engine."),
    key("store.user", "default", "User of the ClickHouse server."),
    secret("store.password", "Password of the ClickHouse server."),
    key("store.database", "throughline", "Database of all tables."),
    key(
        "store.cluster",
        "",
        "Cluster name: the same schema as Replicated and Distributed tables. Unproved on a real cluster.",
    ),
    key(
        "store.migrate",
        "auto",
        "`auto` brings the schema up to date at start, under a lock; `off` refuses to start on an old schema.",
    ),
    key(
        "engine.lib",
        "",
        "Path of libchdb.so. Empty: $THROUGHLINE_ENGINE_LIB, then the cache that set-up fills.",
    ),
    key(
        "engine.memory",
        "2GiB",
        "Memory limit of the embedded engine. 600 MiB to 1.1 GiB were seen under load.",
    ),
    key(
        "engine.public_listen",
        "127.0.0.1:8123",
        "Read-only ClickHouse port for people and Grafana. Empty: none.",
    ),
    key(
        "fastly.services",
        "",
        "Fastly service ids, comma-separated, whose challenge is answered; `*` for any. Empty: `*` on loopback, none elsewhere.",
    ),
    key(
        "fastly.presets",
        "",
        "Files with field mappings of your own, comma-separated, in the form of schemas/fastly/*.toml.",
    ),
    key("redaction.key_file", "", "File with the key of subject pseudonyms. Empty: made once in data_dir."),
    key("redaction.extra_names", "", "More names whose values are secrets, comma-separated."),
    key("redaction.allow_names", "", "Names that look secret and are not, comma-separated."),
    key(
        "retention.attributes_days",
        "7",
        "Days that attributes are kept: the bulkiest, the least asked for.",
    ),
    key("retention.events_days", "30", "Days that hop events are kept."),
    key("retention.errors_days", "90", "Days that errors and denials are kept."),
    key("retention.rejects_days", "14", "Days that rejects are kept."),
    key("retention.rollups_days", "400", "Days that per-minute sums are kept: a year to compare with."),
    key(
        "retention.recent_hours",
        "2",
        "Hours that correlation can go back, and so a trace receiver may be away. Only filled while correlation is on.",
    ),
    key(
        "retention.max_bytes",
        "",
        "Disk that the store's tables may take. Over it the oldest days go; where today's alone are too much, shipping waits. Empty: no bound.",
    ),
    key(
        "correlate.mode",
        "auto",
        "`auto`: requests are put together as they settle where traces are exported; `on`: also without export, to learn clock skew.",
    ),
    key(
        "correlate.settle",
        "15s",
        "A request is settled when no record of it was shipped for so long. Fastly delivers every few seconds, ALS every second.",
    ),
    key(
        "correlate.memory",
        "512MiB",
        "What requests that have not settled may take: a million events. At it correlation reads no further, and its lag shows.",
    ),
    key(
        "export.mode",
        "off",
        "Traces over OTLP: `off`, `fill` (only hops that no tracer reported) or `all`. The same on every instance of a store.",
    ),
    key(
        "export.endpoint",
        "",
        "URL of the OTLP receiver. For http/protobuf without a path, /v1/traces is added.",
    ),
    key("export.protocol", "grpc", "`grpc` or `http/protobuf`."),
    secret(
        "export.headers",
        "Headers sent with every request, such as `authorization=Bearer T,x-scope=shop`.",
    ),
    key("export.compression", "gzip", "`gzip` or `none`. Spans of one request pack some ten to one."),
    key(
        "export.ca_file",
        "",
        "PEM file with the certificates to trust. Empty: Mozilla's roots, compiled in.",
    ),
    key("export.timeout", "10s", "How long one request to the receiver may take; OTLP's own default."),
    key(
        "export.keep.share",
        "1",
        "Share of requests that are exported, by a hash of the trace id: the same on every instance.",
    ),
    key("export.keep.errors", "true", "Export requests with an error at any hop, whatever the share."),
    key(
        "export.keep.denials",
        "true",
        "Export requests that a policy point did not let pass, whatever the share.",
    ),
    key(
        "export.keep.slow",
        "",
        "Export requests that took longer, such as `1s`, whatever the share. Empty: no such rule.",
    ),
    key(
        "stats.interval",
        "60s",
        "Between two looks at what senders report of themselves (`stats` of a source).",
    ),
    key("telemetry.log", "info", "What the service says of itself on stderr; tracing's filter syntax."),
    key("telemetry.log_format", "text", "`text` or `json`."),
    key("telemetry.otlp_endpoint", "", "Where the service's own spans go (OTLP/gRPC). Empty: nowhere."),
    key(
        "drain.deadline",
        "20s",
        "How long a SIGTERM waits for what was accepted; below Kubernetes' 30 s grace.",
    ),
    key(
        "drain.delay",
        "0s",
        "How long after a SIGTERM `/readyz` says 503 and all goes on, before the drain begins: what balancers need to notice.",
    ),
];

/// The candidate nearest to what was typed, if any is near enough to be meant.
pub(crate) fn nearest(typed: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(typed, &candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
