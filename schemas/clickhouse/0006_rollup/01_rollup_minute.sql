-- `workload`, `workload_revision`, `service_version`, `policy_version`, `verdict_rule`, `issuer` and `key_id`: what ran and
-- what decided, so that boards compare versions, revisions and policies without reading events. None of it names a person.
-- Rows of before have none of it. The reason of a verdict is left out: senders write it freely.
ALTER TABLE {table:rollup_minute} {on_cluster}
    ADD COLUMN IF NOT EXISTS workload LowCardinality(String) AFTER latency_bucket,
    ADD COLUMN IF NOT EXISTS workload_revision LowCardinality(String) AFTER workload,
    ADD COLUMN IF NOT EXISTS service_version LowCardinality(String) AFTER workload_revision,
    ADD COLUMN IF NOT EXISTS policy_version LowCardinality(String) AFTER service_version,
    ADD COLUMN IF NOT EXISTS verdict_rule LowCardinality(String) AFTER policy_version,
    ADD COLUMN IF NOT EXISTS issuer LowCardinality(String) AFTER verdict_rule,
    ADD COLUMN IF NOT EXISTS key_id LowCardinality(String) AFTER issuer,
    MODIFY ORDER BY (tenant, minute, hop, direction, service, namespace, pop, host, status_class, cache_result, verdict, latency_bucket, workload, workload_revision, service_version, policy_version, verdict_rule, issuer, key_id)
