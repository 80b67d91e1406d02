-- What the control plane reported about a pod, and when: its answers lag behind.
ALTER TABLE pods ADD COLUMN ordered_at TEXT;      -- when the last order was sent; missing: never
ALTER TABLE pods ADD COLUMN seen_at TEXT;         -- when it first listed the pod
ALTER TABLE pods ADD COLUMN told_at TEXT;         -- when it accepted the termination request
ALTER TABLE pods ADD COLUMN missing_since TEXT;   -- since when it does not list the pod
ALTER TABLE pods ADD COLUMN absences INTEGER NOT NULL DEFAULT 0;  -- consecutive counting polls without it
UPDATE pods SET ordered_at = created_at;
CREATE INDEX jobs_by_key ON jobs (key);

-- Pods without a row, with the time of the reaper's first sight.
CREATE TABLE sightings (
    provider  TEXT NOT NULL,
    pod_id    TEXT NOT NULL,
    first_at  TEXT NOT NULL,
    PRIMARY KEY (provider, pod_id)
);
