//! Nothing secret touches the disk: the whole data directory is searched for what was sent.

use std::path::Path;

use crate::app::Service;

const JWT: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZUBleGFtcGxlLmNvbSJ9.c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3Qtc3RheQ";
const SECRETS: [&str; 6] = [
    "c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3Qtc3RheQ",
    "session-cookie-value-9d1f",
    "query-token-value-77aa",
    "basic-credential-dXNlcjpwYXNz",
    "alice@corp.example",
    "reject-secret-4411",
];

#[test]
fn the_data_directory_holds_no_secret() {
    let mut service = Service::start();
    let edge = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"elapsed_us":25000,"edge":true,"visits":0,"correlation_id":"0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f","method":"GET","host":"h","url":"/cart?access_token=query-token-value-77aa&page=2","status":200,"pop":"FRA","ua":"curl {JWT}","authorization":"Bearer {JWT}","cookie":"sid=session-cookie-value-9d1f","x_note":"Basic basic-credential-dXNlcjpwYXNz"}}"#
    );
    let verdict = r#"{"v":1,"src":"throughline-edge","ts_us":1795290064270000,"correlation_id":"0192f0c4-8a4e-7cc3-98c4-dc0c0c073990","method":"GET","host":"h","path":"/x","status":200,"pop":"FRA","subject":"alice@corp.example","verdict":{"outcome":"allow","rule":"r"},"timings":{"duration_us":25000}}"#;
    let foreign = r#"{"timestamp":"2026-11-21T20:00:00Z","correlation_id":"0192f0c4-8a4e-7cc3-98c4-dc0c0c073991","method":"GET","host":"h","status":200,"sub":"alice@corp.example"}"#;
    let reject = r#"this is {no json "password":"reject-secret-4411" Cookie: sid=session-cookie-value-9d1f"#;
    service.accept("/v1/fastly", format!("{edge}\n{verdict}\n{foreign}\n{reject}\n"));
    let envoy = format!(
        r#"{{"authority":"h","method":"GET","path":"/p?id_token={JWT}","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","start_time":"2026-11-21T19:41:04.276Z","duration":1,"user_agent":"x","set_cookie":"sid=session-cookie-value-9d1f"}}"#
    );
    service.accept("/v1/envoy", envoy);
    service.wait_stored(4);
    assert!(service.terminate().success());

    let mut files = 0;
    let mut found = Vec::new();
    search(&service.data(), &mut |path, bytes| {
        files += 1;
        for secret in SECRETS {
            if memchr::memmem::find(bytes, secret.as_bytes()).is_some() {
                found.push(format!("{secret} in {}", path.display()));
            }
        }
    });
    assert!(files > 10, "the data directory was searched");
    assert!(found.is_empty(), "{found:#?}");

    // The store compresses its columns, so what it answers is searched too.
    service.restart();
    let all = service.json("/api/v1/traces/0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f").to_string()
        + &service.json("/api/v1/traces/0192f0c4-8a4e-7cc3-98c4-dc0c0c073990").to_string()
        + &service.json("/api/v1/traces/0192f0c4-8a4e-7cc3-98c4-dc0c0c073991").to_string()
        + &service.json("/api/v1/events?limit=100").to_string()
        + &service.json("/api/v1/rejects").to_string();
    for secret in SECRETS {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    assert!(all.contains("[redacted]"), "{all}");
    assert_eq!(
        all.matches("\"subject\":").count(),
        4,
        "a pseudonym stands for the subject, in traces and search: {all}"
    );
    assert!(all.contains("page=2"), "what is no secret stays: {all}");
}

fn search(directory: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            search(&path, look);
        } else if let Ok(bytes) = std::fs::read(&path) {
            look(&path, &bytes);
        }
    }
}
