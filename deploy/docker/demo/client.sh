#!/bin/sh
# The demo's client and edge in one: mints the correlation id, asks the gateway, and delivers the log line that an edge
# would write. No Fastly runs here: cache, shield, verdict and login are left out (`make demo` has them, in Viceroy).
set -eu

# ROUNDS: how many requests; without it, for ever.
round=0
while [ "${ROUNDS:-0}" -eq 0 ] || [ "$round" -lt "${ROUNDS:-0}" ]; do
    round=$((round + 1))
    id="$(cat /proc/sys/kernel/random/uuid)"
    start_s="$(date +%s)"
    # Every tenth request asks for a page that is not there.
    path=/
    case "$id" in *0) path=/nowhere ;; esac
    told="$(curl --silent --output /dev/null --write-out '%{http_code} %{time_total}' \
        --header "x-correlation-id: $id" --header 'host: shop.example.com' "$GATEWAY$path")" || told='503 0.001'
    status="${told% *}"
    elapsed_us="$(printf '%s\n' "${told#* }" | awk '{ printf "%d", $1 * 1000000 }')"
    printf '{"v":1,"src":"fastly-vcl","ts_us":%s000000,"elapsed_us":%s,"edge":true,"visits":0,"correlation_id":"%s","method":"GET","host":"shop.example.com","url":"%s","status":%s,"pop":"DEMO","service_id":"demo","state":"MISS"}\n' \
        "$start_s" "$elapsed_us" "$id" "$path" "$status" |
        curl --silent --show-error --output /dev/null --data-binary @- "$THROUGHLINE/v1/fastly" || true
    [ "$round" -eq "${ROUNDS:-0}" ] || sleep "${PAUSE_S:-1}"
done
