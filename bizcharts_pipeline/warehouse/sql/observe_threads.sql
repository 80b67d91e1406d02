-- One row for a sighting that differs from the last one before it.
INSERT INTO thread_observations
SELECT thread_id, sighted_at, sighted_reply_count, sighted_image_count, page, position, sighted_sticky, sighted_closed
FROM resolved
WHERE
    is_live
    AND sighted_at IS NOT NULL
    AND NOT is_late
    AND sighted_at IS DISTINCT FROM old.last_seen_at
    AND (
        old.last_seen_at IS NULL
        OR (sighted_reply_count, sighted_image_count, sighted_sticky, sighted_closed)
           IS DISTINCT FROM
           (old.observed_reply_count, old.observed_image_count, old.observed_sticky, old.observed_closed)
    );
