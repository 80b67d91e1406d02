-- Ledger of serverless endpoints. Times are UTC, ISO 8601; prices are decimal text in USD.

CREATE TABLE IF NOT EXISTS endpoints (
    name           TEXT PRIMARY KEY,  -- contains the installation and the model, see life.py
    model_version  TEXT NOT NULL,
    endpoint_id    TEXT,              -- of RunPod; NULL until it is known
    usd_per_hour   TEXT NOT NULL,     -- of a worker
    idle_seconds   INTEGER NOT NULL,
    start_seconds  INTEGER NOT NULL,
    job_seconds    INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('ordered', 'deployed', 'deleted')),
    updated_at     TEXT NOT NULL,
    CHECK (state <> 'deployed' OR endpoint_id IS NOT NULL)
);
