//! A real Envoy with all four log transports into the running service, counted end to end.

use crate::app::{Options, Service, eventually};
use crate::envoy::{Envoy, EnvoyOptions};

/// Requests sent; each is logged five times (TEXT file, JSON file, ALS, OTLP/gRPC, OTLP/HTTP).
const REQUESTS: u64 = 40;

#[test]
fn a_real_envoy_loses_nothing_on_any_transport() {
    let logs = tempfile::tempdir().unwrap();
    let service = Service::with(Options {
        config: format!(
            "[[source]]\nname = 'files'\nkind = 'file'\npaths = ['{}/*.log']\nhop = 'gateway'\n",
            logs.path().join("access").display()
        ),
        ..Default::default()
    });
    let access = logs.path().join("access");
    std::fs::create_dir(&access).unwrap();
    let envoy =
        Envoy::start(EnvoyOptions { http_sink: service.http, grpc_sink: service.grpc, log_dir: access });
    let correlation = |n: u64| format!("0192f0c4-8a4e-7cc3-98c4-{n:012x}");
    for n in 0..REQUESTS {
        envoy.request("/ok", &[("x-correlation-id", &correlation(n))]);
    }
    service.wait_stored(5 * REQUESTS);
    drop(envoy);
    eventually("a request is found on every transport that logs its id", || {
        let (status, body) = service.get(&format!("/api/v1/traces/{}", correlation(7)));
        (status == 200 && body.matches("\"format\":").count() >= 3).then_some(())
    });
}
