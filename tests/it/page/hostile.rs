//! One request whose log lines were written to do harm where they are read: in a browser.

use serde_json::{Map, Value, json};

/// The request's own correlation id.
pub(super) const ID: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07beef";

/// What is tried, each in many fields. Whatever runs changes the title or asks `evil.example` for something.
pub(super) const ATTACKS: [&str; 14] = [
    "<script>document.title='owned'</script>",
    "\"><script>document.title='owned'</script>",
    "'\" onmouseover=\"document.title='owned'\" autofocus onfocus=\"document.title='owned'\" x=\"",
    "<img src=x onerror=\"document.title='owned'\"><img src=\"http://evil.example/a.png\">",
    "</title></style></script><svg onload=\"document.title='owned'\">",
    "<link rel=stylesheet href=http://evil.example/a.css><style>*{display:none}</style>",
    "<base href=\"http://evil.example/\"><meta http-equiv=refresh content=\"0;url=http://evil.example/\">",
    "<form action=http://evil.example/><input name=q></form><iframe src=http://evil.example/></iframe>",
    "javascript:document.title='owned'",
    "<a href=\"javascript:document.title='owned'\">x</a><details open ontoggle=\"document.title='owned'\">",
    "<!--><script>document.title='owned'</script>--><![CDATA[</dd></dl></td></tr></table>",
    "\u{202e}gnp.exe\u{202c} \u{200b}\u{feff}\u{2066}x\u{2069} \u{1b}[2J\u{1b}]0;owned\u{7} \u{9b}31m",
    "NUL \u{0} line\r\nSet-Cookie: owned=1\u{2028}\u{85}",
    "{{constructor.constructor('document.title=1')()}} ${document.title} %3Cscript%3E &lt;script&gt; &#x3c;",
];

/// The lines of edge and gateway.
pub(super) fn lines() -> (String, String) {
    let all = ATTACKS.join(" ");
    let mut edge = json!({
        "v": 1, "src": "fastly-vcl", "service_id": ATTACKS[0], "ts_us": 1_795_290_064_270_000_u64, "elapsed_us": 25_000,
        "edge": true, "visits": 0, "restarts": 0, "correlation_id": ID, "method": ATTACKS[2], "host": ATTACKS[3],
        "url": format!("/{}?{}", ATTACKS[1], ATTACKS[4]), "proto": ATTACKS[5], "status": 503, "state": ATTACKS[6],
        "pop": ATTACKS[7], "server": ATTACKS[8], "backend": ATTACKS[9], "country": ATTACKS[10], "ua": all,
        "referer": "javascript:document.title='owned'", "verdict": "deny", "verdict_reason": ATTACKS[11],
        "verdict_rule": ATTACKS[12],
    });
    let fields = edge.as_object_mut().unwrap();
    attributes(fields);
    let gateway = json!({
        "authority": ATTACKS[3], "bytes_sent": 91, "duration": 10, "method": ATTACKS[2], "path": ATTACKS[1],
        "protocol": ATTACKS[5], "request_id": ATTACKS[8], "x_correlation_id": ID, "response_code": 503,
        "response_code_details": ATTACKS[0], "response_flags": ATTACKS[1], "route_name": ATTACKS[4],
        "start_time": "2026-11-21T19:41:04.276Z", "upstream_cluster": ATTACKS[6], "upstream_host": ATTACKS[7],
        "user_agent": ATTACKS[9], "x_forwarded_for": ATTACKS[10], "requested_server_name": ATTACKS[11],
        "node_id": ATTACKS[12],
    });
    (edge.to_string(), gateway.to_string())
}

/// Names and values that the schema has no field for; one of 64 KiB.
fn attributes(fields: &mut Map<String, Value>) {
    for (nth, attack) in ATTACKS.iter().enumerate() {
        fields.insert(format!("x_{nth} {attack}"), Value::from(*attack));
    }
    fields.insert("x_long".to_owned(), Value::from("<b>long</b> ".repeat((64 << 10) / 12)));
    fields.insert("x_unbroken".to_owned(), Value::from("W".repeat(3_000)));
}
