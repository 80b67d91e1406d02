-- Sightings that come in after newer ones: compared with the observation before them, as it stands in the table.
INSERT INTO thread_observations
WITH late AS (SELECT * FROM resolved WHERE is_late),
before AS (
    SELECT o.thread_id, arg_max(o, o.seen_at) AS observation
    FROM thread_observations AS o
    JOIN late AS l ON o.thread_id = l.thread_id AND o.seen_at <= l.sighted_at
    GROUP BY o.thread_id
)
SELECT
    l.thread_id, sighted_at, sighted_reply_count, sighted_image_count, page, position, sighted_sticky, sighted_closed
FROM late AS l
LEFT JOIN before AS b ON b.thread_id = l.thread_id
WHERE
    b.thread_id IS NULL
    OR (
        b.observation.seen_at < sighted_at
        AND (sighted_reply_count, sighted_image_count, sighted_sticky, sighted_closed)
            IS DISTINCT FROM
            (b.observation.reply_count, b.observation.image_count, b.observation.sticky, b.observation.closed)
    );
