//! Connections between proxies: kept alive and used again, as Envoy does, so that a connection holds many requests.

use std::collections::HashMap;

/// Every proxy's connections by caller and callee.
#[derive(Debug, Clone, Default)]
pub(super) struct Pools {
    pairs: HashMap<(usize, usize), Vec<Connection>>,
    next_port: HashMap<usize, u16>,
}

#[derive(Debug, Clone)]
struct Connection {
    port: u16,
    opened_ns: i64,
    /// When it is taken, for HTTP/1.1: one request at a time.
    taken: Vec<(i64, i64)>,
}

/// Envoy's worker threads: each has its own connection to a host.
const WORKERS: usize = 2;
/// A connection is replaced after this time, as an idle timeout or a rollout would.
const OLDEST_NS: i64 = 120_000_000_000;
/// First and number of the ephemeral ports of Linux.
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;

impl Pools {
    /// The local port of a connection from `caller` to `callee` that is free `from..to`. A multiplexed one is always
    /// free. Nothing is asked for that ends before `now`, so what was taken before that is forgotten.
    pub(super) fn lease(
        &mut self,
        (caller, callee): (usize, usize),
        is_multiplexed: bool,
        (from, to): (i64, i64),
        now: i64,
    ) -> u16 {
        let pair = self.pairs.entry((caller, callee)).or_default();
        pair.retain(|connection| from - connection.opened_ns < OLDEST_NS);
        if is_multiplexed && pair.len() >= WORKERS {
            return pair[from as usize / 1_000 % WORKERS].port;
        }
        for connection in pair.iter_mut().filter(|_| !is_multiplexed) {
            connection.taken.retain(|&(_, end)| end >= now);
            if connection.opened_ns <= from
                && connection.taken.iter().all(|&(start, end)| end < from || to < start)
            {
                connection.taken.push((from, to));
                return connection.port;
            }
        }
        let next = self.next_port.entry(caller).or_insert((caller as u16 * 977) % PORTS);
        *next = (*next + 1) % PORTS;
        let port = FIRST_PORT + *next;
        pair.push(Connection { port, opened_ns: from, taken: vec![(from, to)] });
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_holds_one_request_at_a_time_unless_multiplexed() {
        let mut pools = Pools::default();
        let first = pools.lease((1, 2), false, (0, 10), 0);
        assert_ne!(pools.lease((1, 2), false, (5, 15), 0), first, "it is taken");
        assert_eq!(pools.lease((1, 2), false, (11, 12), 0), first, "it is kept alive");
        let mut ports: Vec<u16> =
            (0..40).map(|at| pools.lease((3, 4), true, (at * 1_000, 1 << 40), 0)).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), WORKERS);
    }
}
