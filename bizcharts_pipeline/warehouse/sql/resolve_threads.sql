-- What each incoming thread becomes: one row of `resolved` for each row of `incoming`, with the final value of every
-- column, and in `change` what that means for the row that is there.
CREATE OR REPLACE TEMP TABLE resolved AS
WITH
known AS (
    -- By rowid, so that only the blocks that hold them are read: a sticky from years ago among today's threads would
    -- otherwise have every column of the table read (130 ms at a million rows, 5 ms so).
    SELECT *
    FROM thread_ops
    WHERE rowid IN (SELECT rowid FROM thread_ops WHERE thread_id IN (SELECT thread_id FROM incoming))
),
judged AS (
    SELECT
        i.*,
        t AS old,
        t.thread_id IS NOT NULL AS exists_already,
        coalesce(t.source = 'live', FALSE) AS was_live,
        i.source = 'live' AS is_live,
        -- The incoming row speaks for the thread: it is new, or live over archive, or the newest of its kind.
        CASE
            WHEN NOT exists_already THEN TRUE
            WHEN is_live AND was_live THEN coalesce(i.last_seen_at >= t.last_seen_at, t.last_seen_at IS NULL)
            ELSE is_live OR NOT was_live
        END AS wins,
        is_live AND coalesce(i.last_seen_at < t.last_seen_at, FALSE) AS is_late,
        -- Where retention has taken the HTML away and the plain text is the same, the HTML does not come back.
        CASE WHEN t.op_text IS NULL AND t.op_text_clean = i.op_text_clean THEN FALSE
             WHEN wins THEN i.op_text IS NOT NULL
             ELSE t.op_text_clean IS NULL AND i.op_text IS NOT NULL END AS takes_text,
        CASE WHEN wins THEN i.subject IS NOT NULL ELSE t.subject IS NULL AND i.subject IS NOT NULL END AS takes_subject
    FROM incoming AS i
    LEFT JOIN known AS t ON t.thread_id = i.thread_id
),
final AS (
    SELECT
        thread_id,
        exists_already,
        old,
        is_live,
        is_late,
        page,
        position,
        ingested_at,
        -- As this sighting had them; `thread_observations` keeps them even when a newer sighting speaks for the thread.
        reply_count AS sighted_reply_count,
        image_count AS sighted_image_count,
        sticky AS sighted_sticky,
        closed AS sighted_closed,
        last_seen_at AS sighted_at,
        -- NULL means not seen: it never erases, and anything fills it.
        CASE WHEN wins THEN posted_at ELSE old.posted_at END AS posted_at,
        CASE WHEN takes_subject THEN subject ELSE old.subject END AS subject,
        CASE WHEN takes_subject THEN general ELSE old.general END AS general,
        CASE WHEN takes_text THEN op_text ELSE old.op_text END AS op_text,
        CASE WHEN takes_text THEN op_text_clean ELSE old.op_text_clean END AS op_text_clean,
        CASE WHEN wins OR takes_text THEN spam_score ELSE old.spam_score END AS spam_score,
        CASE WHEN wins THEN coalesce(image_url, old.image_url) ELSE coalesce(old.image_url, image_url) END AS image_url,
        CASE WHEN wins THEN coalesce(thumbnail_url, old.thumbnail_url)
             ELSE coalesce(old.thumbnail_url, thumbnail_url) END AS thumbnail_url,
        CASE WHEN wins THEN coalesce(image_md5, old.image_md5) ELSE coalesce(old.image_md5, image_md5) END AS image_md5,
        CASE WHEN wins THEN coalesce(image_filename, old.image_filename)
             ELSE coalesce(old.image_filename, image_filename) END AS image_filename,
        CASE WHEN wins THEN coalesce(image_width, old.image_width)
             ELSE coalesce(old.image_width, image_width) END AS image_width,
        CASE WHEN wins THEN coalesce(image_height, old.image_height)
             ELSE coalesce(old.image_height, image_height) END AS image_height,
        CASE WHEN wins THEN coalesce(image_bytes, old.image_bytes)
             ELSE coalesce(old.image_bytes, image_bytes) END AS image_bytes,
        CASE WHEN wins THEN file_deleted ELSE old.file_deleted END AS file_deleted,
        CASE WHEN wins THEN spoiler ELSE old.spoiler END AS spoiler,
        CASE WHEN wins THEN coalesce(capcode, old.capcode) ELSE coalesce(old.capcode, capcode) END AS capcode,
        CASE WHEN wins THEN bump_limit_reached ELSE old.bump_limit_reached END AS bump_limit_reached,
        CASE WHEN wins THEN image_limit_reached ELSE old.image_limit_reached END AS image_limit_reached,
        CASE WHEN wins THEN coalesce(extra, old.extra) ELSE coalesce(old.extra, extra) END AS extra,
        -- The earliest live sighting's, or the archive's where live saw none.
        CASE WHEN NOT exists_already OR is_live AND (NOT was_live OR first_seen_at < old.first_seen_at)
             THEN sticky ELSE old.sticky END AS sticky,
        CASE WHEN NOT exists_already OR is_live AND (NOT was_live OR first_seen_at < old.first_seen_at)
             THEN closed ELSE old.closed END AS closed,
        -- The last live sighting's.
        CASE WHEN is_live AND wins THEN coalesce(reply_count, old.observed_reply_count)
             WHEN is_live THEN coalesce(old.observed_reply_count, reply_count)
             ELSE old.observed_reply_count END AS observed_reply_count,
        CASE WHEN is_live AND wins THEN coalesce(image_count, old.observed_image_count)
             WHEN is_live THEN coalesce(old.observed_image_count, image_count)
             ELSE old.observed_image_count END AS observed_image_count,
        CASE WHEN is_live AND wins THEN sticky ELSE old.observed_sticky END AS observed_sticky,
        CASE WHEN is_live AND wins THEN closed ELSE old.observed_closed END AS observed_closed,
        -- Never down within a source; `greatest` and `least` leave NULL out.
        CASE WHEN is_live THEN old.archive_reply_count
             ELSE greatest(old.archive_reply_count, reply_count) END AS archive_reply_count,
        CASE WHEN is_live THEN old.archive_image_count
             ELSE greatest(old.archive_image_count, image_count) END AS archive_image_count,
        CASE WHEN is_live = was_live THEN greatest(old.reply_count, reply_count)
             WHEN is_live OR NOT exists_already THEN reply_count ELSE old.reply_count END AS reply_count,
        CASE WHEN is_live = was_live THEN greatest(old.image_count, image_count)
             WHEN is_live OR NOT exists_already THEN image_count ELSE old.image_count END AS image_count,
        CASE WHEN is_live OR was_live THEN 'live' ELSE source END AS source,
        least(old.first_seen_at, first_seen_at) AS first_seen_at,
        greatest(old.last_seen_at, last_seen_at) AS last_seen_at
    FROM judged
)
SELECT
    *,
    CASE
        WHEN NOT exists_already THEN 'new'
        WHEN subject IS DISTINCT FROM old.subject OR op_text_clean IS DISTINCT FROM old.op_text_clean THEN 'text'
        WHEN (posted_at, general, op_text, spam_score, image_url, thumbnail_url, image_md5, image_filename, image_width,
              image_height, image_bytes, file_deleted, spoiler, capcode, bump_limit_reached, image_limit_reached,
              sticky, closed, observed_sticky, observed_closed, source)
             IS DISTINCT FROM
             (old.posted_at, old.general, old.op_text, old.spam_score, old.image_url, old.thumbnail_url, old.image_md5,
              old.image_filename, old.image_width, old.image_height, old.image_bytes, old.file_deleted, old.spoiler,
              old.capcode, old.bump_limit_reached, old.image_limit_reached,
              old.sticky, old.closed, old.observed_sticky, old.observed_closed, old.source) THEN 'details'
        WHEN (reply_count, image_count, observed_reply_count, observed_image_count, archive_reply_count,
              archive_image_count)
             IS DISTINCT FROM
             (old.reply_count, old.image_count, old.observed_reply_count, old.observed_image_count,
              old.archive_reply_count, old.archive_image_count) THEN 'counts'
        WHEN (first_seen_at, last_seen_at) IS DISTINCT FROM (old.first_seen_at, old.last_seen_at) THEN 'sighting'
        ELSE 'nothing'
    END AS change,
    -- Another text is another post to the models.
    CASE WHEN change <> 'text' THEN old.cluster_id END AS cluster_id,
    CASE WHEN change <> 'text' THEN old.sentiment_score END AS sentiment_score,
    CASE WHEN change <> 'text' THEN old.sentiment_confidence END AS sentiment_confidence,
    CASE WHEN change <> 'text' THEN old.sentiment_model_version END AS sentiment_model_version
FROM final;
