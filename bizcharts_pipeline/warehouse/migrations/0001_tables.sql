-- Times are UTC. No keys and no indexes: every write is a MERGE, so the same SQL runs on DuckDB and on DuckLake.

CREATE TABLE thread_ops (
    thread_id                BIGINT    NOT NULL,  -- one row a thread
    posted_at                TIMESTAMP NOT NULL,
    subject                  VARCHAR,             -- plain text
    op_text                  VARCHAR,             -- HTML as served
    op_text_clean            VARCHAR,             -- plain text; greentext lines keep their '>'
    reply_count              INTEGER,             -- never goes down within a source
    image_count              INTEGER,
    observed_reply_count     INTEGER,             -- last live sighting; goes down when replies are deleted
    observed_image_count     INTEGER,
    observed_sticky          BOOLEAN,
    observed_closed          BOOLEAN,
    archive_reply_count      INTEGER,             -- the archive's final count: from the future, never used as weight
    archive_image_count      INTEGER,
    image_url                VARCHAR,
    thumbnail_url            VARCHAR,
    image_md5                VARCHAR,             -- base64, as served
    image_filename           VARCHAR,
    image_width              INTEGER,
    image_height             INTEGER,
    image_bytes              BIGINT,
    file_deleted             BOOLEAN   NOT NULL DEFAULT FALSE,
    spoiler                  BOOLEAN   NOT NULL DEFAULT FALSE,
    sticky                   BOOLEAN   NOT NULL DEFAULT FALSE,  -- as first seen: a later change must not reach back in time
    closed                   BOOLEAN   NOT NULL DEFAULT FALSE,  -- as first seen
    capcode                  VARCHAR,
    bump_limit_reached       BOOLEAN   NOT NULL DEFAULT FALSE,
    image_limit_reached      BOOLEAN   NOT NULL DEFAULT FALSE,
    general                  VARCHAR,             -- 'smg' for a subject like '/smg/ - Stock Market General'
    spam_score               DOUBLE,              -- 0 to 1
    source                   VARCHAR   NOT NULL,  -- 'live' or 'warosu'
    first_seen_at            TIMESTAMP,           -- live sightings only
    last_seen_at             TIMESTAMP,
    ingested_at              TIMESTAMP NOT NULL,  -- when this project first held the post
    text_known_at            TIMESTAMP NOT NULL,  -- when it first held subject and text as they are now
    cluster_id               BIGINT,              -- thread_id of the first post of its near-duplicates; NULL: not yet looked at
    sentiment_score          DOUBLE,
    sentiment_confidence     DOUBLE,
    sentiment_model_version  VARCHAR,             -- NULL: to be scored
    extra                    JSON                 -- source fields without a column of their own
);

CREATE TABLE thread_observations (
    thread_id    BIGINT    NOT NULL,
    seen_at      TIMESTAMP NOT NULL,
    reply_count  INTEGER,
    image_count  INTEGER,
    page         INTEGER,
    position     INTEGER,   -- within the page, from 1
    sticky       BOOLEAN,
    closed       BOOLEAN
);

CREATE TABLE catalog_snapshots (
    snapshot_at      TIMESTAMP NOT NULL,  -- one row a poll
    total_threads    INTEGER,
    avg_reply_count  DOUBLE,
    top_coins        JSON,                -- [{"symbol": …, "mentions": …}]
    new_threads      INTEGER,
    changed_threads  INTEGER,
    not_modified     BOOLEAN   NOT NULL,
    last_modified    TIMESTAMP,           -- of the source's answer
    rejected_threads INTEGER              -- entries that could not be read
);

CREATE TABLE coin_mentions (
    thread_id       BIGINT  NOT NULL,
    coin_symbol     VARCHAR NOT NULL,
    confidence      DOUBLE  NOT NULL,
    mention_source  VARCHAR NOT NULL
);

CREATE TABLE warosu_days (day DATE NOT NULL, rows INTEGER, requests INTEGER, complete BOOLEAN NOT NULL, fetched_at TIMESTAMP);

CREATE TABLE thumbnails (
    thread_id BIGINT NOT NULL, path VARCHAR, sha256 VARCHAR, width INTEGER, height INTEGER, status VARCHAR NOT NULL
);

