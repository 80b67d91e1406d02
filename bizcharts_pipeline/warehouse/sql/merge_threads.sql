-- Takes `resolved` into thread_ops. A poll rewrites the counts of many threads and the text of none, and DuckDB stores
-- columns: so counts have a statement of their own. (On a lake, a MERGE may have but one UPDATE.)
UPDATE thread_ops SET
    reply_count = r.reply_count,
    image_count = r.image_count,
    observed_reply_count = r.observed_reply_count,
    observed_image_count = r.observed_image_count,
    archive_reply_count = r.archive_reply_count,
    archive_image_count = r.archive_image_count,
    first_seen_at = r.first_seen_at,
    last_seen_at = r.last_seen_at
FROM resolved AS r
WHERE thread_ops.thread_id = r.thread_id AND r.change IN ('counts', 'sighting');

MERGE INTO thread_ops AS t
USING (SELECT * FROM resolved WHERE change NOT IN ('nothing', 'counts', 'sighting')) AS r
ON t.thread_id = r.thread_id
WHEN MATCHED THEN UPDATE SET
    posted_at = r.posted_at,
    subject = r.subject,
    op_text = r.op_text,
    op_text_clean = r.op_text_clean,
    reply_count = r.reply_count,
    image_count = r.image_count,
    observed_reply_count = r.observed_reply_count,
    observed_image_count = r.observed_image_count,
    observed_sticky = r.observed_sticky,
    observed_closed = r.observed_closed,
    archive_reply_count = r.archive_reply_count,
    archive_image_count = r.archive_image_count,
    image_url = r.image_url,
    thumbnail_url = r.thumbnail_url,
    image_md5 = r.image_md5,
    image_filename = r.image_filename,
    image_width = r.image_width,
    image_height = r.image_height,
    image_bytes = r.image_bytes,
    file_deleted = r.file_deleted,
    spoiler = r.spoiler,
    sticky = r.sticky,
    closed = r.closed,
    capcode = r.capcode,
    bump_limit_reached = r.bump_limit_reached,
    image_limit_reached = r.image_limit_reached,
    general = r.general,
    spam_score = r.spam_score,
    source = r.source,
    first_seen_at = r.first_seen_at,
    last_seen_at = r.last_seen_at,
    extra = r.extra,
    text_known_at = CASE WHEN r.change = 'text' THEN r.ingested_at ELSE t.text_known_at END,
    cluster_id = r.cluster_id,
    sentiment_score = r.sentiment_score,
    sentiment_confidence = r.sentiment_confidence,
    sentiment_model_version = r.sentiment_model_version
WHEN NOT MATCHED THEN INSERT (
    thread_id, posted_at, subject, op_text, op_text_clean, reply_count, image_count, observed_reply_count,
    observed_image_count, observed_sticky, observed_closed, archive_reply_count, archive_image_count, image_url,
    thumbnail_url, image_md5, image_filename, image_width, image_height, image_bytes, file_deleted, spoiler, sticky,
    closed, capcode, bump_limit_reached, image_limit_reached, general, spam_score, source, first_seen_at, last_seen_at,
    ingested_at, text_known_at, extra
) VALUES (
    r.thread_id, r.posted_at, r.subject, r.op_text, r.op_text_clean, r.reply_count, r.image_count,
    r.observed_reply_count, r.observed_image_count, r.observed_sticky, r.observed_closed, r.archive_reply_count,
    r.archive_image_count, r.image_url, r.thumbnail_url, r.image_md5, r.image_filename, r.image_width, r.image_height,
    r.image_bytes, r.file_deleted, r.spoiler, r.sticky, r.closed, r.capcode, r.bump_limit_reached,
    r.image_limit_reached, r.general, r.spam_score, r.source, r.first_seen_at, r.last_seen_at, r.ingested_at, r.ingested_at, r.extra
);
