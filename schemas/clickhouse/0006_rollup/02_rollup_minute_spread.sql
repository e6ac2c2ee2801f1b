-- Cluster only: the same columns of the table that queries and inserts name.
ALTER TABLE rollup_minute {on_cluster}
    ADD COLUMN IF NOT EXISTS workload LowCardinality(String) AFTER latency_bucket,
    ADD COLUMN IF NOT EXISTS workload_revision LowCardinality(String) AFTER workload,
    ADD COLUMN IF NOT EXISTS service_version LowCardinality(String) AFTER workload_revision,
    ADD COLUMN IF NOT EXISTS policy_version LowCardinality(String) AFTER service_version,
    ADD COLUMN IF NOT EXISTS verdict_rule LowCardinality(String) AFTER policy_version,
    ADD COLUMN IF NOT EXISTS issuer LowCardinality(String) AFTER verdict_rule,
    ADD COLUMN IF NOT EXISTS key_id LowCardinality(String) AFTER issuer
