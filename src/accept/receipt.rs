//! What a sender is told of a delivery: a receipt when it is durable, a refusal when it may be sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use event::Counter;
use spool::AppendError;

/// What a sender is told of a delivery that is durable.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// Bytes of the payload, unpacked.
    pub(crate) payload_bytes: u64,
    /// Records that became hop events.
    pub(crate) accepted: u64,
    /// Records that became rejects (stored as well).
    pub(crate) rejected: u64,
    /// Rejects by reason.
    pub(crate) by_reason: BTreeMap<&'static str, u64>,
    /// The first few rejects.
    pub(crate) first: Vec<RejectLine>,
}

/// One reject as the sender is told of it: enough to find the line, nothing of its content.
#[derive(Debug)]
pub(crate) struct RejectLine {
    pub(crate) reason: &'static str,
    pub(crate) offset: u64,
    pub(crate) detail: String,
}

/// Why a delivery was not accepted. The sender may send it again: nothing of it was acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too much in flight.
    #[error("too many bytes in flight; try again after {0:?}")]
    Busy(Duration),
    /// The body came too slowly to be waited for.
    #[error("the body came too slowly (`limits.patience`); send it again after {0:?}")]
    Slow(Duration),
    /// The spool has no room or the disk fails.
    #[error(transparent)]
    Spool(#[from] AppendError),
    /// The source is over its rate.
    #[error("the source is over its rate (`rate_bytes`); try again after {0:?}")]
    TooFast(Duration),
    /// The sender is not from where the source may send.
    #[error("the source does not send from this {by}: see its `{}` in the configuration", .by.key())]
    Stranger {
        /// What speaks against it.
        by: Stranger,
        /// Whether it has the source's token all the same.
        has_token: bool,
    },
    /// The service is going down, or the task that decoded was lost.
    #[error("the service is shutting down; try another instance")]
    Stopped,
}

impl Refusal {
    /// When to come back.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Busy(after) | Self::Slow(after) => *after,
            Self::Spool(error) => error.retry_after().unwrap_or(Duration::from_secs(1)),
            Self::TooFast(after) => *after,
            // Somebody has to mend a list first.
            Self::Stranger { .. } => Duration::from_secs(30),
            Self::Stopped => Duration::from_secs(1),
        }
    }

    /// The cause as a counter of the ledger.
    pub(crate) fn counter(&self) -> Counter {
        match self {
            // A sender that trickles is part of the crowd.
            Self::Busy(_) | Self::Slow(_) => Counter::RefusedBusy,
            Self::TooFast(_) => Counter::RefusedRate,
            Self::Stranger { .. } => Counter::RefusedStranger,
            Self::Spool(AppendError::Full { .. }) => Counter::RefusedSpoolFull,
            Self::Spool(_) => Counter::RefusedSpoolFailed,
            Self::Stopped => Counter::RefusedStopped,
        }
    }

    /// The cause as a metric label.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Slow(_) => "slow",
            Self::Spool(AppendError::Full { .. }) => "spool_full",
            Self::Spool(_) => "spool_failed",
            Self::TooFast(_) => "rate",
            Self::Stranger { by, .. } => by.name(),
            Self::Stopped => "stopped",
        }
    }
}

/// By what a sender is told to be none of the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// The address it comes from.
    Address,
    /// The name in its client certificate.
    Certificate,
}

impl Stranger {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Certificate => "certificate",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Address => "addresses",
            Self::Certificate => "client_name",
        }
    }
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}
