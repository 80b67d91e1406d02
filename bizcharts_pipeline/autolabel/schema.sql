-- Ledger of labels by paid models. Times are UTC, ISO 8601 with microseconds; money is in integer nano-USD.

CREATE TABLE IF NOT EXISTS prompts (
    version        TEXT PRIMARY KEY,
    sha256         TEXT NOT NULL,
    system         TEXT NOT NULL,
    first_used_at  TEXT NOT NULL
);

-- One row for each question: the same text and picture is sent to the same model with the same prompt only once.
CREATE TABLE IF NOT EXISTS requests (
    key                TEXT PRIMARY KEY,  -- SHA-256, see keys.py
    provider           TEXT NOT NULL,
    model              TEXT NOT NULL,
    endpoint           TEXT NOT NULL,
    prompt_version     TEXT NOT NULL,
    prompt_sha256      TEXT NOT NULL,
    image_used         INTEGER NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('pending', 'reserved', 'submitted', 'retry_later', 'done',
                                                      'refused', 'malformed', 'bad_image', 'failed')),
    owner              TEXT CHECK ((owner IS NULL) = (state NOT IN ('reserved', 'submitted'))),  -- run, or batch
    text_only_key      TEXT,              -- sent instead if the picture prevents an answer
    attempts           INTEGER NOT NULL DEFAULT 0,  -- including those without a final answer
    rounds             INTEGER NOT NULL DEFAULT 0,  -- number of runs that postponed it
    label              TEXT CHECK ((label IS NULL) = (state <> 'done')),
    p_bearish          REAL,
    p_neutral          REAL,
    p_bullish          REAL,
    confidence_source  TEXT,
    input_tokens       INTEGER,           -- of the last answer
    output_tokens      INTEGER,
    cached_tokens      INTEGER,
    model_returned     TEXT,
    request_id         TEXT,
    raw                TEXT,
    error              TEXT,
    updated_at         TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_under_way ON requests (state, owner) WHERE owner IS NOT NULL;

-- The question whose answer is a post's label.
CREATE TABLE IF NOT EXISTS posts (
    thread_id       INTEGER NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    prompt_version  TEXT NOT NULL,
    key             TEXT NOT NULL REFERENCES requests,
    PRIMARY KEY (thread_id, provider, model, endpoint, prompt_version)
);
CREATE INDEX IF NOT EXISTS posts_by_key ON posts (key);

-- One row for each request, written before it is sent, with its maximum cost.
CREATE TABLE IF NOT EXISTS reservations (
    id        INTEGER PRIMARY KEY,
    key       TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    provider  TEXT NOT NULL,
    model     TEXT NOT NULL,
    endpoint  TEXT NOT NULL,
    month     TEXT NOT NULL,     -- as 2026-11
    nano_usd  INTEGER NOT NULL CHECK (nano_usd >= 0),
    sent_at   REAL NOT NULL      -- Unix seconds
);
CREATE INDEX IF NOT EXISTS reservations_by_time ON reservations (provider, model, endpoint, sent_at);
CREATE INDEX IF NOT EXISTS reservations_by_run ON reservations (run_id);
CREATE INDEX IF NOT EXISTS reservations_by_month ON reservations (month);
CREATE INDEX IF NOT EXISTS reservations_by_key ON reservations (key);

-- Actual cost of a request; until it has a row here, its reservation counts.
CREATE TABLE IF NOT EXISTS settlements (
    reservation    INTEGER PRIMARY KEY REFERENCES reservations,
    outcome        TEXT NOT NULL,   -- of protocol.py; 'orphaned' and 'abandoned' if the outcome is unknown
    basis          TEXT NOT NULL CHECK (basis IN ('free', 'known', 'assumed')),
    nano_usd       INTEGER NOT NULL CHECK (nano_usd >= 0),
    input_tokens   INTEGER,
    output_tokens  INTEGER,
    seconds        REAL,
    settled_at     TEXT NOT NULL
);

-- Token counts of a reservation, so that it can be repriced; older reservations have no row here.
CREATE TABLE IF NOT EXISTS sizes (
    reservation    INTEGER PRIMARY KEY REFERENCES reservations,
    text_tokens    INTEGER NOT NULL,   -- of the input, without the image
    has_image      INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,   -- without reasoning
    overrun        REAL NOT NULL       -- factor on the price
);

