//! Open files: a connection is one, and most systems give a process 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For segments, followed files, the engine's connections and whatever a library opens.
const RESERVED: u64 = 512;
/// Ports that share what is left.
const PORTS: u64 = 2;
/// Fewer connections than this serve nobody.
const LEAST_CONNECTIONS: u64 = 16;

/// Asks for as many open files as the system allows, and says how many connections a port can have with them.
///
/// Where connections would fail for want of descriptors, fewer are let in: a bound gives the place of an idle
/// connection to a new one, a failing `accept` lets nobody in.
pub(crate) fn connections(wanted: usize) -> anyhow::Result<usize> {
    let (most, limit) = (share(raise()), u64::try_from(wanted).unwrap_or(u64::MAX));
    anyhow::ensure!(
        most >= LEAST_CONNECTIONS.min(limit),
        "too few open files are allowed for this process: raise `ulimit -n` (systemd: LimitNOFILE) to {}",
        needed(limit)
    );
    if most < limit {
        tracing::warn!(
            wanted,
            connections = most,
            "fewer connections per port than `limits.connections`: raise the hard limit of open files to {}",
            needed(limit)
        );
    }
    Ok(usize::try_from(most.min(limit)).unwrap_or(wanted))
}

fn needed(connections: u64) -> u64 {
    connections.saturating_mul(PORTS).saturating_add(RESERVED)
}

fn share(files: u64) -> u64 {
    files.saturating_sub(RESERVED) / PORTS
}

/// The soft limit, as high as the hard one; it stands lower for programs that use `select`, which nothing here does.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current.unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_enough() {
        assert_eq!(share(needed(12_000)), 12_000);
        assert_eq!(share(100), 0);
        let here = connections(1).unwrap();
        assert_eq!(here, 1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum, "the soft limit is raised");
    }
}
