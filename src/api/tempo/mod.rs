//! Tempo's HTTP API under `/tempo`, so that Grafana's own Tempo data source works without a plugin.

#[cfg(test)]
mod views;