-- Reservations that raise another one, because a more expensive model answers for the requested one. A surcharge is open
-- as long as the raised reservation; the settlement of the latter covers both.
CREATE TABLE IF NOT EXISTS surcharges (
    surcharge    INTEGER PRIMARY KEY REFERENCES reservations,
    reservation  INTEGER NOT NULL REFERENCES reservations
);
CREATE INDEX IF NOT EXISTS surcharges_by_reservation ON surcharges (reservation);

-- Models that answered, by the name in their answers; '' is the requested one, ignoring dates.
CREATE TABLE IF NOT EXISTS answering_models (
    provider     TEXT NOT NULL,
    model        TEXT NOT NULL,   -- the requested one
    endpoint     TEXT NOT NULL,
    answered_by  TEXT NOT NULL,
    seen_at      TEXT NOT NULL,   -- last
    PRIMARY KEY (provider, model, endpoint, answered_by)
);

-- Sums of spent and reserved amounts, so that a cap is checked in one look-up.
CREATE TABLE IF NOT EXISTS totals (scope TEXT PRIMARY KEY, nano_usd INTEGER NOT NULL);

DROP TRIGGER IF EXISTS reserving_adds;
CREATE TRIGGER reserving_adds AFTER INSERT ON reservations BEGIN
    INSERT INTO totals VALUES ('run ' || new.run_id, new.nano_usd), ('month ' || new.month, new.nano_usd),
                              ('day ' || date(new.sent_at, 'unixepoch'), new.nano_usd)
    ON CONFLICT (scope) DO UPDATE SET nano_usd = totals.nano_usd + excluded.nano_usd;
END;
DROP TRIGGER IF EXISTS settling_corrects;
CREATE TRIGGER settling_corrects AFTER INSERT ON settlements BEGIN
    UPDATE totals SET nano_usd = nano_usd + new.nano_usd
                                 - (SELECT nano_usd FROM reservations WHERE id = new.reservation)
    WHERE scope IN (SELECT 'run ' || run_id FROM reservations WHERE id = new.reservation
                    UNION SELECT 'month ' || month FROM reservations WHERE id = new.reservation
                    UNION SELECT 'day ' || date(sent_at, 'unixepoch') FROM reservations WHERE id = new.reservation);
END;
CREATE TRIGGER IF NOT EXISTS reservations_are_never_changed BEFORE UPDATE ON reservations
BEGIN SELECT raise(ABORT, 'what was spent is append-only'); END;
CREATE TRIGGER IF NOT EXISTS reservations_are_never_deleted BEFORE DELETE ON reservations
BEGIN SELECT raise(ABORT, 'what was spent is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_are_never_changed BEFORE UPDATE ON settlements
BEGIN SELECT raise(ABORT, 'what was spent is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_are_never_deleted BEFORE DELETE ON settlements
BEGIN SELECT raise(ABORT, 'what was spent is append-only'); END;

CREATE TABLE IF NOT EXISTS batches (
    run_key         TEXT PRIMARY KEY,   -- unique for every batch; the service stores it with the batch
    run_id          TEXT NOT NULL,      -- the run that wrote the intent
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    prompt_version  TEXT NOT NULL,
    batch_id        TEXT,               -- of the service
    state           TEXT NOT NULL CHECK (state IN ('intent', 'running', 'collected', 'oversized', 'failed',
                                                   'abandoned')),
    requests        INTEGER NOT NULL,
    error           TEXT,
    updated_at      TEXT NOT NULL
);
-- Batches that cannot be looked up or read, and since when; a successful read deletes the row.
CREATE TABLE IF NOT EXISTS unreadable_batches (
    run_key  TEXT PRIMARY KEY REFERENCES batches,
    since    TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_requests (
    run_key      TEXT NOT NULL REFERENCES batches,
    key          TEXT NOT NULL,
    reservation  INTEGER NOT NULL REFERENCES reservations,
    PRIMARY KEY (run_key, key)
) WITHOUT ROWID;
