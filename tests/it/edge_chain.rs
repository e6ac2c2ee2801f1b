//! The whole chain for real: a client, the edge service in Viceroy, a gateway and two sidecars in Envoy, workloads, an
//! OpenID Connect provider, and all their logs by their own transports into the service. What must come of each request
//! is declared in `crates/chain/src/declared.rs`, which `make demo` uses, too.
#![allow(clippy::print_stdout, reason = "what each request became is worth a line")]

mod trouble;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chain::{Chain, Programs, service_configuration};

use crate::app::{Options, Service, pinned_tool};

/// The edge service: where the variable says, else where `scripts/edge-wasm` leaves it.
pub(crate) fn wasm() -> PathBuf {
    let built = "edge/target/wasm/wasm32-wasip1/release/throughline-edge.wasm";
    let given = std::env::var_os("THROUGHLINE_EDGE_WASM").map(PathBuf::from);
    let wasm = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(built));
    assert!(wasm.is_file(), "{} is missing: run scripts/edge-wasm, or make test", wasm.display());
    wasm
}

/// The programs that set-up brought.
pub(crate) fn programs() -> Programs {
    Programs {
        envoy: crate::envoy::envoy_binary(),
        viceroy: pinned_tool("THROUGHLINE_VICEROY", "viceroy-0.22.0/viceroy"),
        wasm: wasm(),
    }
}

#[test]
fn every_request_through_the_whole_chain_is_one_true_trace() {
    let directory = tempfile::tempdir().unwrap();
    let service =
        Service::with(Options { config: service_configuration(directory.path()), ..Default::default() });
    let chain = Chain::start(&programs(), directory.path(), service.http, service.grpc).expect("the chain");
    let driven = chain.drive().expect("every request is answered");
    let traced = chain.traced(service.http, &driven, &AtomicBool::new(false));
    let mut faults = Vec::new();
    for one in &traced {
        let name = one.driven.declared.name;
        println!("{name}: {}", one.answer["summary"].as_str().unwrap_or("no trace"));
        faults.extend(one.faults.iter().map(|fault| format!("{name}: {fault}\n  {}", one.answer)));
    }
    let output = chain.edge_output();
    let lines = chain.end().expect("the service takes the edge's logs");
    assert!(faults.is_empty(), "{}\n--- the edge ---\n{output}", faults.join("\n"));
    // The gateway's fetch of the keys is a request, too; what went around the edge is none.
    let at_edge = driven.iter().filter(|one| one.declared.verdict.is_some()).count();
    assert!(lines > at_edge, "{lines} lines of the edge were delivered, for {at_edge} requests");
    assert!(service.json("/api/v1/rejects")["rejects"].as_array().is_some_and(Vec::is_empty));
}
