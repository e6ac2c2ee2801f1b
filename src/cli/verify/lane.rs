//! The ways in: one lane of traffic for each transport and form.

/// One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    FastlyPlain,
    FastlyGzip,
    FastlyZstd,
    EnvoyLines,
    OtlpProtobuf,
    OtlpJson,
    OtlpGrpc,
    Als,
    File,
}

impl Lane {
    /// All of them, each at the place of its number.
    pub(super) const ALL: [Self; 9] = [
        Self::FastlyPlain,
        Self::FastlyGzip,
        Self::FastlyZstd,
        Self::EnvoyLines,
        Self::OtlpProtobuf,
        Self::OtlpJson,
        Self::OtlpGrpc,
        Self::Als,
        Self::File,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FastlyPlain => "fastly",
            Self::FastlyGzip => "fastly-gzip",
            Self::FastlyZstd => "fastly-zstd",
            Self::EnvoyLines => "envoy-lines",
            Self::OtlpProtobuf => "otlp-protobuf",
            Self::OtlpJson => "otlp-json",
            Self::OtlpGrpc => "otlp-grpc",
            Self::Als => "als",
            Self::File => "file",
        }
    }

    /// What acknowledges a record of this lane.
    pub(super) fn acknowledgement(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "the call's OK",
            Self::Als => "the stream's OK end",
            Self::File => "the committed position",
            _ => "HTTP 200",
        }
    }

    /// The host that its records name: rollups are summed by it.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::FastlyPlain => "fastly.verify",
            Self::FastlyGzip => "fastly-gzip.verify",
            Self::FastlyZstd => "fastly-zstd.verify",
            Self::EnvoyLines => "envoy-lines.verify",
            Self::OtlpProtobuf => "otlp-protobuf.verify",
            Self::OtlpJson => "otlp-json.verify",
            Self::OtlpGrpc => "otlp-grpc.verify",
            Self::Als => "als.verify",
            Self::File => "file.verify",
        }
    }

    pub(super) fn has_correlation_id(self) -> bool {
        self != Self::File
    }

    pub(super) fn has_request_id(self) -> bool {
        !matches!(self, Self::FastlyPlain | Self::FastlyGzip | Self::FastlyZstd)
    }
}
