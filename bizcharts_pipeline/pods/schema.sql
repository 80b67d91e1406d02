-- Ledger of pods, version 1; `schema_2.sql` upgrades it. Times are UTC, ISO 8601 with microseconds; money is in integer nano-USD.

-- One row for each started job: of one run, or of several if the first was killed and left a pod behind.
CREATE TABLE IF NOT EXISTS jobs (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL,  -- see identity.py
    name        TEXT NOT NULL,  -- name of all its pods
    provider    TEXT NOT NULL,
    run_id      TEXT NOT NULL,  -- the last run of the job
    started_at  TEXT NOT NULL,
    ended_at    TEXT,
    outcome     TEXT CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    result      TEXT            -- folder that exists only once the result is fetched and verified
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_open ON jobs (key, provider) WHERE ended_at IS NULL;

-- One row for each pod, written before it is ordered.
CREATE TABLE IF NOT EXISTS pods (
    id            INTEGER PRIMARY KEY,
    job           INTEGER NOT NULL REFERENCES jobs,
    pod_id        TEXT,              -- missing: it is unknown whether a pod exists
    state         TEXT NOT NULL,
    gpu           TEXT,
    cloud         TEXT,
    data_center   TEXT,
    machine       TEXT,
    bad_host      INTEGER NOT NULL DEFAULT 0,
    usd_per_hour  TEXT NOT NULL,     -- exact; the listed price until the actual one is known
    nano_usd      INTEGER NOT NULL,  -- maximum cost; once it has ended, actual cost
    created_at    TEXT NOT NULL,     -- when it was ordered
    deadline      TEXT NOT NULL,     -- end of its time limit
    ended_at      TEXT,              -- when it ended, once that is proven
    root          TEXT,              -- the job's folder on it
    launched      INTEGER NOT NULL DEFAULT 0  -- whether the job was started there
);
CREATE INDEX IF NOT EXISTS pods_by_job ON pods (job);
CREATE INDEX IF NOT EXISTS pods_alive ON pods (job) WHERE ended_at IS NULL;

-- Event log for people.
CREATE TABLE IF NOT EXISTS events (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL REFERENCES jobs,
    pod     INTEGER REFERENCES pods,
    at      TEXT NOT NULL,
    state   TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_job ON events (job);
