#!/usr/bin/env python3
"""Writes the sample of `throughline explain`: what a real Envoy logged, and edge lines that fit it.

Run it after a change; the same captures give the same files.

gateway.log, sidecar-a.log  lines of envoy/file/{gw,a}.json.log (a real Envoy's) with the labels that
                            docs/explain.md recommends: x_correlation_id, node_id, x_envoy_attempt_count
sidecar-b.log               envoy/file/b.text.log as it is: Istio's default, found by its request ids
edge.ndjson                 made up: a Fastly service before that gateway, in the format of our VCL snippet
"""

import datetime
import json
import pathlib
import uuid

DATA = pathlib.Path(__file__).parent
SAMPLE = DATA / "sample"
CAPTURED = DATA / "envoy" / "file"
POPS = ["FRA", "AMS", "LHR"]
NODES = {
    "gw": "router~10.0.0.1~istio-ingressgateway-5f9c.istio-system~istio-system.svc.cluster.local",
    "a": "sidecar~10.0.0.2~app-a-v1-6b7d.default~default.svc.cluster.local",
}
# Not requests that crossed an edge: malformed ones, TCP and TLS, lines written while a request ran; and clients that
# left, for what an edge logs then is its own matter.
LEFT_OUT = (
    "badutf8", "dpe", "http10", "nohost", "bighdr", "tls", "tcp", "plain", "nomtls", "periodic", "ws", "longpath",
    "dc", "frag", "xff", "multi", "tabua", "utf8", "ua-", "path-", "expect", "options", "ok-",
)


def correlation_id(scenario):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://shop.example.com/{scenario}"))


def captured(role):
    """Line and scenario of every request of a role that is in the sample, in the order of the log."""
    lines = (CAPTURED / f"{role}.json.log").read_bytes().splitlines()
    for record in map(json.loads, (CAPTURED / f"{role}.records.jsonl").read_text().splitlines()):
        scenario = record["scn"]
        if scenario and not scenario.startswith(LEFT_OUT):
            yield json.loads(lines[record["line"] - 1]), scenario


def number_of(text):
    return int(uuid.uuid5(uuid.NAMESPACE_URL, text).hex[:8], 16)


def edge_line(line, scenario, cached=False):
    random = number_of(scenario)
    pop = POPS[random % len(POPS)]
    way_us = 6_000 + random % 9_000
    sent_us = 300 + random % 700
    start = datetime.datetime.fromisoformat(line["start_time"].replace("Z", "+00:00"))
    start_us = round(start.timestamp() * 1e6) - sent_us - way_us // 2
    waited_us = line["duration"] * 1000 + way_us
    status = line["response_code"]
    state = "HIT" if cached else "PASS" if line["method"] == "POST" else "MISS"
    elapsed_us = 180 + random % 400 if cached else sent_us + waited_us + 150
    return {
        "v": 1, "src": "fastly-vcl", "service_id": "SU1Z0isxPaozGVKXdv0eY", "service_version": 42,
        "ts_us": start_us, "elapsed_us": elapsed_us, "ttfb_s": f"{(elapsed_us - 100) / 1e6:.3f}",
        "edge": True, "visits": 0, "restarts": 0, "to_shield": False,
        "correlation_id": correlation_id(scenario), "method": line["method"], "host": line["authority"],
        "url": line["path"], "proto": "HTTP/2", "status": status, "state": state, "pop": pop,
        "server": f"cache-{pop.lower()}-et{pop.lower()}822{random % 90 + 10}-{pop}",
        "backend": "" if cached else "F_istio_ingress", "client_ip": f"203.0.113.{random % 250 + 1}",
        "asn": 64500, "country": "DE", "tls": "TLSv1.3", "resp_bytes": line["bytes_sent"] + 310,
        "completed": True, "ua": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0)",
        "o_start_us": None if cached else sent_us,
        "o_ttfb_us": None if cached else waited_us,
        "o_status": None if cached else status,
    }


def write(name, lines):
    text = "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in lines)
    (SAMPLE / name).write_text(text)


edge = []
for role, name in [("gw", "gateway.log"), ("a", "sidecar-a.log")]:
    out = []
    tries = {}
    for line, scenario in captured(role):
        if role == "gw":
            edge.append(edge_line(line, scenario))
        tries[scenario] = tries.get(scenario, 0) + (1 if "inbound" in (line["upstream_cluster"] or "inbound") else 0)
        is_call = "outbound" in (line["upstream_cluster"] or "")
        labels = {"x_correlation_id": correlation_id(scenario), "node_id": NODES[role]}
        labels["x_envoy_attempt_count"] = None if role == "gw" else "1" if is_call else str(tries[scenario])
        out.append(line | labels)
    write(name, out)
# Requests that the edge answered from its cache.
for number in range(12):
    hit = {
        "start_time": f"2026-11-21T19:41:{10 + number}.{number:03}Z", "method": "GET",
        "authority": "shop.example.com", "path": f"/static/{number}.css", "duration": 0,
        "response_code": 200, "bytes_sent": 4200 + number,
    }
    edge.append(edge_line(hit, f"hit-{number}", cached=True))
edge.sort(key=lambda line: line["ts_us"])
write("edge.ndjson", edge)
(SAMPLE / "sidecar-b.log").write_bytes((CAPTURED / "b.text.log").read_bytes())
