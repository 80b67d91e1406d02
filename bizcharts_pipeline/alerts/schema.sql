-- Ledger of alerts, version 1. Times are UTC, ISO 8601 with microseconds.

-- One row an event. The key is derived from the data that the event is about, so that it is recorded once.
CREATE TABLE events (
    key         TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    title       TEXT NOT NULL,
    message     TEXT NOT NULL,
    happened_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL
);
CREATE INDEX events_by_subject ON events (kind, subject, happened_at);

-- One row an event and a destination that was set when the event was recorded.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY,
    event       TEXT NOT NULL REFERENCES events,
    destination TEXT NOT NULL,            -- its scheme and a keyed hash of its address
    state       TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      TEXT NOT NULL,
    changed_at  TEXT NOT NULL,
    error       TEXT NOT NULL DEFAULT '',
    UNIQUE (event, destination)
);
CREATE INDEX deliveries_open ON deliveries (destination, due_at) WHERE state IN ('pending', 'sending');

-- How far the data was searched for events, as JSON, and the key of the hash of destinations.
CREATE TABLE notes (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
