//! The store: does it answer, and is its schema the one of the program.

use super::finding::Finding;
use crate::api::answer::ServiceAnswer;

pub(super) fn check(service: &ServiceAnswer) -> Vec<Finding> {
    let store = &service.store;
    let Some(version) = &store.version else {
        let advice = if store.embedded {
            "what comes in waits in the spool; the engine restarts by itself: look in the service's log for what ended it"
        } else {
            "what comes in waits in the spool: look at `store.url`, its user, and the server itself"
        };
        return vec![Finding::problem("store", "ClickHouse does not answer the service", advice)];
    };
    let mut findings = Vec::new();
    if let Some(first) = store.schema_missing.first() {
        findings.push(Finding::problem(
            "store",
            format!(
                "the schema is older than the program: {} of {} statements have not run, the first is {first}",
                store.schema_missing.len(),
                store.schema_statements
            ),
            "start one instance with --migrate auto; it takes a lock, so others may run meanwhile",
        ));
    }
    if let Some(last) = store.schema_unknown.last() {
        findings.push(Finding::note(
            "store",
            format!("the schema is newer than the program ({}): it has {last}", service.version),
            "a newer version works on the same store: bring this instance up to it",
        ));
    }
    if findings.is_empty() {
        let kind = if store.embedded { "embedded" } else { "a server" };
        let what = format!("ClickHouse {version} ({kind}) answers, with the schema of {}", service.version);
        findings.push(Finding::ok("store", what));
    }
    let own = env!("CARGO_PKG_VERSION");
    if service.version != own {
        let what = format!("the service is version {}, this command {own}", service.version);
        findings.push(Finding::note(
            "store",
            what,
            "use the command of the same version to be sure of its words",
        ));
    }
    findings
}
