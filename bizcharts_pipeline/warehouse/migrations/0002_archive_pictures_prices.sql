-- One row a day of the archive; a day is complete only when its end was seen.
ALTER TABLE warosu_days ADD COLUMN method VARCHAR;  -- 'search' or 'index'
ALTER TABLE warosu_days ADD COLUMN reason VARCHAR;  -- why it is not complete

-- What live and archive said of the same day, as it was when the archive's posts came in.
CREATE TABLE archive_overlaps (
    day                 DATE      NOT NULL,
    hours_polled        INTEGER   NOT NULL,  -- of the day's 24, by live
    live_threads        INTEGER   NOT NULL,  -- posted on the day and seen by live
    archive_threads     INTEGER   NOT NULL,
    both_threads        INTEGER   NOT NULL,
    time_differences    INTEGER   NOT NULL,  -- threads of both whose time differs by more than a second
    largest_difference  DOUBLE,              -- seconds, archive less live
    text_differences    INTEGER   NOT NULL,  -- threads of both whose plain text differs
    compared_at         TIMESTAMP NOT NULL
);

-- What became of a thread that left the catalogue.
CREATE TABLE thread_fates (
    thread_id   BIGINT    NOT NULL,
    fate        VARCHAR   NOT NULL,  -- 'archived', 'missing once' or 'deleted'
    decided_at  TIMESTAMP NOT NULL
);

-- One row a picture of a thread: its thumbnail, and where wanted the full picture.
ALTER TABLE thumbnails ADD COLUMN kind VARCHAR DEFAULT 'thumbnail';  -- or 'full'
ALTER TABLE thumbnails ADD COLUMN source VARCHAR;                    -- 'live' or 'warosu'
ALTER TABLE thumbnails ADD COLUMN reason VARCHAR;                    -- why there is no picture
ALTER TABLE thumbnails ADD COLUMN bytes BIGINT;
ALTER TABLE thumbnails ADD COLUMN media_type VARCHAR;
ALTER TABLE thumbnails ADD COLUMN perceptual_hash VARCHAR;           -- 64 bits as 16 hexadecimal digits
ALTER TABLE thumbnails ADD COLUMN nsfw DOUBLE;                       -- 0 to 1; NULL: not rated
ALTER TABLE thumbnails ADD COLUMN attempts INTEGER DEFAULT 0;
ALTER TABLE thumbnails ADD COLUMN fetched_at TIMESTAMP;

-- Pictures that are never kept; only their hashes are here.
CREATE TABLE blocked_images (
    hash        VARCHAR   NOT NULL,
    kind        VARCHAR   NOT NULL,  -- 'sha256', 'md5' (base64) or 'perceptual'
    reason      VARCHAR,
    blocked_at  TIMESTAMP NOT NULL
);

-- alternative.me's index, for comparison only.
CREATE TABLE reference_index (
    day         DATE      NOT NULL,
    value       INTEGER   NOT NULL,  -- 0 to 100
    label       VARCHAR,
    source      VARCHAR   NOT NULL,
    fetched_at  TIMESTAMP NOT NULL
);

-- What retention has taken away: what lies before can not be computed again.
CREATE TABLE retention_marks (
    what         VARCHAR   NOT NULL,  -- 'threads'
    gone_before  TIMESTAMP NOT NULL,  -- posted_at
    marked_at    TIMESTAMP NOT NULL
);