CREATE TABLE training_labels (
    thread_id         BIGINT    NOT NULL,
    sentiment_rating  INTEGER,             -- 1 bearish, 2 neutral, 3 bullish
    labeler_id        VARCHAR   NOT NULL,
    labeled_at        TIMESTAMP NOT NULL,
    seconds           DOUBLE,
    skipped           BOOLEAN   NOT NULL DEFAULT FALSE,
    notes             VARCHAR
);

CREATE TABLE auto_labels (
    thread_id BIGINT NOT NULL, provider VARCHAR NOT NULL, model VARCHAR NOT NULL, prompt_version VARCHAR NOT NULL,
    label VARCHAR, p_bearish DOUBLE, p_neutral DOUBLE, p_bullish DOUBLE, status VARCHAR NOT NULL,
    usd DECIMAL(18, 9), labeled_at TIMESTAMP NOT NULL
);

CREATE TABLE model_versions (
    model_version    VARCHAR   NOT NULL,
    kind             VARCHAR   NOT NULL,
    base_model       VARCHAR,
    dataset_version  VARCHAR,
    trained_at       TIMESTAMP,
    accuracy         DOUBLE,
    macro_f1         DOUBLE,
    status           VARCHAR   NOT NULL,  -- 'candidate', 'champion' or 'retired'
    path             VARCHAR,
    sha256           VARCHAR
);

CREATE TABLE scored_posts (
    thread_id      BIGINT    NOT NULL,  -- one row a thread and model version
    model_version  VARCHAR   NOT NULL,
    p_bearish      DOUBLE    NOT NULL,
    p_neutral      DOUBLE    NOT NULL,
    p_bullish      DOUBLE    NOT NULL,
    score          DOUBLE    NOT NULL,  -- p_bullish - p_bearish
    confidence     DOUBLE    NOT NULL,  -- 1 - entropy(p) / ln 3
    method         VARCHAR   NOT NULL,
    scored_at      TIMESTAMP NOT NULL
);

-- Stance towards one coin of a post that names several; a post of one coin speaks for it as a whole.
CREATE TABLE scored_mentions (
    thread_id      BIGINT    NOT NULL,
    coin_symbol    VARCHAR   NOT NULL,
    model_version  VARCHAR   NOT NULL,
    score          DOUBLE    NOT NULL,
    confidence     DOUBLE    NOT NULL
);

CREATE TABLE fear_greed_index (
    bucket_start   TIMESTAMP NOT NULL,
    bucket         VARCHAR   NOT NULL,  -- 'hour' or 'day'; the row is the state at the bucket's end
    value          DOUBLE,              -- 0 to 100; NULL: no reading
    lo             DOUBLE,
    hi             DOUBLE,
    label          VARCHAR,
    stance         DOUBLE,              -- -1 to 1: shrunk and smoothed, before the percentile
    stance_lo      DOUBLE,
    stance_hi      DOUBLE,
    raw_stance     DOUBLE,              -- weighted mean of the window, before shrinkage and smoothing
    state          VARCHAR   NOT NULL,  -- 'normal', 'thin', 'calibrating' or 'no reading'
    final          BOOLEAN   NOT NULL,
    n              INTEGER   NOT NULL,
    n_eff          DOUBLE    NOT NULL,
    coverage       DOUBLE,
    model_version  VARCHAR   NOT NULL,
    basis          VARCHAR   NOT NULL,  -- 'live' or 'reconstructed'
    computed_at    TIMESTAMP NOT NULL,
    knowable_at    TIMESTAMP NOT NULL
);

CREATE TABLE coin_sentiment (
    coin_symbol    VARCHAR   NOT NULL,
    bucket_start   TIMESTAMP NOT NULL,
    bucket         VARCHAR   NOT NULL,
    score          DOUBLE,              -- -1 to 1; NULL below five mentions
    lo             DOUBLE,
    hi             DOUBLE,
    mentions       INTEGER   NOT NULL,
    n_eff          DOUBLE    NOT NULL,
    final          BOOLEAN   NOT NULL,
    model_version  VARCHAR   NOT NULL,
    basis          VARCHAR   NOT NULL,
    computed_at    TIMESTAMP NOT NULL,
    knowable_at    TIMESTAMP NOT NULL
);

CREATE TABLE coin_prices (coin_symbol VARCHAR NOT NULL, "at" TIMESTAMP NOT NULL, usd DECIMAL(38, 12) NOT NULL, source VARCHAR NOT NULL);
