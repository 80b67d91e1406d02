-- The ledger of pods, version 1; `schema_2.sql` goes on. Times are UTC, ISO 8601 with microseconds; money is in integer nano-USD.

-- One row a job as it was undertaken: by one run, or by several where the first was killed and left a pod behind.
CREATE TABLE IF NOT EXISTS jobs (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL,  -- identity.py says of what
    name        TEXT NOT NULL,  -- of all its pods
    provider    TEXT NOT NULL,
    run_id      TEXT NOT NULL,  -- the last that undertook it
    started_at  TEXT NOT NULL,
    ended_at    TEXT,
    outcome     TEXT CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    result      TEXT            -- folder that is there once the result was fetched and verified, and never before
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_open ON jobs (key, provider) WHERE ended_at IS NULL;

-- One row a pod, written before it is asked for.
CREATE TABLE IF NOT EXISTS pods (
    id            INTEGER PRIMARY KEY,
    job           INTEGER NOT NULL REFERENCES jobs,
    pod_id        TEXT,              -- missing: nobody knows yet whether there is one
    state         TEXT NOT NULL,
    gpu           TEXT,
    cloud         TEXT,
    data_center   TEXT,
    machine       TEXT,
    bad_host      INTEGER NOT NULL DEFAULT 0,
    usd_per_hour  TEXT NOT NULL,     -- exactly; as listed until it is known what the pod is charged
    nano_usd      INTEGER NOT NULL,  -- the most that it may cost; once it has ended, what it cost
    created_at    TEXT NOT NULL,     -- when it was asked for
    deadline      TEXT NOT NULL,     -- when its time is over
    ended_at      TEXT,              -- when it was proven to be gone
    root          TEXT,              -- the job's folder on it
    launched      INTEGER NOT NULL DEFAULT 0  -- the job was started there
);
CREATE INDEX IF NOT EXISTS pods_by_job ON pods (job);
CREATE INDEX IF NOT EXISTS pods_alive ON pods (job) WHERE ended_at IS NULL;

-- What happened, for people.
CREATE TABLE IF NOT EXISTS events (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL REFERENCES jobs,
    pod     INTEGER REFERENCES pods,
    at      TEXT NOT NULL,
    state   TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_job ON events (job);
