-- What the control plane showed of a pod, and when: its answers lag behind what is true.
ALTER TABLE pods ADD COLUMN ordered_at TEXT;      -- when the last order was sent; missing: none was
ALTER TABLE pods ADD COLUMN seen_at TEXT;         -- when it first showed the pod
ALTER TABLE pods ADD COLUMN told_at TEXT;         -- when it accepted the request to end the pod
ALTER TABLE pods ADD COLUMN missing_since TEXT;   -- since when it does not show the pod
ALTER TABLE pods ADD COLUMN absences INTEGER NOT NULL DEFAULT 0;  -- looks in a row that count and did not show it
UPDATE pods SET ordered_at = created_at;
CREATE INDEX jobs_by_key ON jobs (key);

-- Pods that no row names, as the reaper first saw them.
CREATE TABLE sightings (
    provider  TEXT NOT NULL,
    pod_id    TEXT NOT NULL,
    first_at  TEXT NOT NULL,
    PRIMARY KEY (provider, pod_id)
);
